"""A task that trains in milliseconds, and runs made up for tests of what follows them."""

from __future__ import annotations

import torch

from lehr import lab


def data() -> lab.Data:
    inputs = torch.randn(160, 4, generator=torch.Generator().manual_seed(0))
    return lab.split(inputs, (inputs.sum(1) > 0).long(), validation=40, test=40)


def task(**changes: object) -> lab.Task:
    arguments: dict[str, object] = {
        "model": lambda: torch.nn.Linear(4, 2),
        "data": data(),
        "loss": torch.nn.functional.cross_entropy,
        "optimizer": lambda model: torch.optim.SGD(model.parameters(), lr=0.5),
        "batch_size": 8,
    }
    return lab.Task(**{**arguments, **changes})  # type: ignore[arg-type]


def run(method: str, seed: int, test: float | None, lr: float = 0.1, diverged_at: int | None = None) -> lab.Run:
    """A run that ended with `test`, and came to it on validation half-way."""
    rows = tuple(
        lab.Evaluation(10 * i, i / 4, 0.1 * i, 1.0 / i, 1.0, (test or 0.0) * min(1.0, i / 2), 10 * i)
        for i in range(1, 5)
    )
    return lab.Run(
        method, f"{method}()", seed, lr, curve=() if diverged_at else rows, rates=((0.0, lr), (1.0, 0.0)),
        diverged_at=diverged_at, validation=test, test=test, updates=40, seconds=0.4,
        forward_passes=40, evaluation_passes=5,
    )  # fmt: skip
