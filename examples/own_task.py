"""Your own work for `lehr compare --task examples/own_task.py:make_task`: is the product of two inputs positive?"""

import torch

from lehr import lab


def make_task() -> lab.Task:
    inputs = torch.randn(2_000, 20, generator=torch.Generator().manual_seed(0))
    return lab.Task(
        model=lambda: torch.nn.Sequential(torch.nn.Linear(20, 64), torch.nn.ReLU(), torch.nn.Linear(64, 2)),
        data=lab.split(inputs, (inputs[:, 0] * inputs[:, 1] > 0).long(), validation=300, test=300),
        loss=torch.nn.functional.cross_entropy,
        optimizer=lambda model: torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
    )
