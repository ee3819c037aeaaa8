"""A small training loop that the contract runs every policy through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

import lehr
from contract.policies import Maker

STEPS = 24
GROUPS = 3
MakeOptimizer = Callable[[list[dict[str, object]]], torch.optim.Optimizer]

OPTIMIZERS: dict[str, MakeOptimizer] = {
    "sgd": lambda groups: torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True),
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=0.01),
}


def rate(index: int, *, tensor: bool) -> float | torch.Tensor:
    """Another base rate for each group."""
    return torch.tensor(0.1 / (1 + index)) if tensor else 0.1 / (1 + index)


@dataclass
class Training:
    """Model, optimizer, scheduler and data, all from one seed."""

    policy: Maker
    optimizer_kind: MakeOptimizer = OPTIMIZERS["sgd"]
    tensor: bool = False
    budget: lehr.Budget = field(default_factory=lambda: lehr.Budget(steps=STEPS))

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        layers = [torch.nn.Linear(6, 6) for _ in range(GROUPS)]
        self.model = torch.nn.Sequential(*layers)
        groups = [{"params": list(m.parameters()), "lr": rate(i, tensor=self.tensor)} for i, m in enumerate(layers)]
        self.optimizer = self.optimizer_kind(groups)  # type: ignore[arg-type]
        self.scheduler = lehr.Scheduler(self.optimizer, self.policy(self.model), self.budget)
        self.probe = lehr.Probe(self.model, self.optimizer, self._fresh_loss, batches=2)
        self.rates: list[list[float]] = []

    def step(self, index: int) -> None:
        """One update on the batch of that number."""
        generator = torch.Generator().manual_seed(index)
        inputs = torch.randn(8, 6, generator=generator)
        self.optimizer.zero_grad()
        loss = (self.model(inputs) - inputs.flip(1)).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        self.scheduler.observe(loss=loss.detach(), loss_at=self.probe)
        self.rates.append([float(group["lr"]) for group in self.optimizer.param_groups])
        self.optimizer.step()
        self.scheduler.step()

    def _fresh_loss(self) -> torch.Tensor:
        inputs = torch.randn(8, 6)
        return (self.model(inputs) - inputs.flip(1)).square().mean()  # type: ignore[no-any-return]

    def run(self, start: int, stop: int) -> Training:
        for index in range(start, stop):
            self.step(index)
        return self

    def weights(self) -> torch.Tensor:
        return torch.cat([parameter.detach().flatten() for parameter in self.model.parameters()])
