"""A small run that the contract sends every policy through."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

import lehr
from contract.policies import Maker

STEPS = 24
GROUPS = 3
DEVICE = os.environ.get("LEHR_DEVICE", "cpu")
MakeOptimizer = Callable[[list[dict[str, object]]], torch.optim.Optimizer]

OPTIMIZERS: dict[str, MakeOptimizer] = {
    "sgd": lambda groups: torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True),
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=0.01),
}


def rate(index: int, *, tensor: bool) -> float | torch.Tensor:
    """Another base rate for each group."""
    return torch.tensor(0.1 / (1 + index), device=DEVICE) if tensor else 0.1 / (1 + index)


def loss_of(model: nn.Module, inputs: Tensor) -> Tensor:
    """How far the outputs are from the inputs turned round."""
    loss: Tensor = (model(inputs) - inputs.flip(1)).square().mean()
    return loss


@dataclass(frozen=True)
class _Numbered:
    """An epoch of batches, each made from its number; every rank has its own."""

    rank: int = 0

    def __iter__(self) -> Iterator[Tensor]:
        numbers = range(1_000 * self.rank, 1_000 * self.rank + 40)
        return (torch.randn(8, 6, generator=torch.Generator().manual_seed(number)) for number in numbers)

    def __len__(self) -> int:
        return 40


@dataclass
class Run:
    """A `lehr.Training` and its scheduler, all from one seed.

    With `parts`, each layer has an optimizer of its own; with a rank, it is one process of a data-parallel run.
    """

    policy: Maker
    optimizer_kind: MakeOptimizer = OPTIMIZERS["sgd"]
    tensor: bool = False
    budget: lehr.Budget = field(default_factory=lambda: lehr.Budget(steps=STEPS))
    accumulate: int = 1
    parts: bool = False
    scaler: torch.amp.GradScaler | None = None
    rank: int | None = None

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        layers = [nn.Linear(6, 6).to(DEVICE) for _ in range(GROUPS)]
        self.model = nn.Sequential(*layers)
        groups = [{"params": list(m.parameters()), "lr": rate(i, tensor=self.tensor)} for i, m in enumerate(layers)]
        kind = self.optimizer_kind
        self.optimizers = [kind([group]) for group in groups] if self.parts else [kind(groups)]  # type: ignore[list-item]
        wrapped = self.model if self.rank is None else lehr.FreezableDataParallel(self.model)
        self.training = lehr.Training(
            wrapped, self.optimizers, _Numbered(self.rank or 0), loss_of, accumulate=self.accumulate, scaler=self.scaler
        )
        self.scheduler = lehr.Scheduler(self.training, self.policy(self.model), self.budget)
        self.rates: list[list[float]] = []

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The only one."""
        (only,) = self.optimizers
        return only

    def step(self) -> None:
        """One update, with a look along it before."""
        loss = self.training.backward()
        self.scheduler.observe(loss=loss, loss_at=lehr.Probe(self.training, batches=2))
        self.rates.append([float(g["lr"]) for one in self.optimizers for g in one.param_groups])
        self.training.update()
        self.scheduler.step()

    def run(self, updates: int) -> Run:
        """So many updates."""
        for _ in range(updates):
            self.step()
        return self

    def weights(self) -> Tensor:
        """All of them in one row."""
        return torch.cat([parameter.detach().flatten() for parameter in self.model.parameters()])
