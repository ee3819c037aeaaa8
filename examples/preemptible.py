"""A run that may be killed at any moment: `python examples/preemptible.py FOLDER [BUDGET]`, and the same command again.

Under a budget of steps the final weights are bit for bit those of a run that was never killed; under one of seconds,
time between a kill and the next start is not spent, and the rate still comes down to zero at the end. This is the loop
that `lehr.fit(training, budget, schedule, checkpoints=folder)` makes for you.
"""

import signal
import sys
from pathlib import Path

import torch
from torch.utils.data import DataLoader, TensorDataset

import lehr

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "preemptible-run")

torch.manual_seed(0)
inputs = torch.randn(512, 16)
data = TensorDataset(inputs, (inputs[:, 0] * inputs[:, 1] > 0).long())
model = torch.nn.Sequential(torch.nn.Linear(16, 64), torch.nn.ReLU(), torch.nn.Dropout(0.1), torch.nn.Linear(64, 2))
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)


def cross_entropy(model: torch.nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    x, y = batch
    return torch.nn.functional.cross_entropy(model(x), y)


training = lehr.Training(model, optimizer, DataLoader(data, batch_size=32, shuffle=True), cross_entropy)
budget = training.budget(sys.argv[2] if len(sys.argv) > 2 else "600steps")
scheduler = lehr.Scheduler(training, lehr.Linear().after_warmup(0.05), budget)
checkpoints = lehr.Checkpoints(folder, training=training, scheduler=scheduler)

stop = []
signal.signal(signal.SIGTERM, lambda *_: stop.append(True))  # finish this update, save, and go
print("started anew" if checkpoints.resume() is None else f"went on from update {scheduler.updates}", flush=True)

for _ in training.run(scheduler):
    if stop or scheduler.finished or scheduler.updates % 20 == 0:  # not each update: writing takes milliseconds
        with scheduler.paused():
            checkpoints.save(scheduler.updates)
    if stop:
        break
print(f"{scheduler.progress:.0%} of {budget}, lr {scheduler.get_last_lr()[0]:.1e}")
