"""Start with any learning rate; the tuner finds one: `python examples/tune_while_training.py 1e-6`."""

import sys

import torch

import lehr

start = float(sys.argv[1]) if len(sys.argv) > 1 else 1e-6
torch.manual_seed(0)
inputs = torch.randn(4_096, 20)
targets = torch.sin(inputs[:, :4].sum(1, keepdim=True))
model = torch.nn.Sequential(torch.nn.Linear(20, 128), torch.nn.Tanh(), torch.nn.Linear(128, 1))
optimizer = torch.optim.AdamW(model.parameters(), lr=start)
data = torch.utils.data.TensorDataset(inputs[1_024:], targets[1_024:])
loader = torch.utils.data.DataLoader(data, batch_size=64, shuffle=True)


def squared_error(model: torch.nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    x, y = batch
    return torch.nn.functional.mse_loss(model(x), y)


training = lehr.Training(model, optimizer, loader, squared_error)
tuner = lehr.LRTuner()
scheduler = lehr.Scheduler(training, tuner, lehr.Budget(steps=600))
for loss in training.run(scheduler):
    if scheduler.updates % 100 == 0:
        print(f"{scheduler.progress:4.0%}  lr {scheduler.get_last_lr()[0]:.2e}  loss {loss.item():.4f}")

for decision in tuner.history:
    print(
        f"{decision.progress:4.0%}  {decision.what:8} lr {start * decision.factor:.2e} -> {start * decision.goal:.2e}"
    )
with torch.no_grad():
    held_out = squared_error(model, (inputs[:1_024], targets[:1_024])).item()
print(f"loss on data held out: {held_out:.4f}; the looks cost {tuner.forward_passes} forward passes of 600 updates")
