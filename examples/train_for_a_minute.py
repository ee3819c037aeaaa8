"""Train for so many seconds of wall clock, evaluation not counted: `python examples/train_for_a_minute.py 60`."""

import sys

import torch

import lehr

seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
torch.manual_seed(0)
inputs = torch.randn(4_096, 20)
targets = (inputs[:, 0] * inputs[:, 1] > 0).long()
model = torch.nn.Sequential(torch.nn.Linear(20, 128), torch.nn.ReLU(), torch.nn.Linear(128, 2))
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
data = torch.utils.data.TensorDataset(inputs, targets)
loader = torch.utils.data.DataLoader(data, batch_size=64, shuffle=True)


def cross_entropy(model: torch.nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    x, y = batch
    return torch.nn.functional.cross_entropy(model(x), y)


training = lehr.Training(model, optimizer, loader, cross_entropy)
print(lehr.plan(training, f"{seconds}s"))
scheduler = lehr.Scheduler(training, lehr.Linear().after_warmup(0.05), lehr.Budget(seconds=seconds))
next_report = 0.0
for _ in training.run(scheduler):
    if scheduler.progress >= next_report:
        next_report += 0.2
        with scheduler.paused(), torch.no_grad():
            right = (model(inputs).argmax(1) == targets).float().mean().item()
        print(f"{scheduler.progress:4.0%}  lr {scheduler.get_last_lr()[0]:.2e}  accuracy {right:.3f}")
