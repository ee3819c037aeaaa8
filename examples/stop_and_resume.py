"""Stop in the middle, go on from the checkpoint, and end with the very same weights."""

import tempfile
from pathlib import Path

import torch

import lehr

inputs = torch.randn(512, 8, generator=torch.Generator().manual_seed(0))


def build() -> tuple[lehr.Training, lehr.Scheduler]:
    torch.manual_seed(0)
    model = torch.nn.Linear(8, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    loader = torch.utils.data.DataLoader(inputs, batch_size=16, shuffle=True)
    training = lehr.Training(
        model, optimizer, loader, lambda model, x: (model(x) - x.sum(1, keepdim=True)).square().mean()
    )
    return training, lehr.Scheduler(training, lehr.one_cycle(), lehr.Budget(steps=100))


def train(training: lehr.Training, scheduler: lehr.Scheduler, until: int) -> None:
    while scheduler.updates < until:
        training.step(scheduler)


whole = build()
train(*whole, until=100)

first = build()
train(*first, until=40)  # in the middle of an epoch
path = Path(tempfile.mkdtemp()) / "checkpoint.pt"
torch.save([part.state_dict() for part in first], path)
del first  # as if the program had ended here

second = build()
for part, state in zip(second, torch.load(path, weights_only=True), strict=True):
    part.load_state_dict(state)
train(*second, until=100)

assert torch.equal(whole[0].modules[0].weight, second[0].modules[0].weight)
print("the same weights, bit for bit")
