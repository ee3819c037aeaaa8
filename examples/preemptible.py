"""A run that may be killed at any moment: `python examples/preemptible.py FOLDER [BUDGET]`, and the same command again.

Under a budget of steps the final weights are bit for bit those of a run that was never killed; under one of seconds,
time between a kill and the next start is not spent, and the rate still comes down to zero at the end.
"""

import signal
import sys
from pathlib import Path

import torch
from torch.utils.data import DataLoader, TensorDataset

import lehr

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "preemptible-run")
budget = lehr.Budget.parse(sys.argv[2] if len(sys.argv) > 2 else "600steps")

torch.manual_seed(0)
inputs = torch.randn(512, 16)
data = TensorDataset(inputs, (inputs[:, 0] * inputs[:, 1] > 0).long())
model = torch.nn.Sequential(torch.nn.Linear(16, 64), torch.nn.ReLU(), torch.nn.Dropout(0.1), torch.nn.Linear(64, 2))
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
scheduler = lehr.Scheduler(optimizer, lehr.Linear().after_warmup(0.05), budget)


class Epochs:
    """Shuffled batches whose order depends on the epoch's number alone, so that a position is all there is to save."""

    epoch, batch = 0, 0

    def __iter__(self):
        while True:
            order = DataLoader(data, batch_size=32, shuffle=True, generator=torch.Generator().manual_seed(self.epoch))
            skip = self.batch
            for number, batch in enumerate(order):
                if number >= skip:
                    self.batch = number + 1
                    yield batch
            self.epoch, self.batch = self.epoch + 1, 0

    def state_dict(self):
        return {"epoch": self.epoch, "batch": self.batch}

    def load_state_dict(self, state):
        self.epoch, self.batch = state["epoch"], state["batch"]


epochs = Epochs()
checkpoints = lehr.Checkpoints(
    folder, model=model, optimizer=optimizer, scheduler=scheduler, epochs=epochs, random=lehr.RandomState()
)
stop = []
signal.signal(signal.SIGTERM, lambda *_: stop.append(True))  # finish this update, save, and go
print("started anew" if checkpoints.resume() is None else f"went on from update {scheduler.last_epoch}", flush=True)

for x, y in epochs if not scheduler.finished else ():
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()
    scheduler.step()
    if stop or scheduler.finished or scheduler.last_epoch % 20 == 0:  # not each update: writing takes milliseconds
        with scheduler.paused():
            checkpoints.save(scheduler.last_epoch)
    if stop or scheduler.finished:
        break
print(f"{scheduler.progress:.0%} of {budget}, lr {scheduler.get_last_lr()[0]:.1e}")
