"""Stop in the middle, go on from the checkpoint, and end with the very same weights."""

import tempfile
from pathlib import Path

import torch

import lehr


def build() -> tuple[torch.nn.Module, torch.optim.Optimizer, lehr.Scheduler]:
    torch.manual_seed(0)
    model = torch.nn.Linear(8, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return model, optimizer, lehr.Scheduler(optimizer, lehr.one_cycle(), lehr.Budget(steps=100))


def train(model: torch.nn.Module, optimizer: torch.optim.Optimizer, scheduler: lehr.Scheduler, until: int) -> None:
    while scheduler.last_epoch < until:
        inputs = torch.randn(16, 8, generator=torch.Generator().manual_seed(scheduler.last_epoch))
        optimizer.zero_grad()
        (model(inputs) - inputs.sum(1, keepdim=True)).square().mean().backward()
        optimizer.step()
        scheduler.step()


whole = build()
train(*whole, until=100)

first = build()
train(*first, until=40)
path = Path(tempfile.mkdtemp()) / "checkpoint.pt"
torch.save([part.state_dict() for part in first], path)

second = build()
for part, state in zip(second, torch.load(path, weights_only=True), strict=True):
    part.load_state_dict(state)
train(*second, until=100)

assert torch.equal(whole[0].weight, second[0].weight)
print("the same weights, bit for bit")
