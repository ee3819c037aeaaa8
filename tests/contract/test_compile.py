"""A learning rate is data to a compiled step: one compilation, however many updates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch._dynamo

import lehr
from contract.policies import FREEZES, POLICIES, Maker
from contract.training import DEVICE, GROUPS, rate

UPDATES = 1_000


class Compiled:
    """An optimizer with a compiled step, and how often it was compiled."""

    def __init__(self, make: Callable[..., torch.optim.Optimizer]) -> None:
        self.model = torch.nn.Sequential(*(torch.nn.Linear(3, 3) for _ in range(GROUPS))).to(DEVICE)
        groups = [{"params": list(m.parameters()), "lr": rate(i, tensor=True)} for i, m in enumerate(self.model)]
        self.optimizer = make(groups)
        self.compilations = 0
        self.step = torch.compile(self.optimizer.step, backend=self._backend)

    def _backend(self, graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Any:
        self.compilations += 1
        return graph.forward

    def update(self) -> None:
        for parameter in self.model.parameters():
            if parameter.requires_grad:
                parameter.grad = torch.ones_like(parameter)
        self.step()


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


OPTIMIZERS = {
    "sgd": torch.optim.SGD,
    "adam": lambda groups: torch.optim.Adam(groups, foreach=False),
    "capturable adamw": lambda groups: torch.optim.AdamW(groups, foreach=True, capturable=True),
}


def drive(compiled: Compiled, scheduler: lehr.Scheduler, updates: int) -> list[list[float]]:
    rates = []
    for update in range(updates):
        scheduler.observe(loss=1.0 - update / updates, loss_at=lambda factor: (1.0 - factor / 8.0) ** 2)
        rates.append([float(group["lr"]) for group in compiled.optimizer.param_groups])
        compiled.update()
        scheduler.step()
    return rates


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())
def test_one_compilation_and_one_for_each_freeze(policy: Maker, make: Callable[..., torch.optim.Optimizer]) -> None:
    updates = UPDATES if policy is POLICIES["schedule"] else 50
    compiled = Compiled(make)
    scheduler = lehr.Scheduler(compiled.optimizer, policy(compiled.model), lehr.Budget(steps=updates))
    drive(compiled, scheduler, updates)
    assert compiled.compilations == 1 or ("freeze" in _name_of(policy) and compiled.compilations <= 1 + FREEZES)
    assert scheduler.spent == updates
    assert scheduler.finished


def _name_of(policy: Maker) -> str:
    return next(name for name, maker in POLICIES.items() if maker is policy)


@pytest.mark.parametrize("built", ["before compiling", "after compiling", "after the first compiled step"])
def test_the_order_of_building_does_not_matter(built: str) -> None:
    curve = lehr.Cosine().after_warmup(0.2)
    compiled = Compiled(OPTIMIZERS["sgd"])
    if built == "before compiling":
        scheduler = lehr.Scheduler(compiled.optimizer, curve, lehr.Budget(steps=20))
        compiled.step = torch.compile(compiled.optimizer.step, backend=compiled._backend)
    else:
        if built == "after the first compiled step":
            compiled.update()
        scheduler = lehr.Scheduler(compiled.optimizer, curve, lehr.Budget(steps=20))
    rates = drive(compiled, scheduler, 20)
    expected = [[0.1 / (1 + i) * curve(k / 20) for i in range(GROUPS)] for k in range(20)]
    assert torch.allclose(torch.tensor(rates), torch.tensor(expected), atol=1e-7)
    assert compiled.compilations == 1


def test_loading_a_checkpoint_does_not_compile_again() -> None:
    compiled = Compiled(OPTIMIZERS["sgd"])
    scheduler = lehr.Scheduler(compiled.optimizer, lehr.Linear(), lehr.Budget(steps=20))
    drive(compiled, scheduler, 5)
    compiled.optimizer.load_state_dict(compiled.optimizer.state_dict())
    rates = drive(compiled, scheduler, 5)
    assert [row[0] for row in rates] == pytest.approx([0.1 * (1 - k / 20) for k in range(5, 10)])
    assert compiled.compilations <= 2  # torch itself may look at the new groups once
    assert scheduler.spent == 10


def test_updates_are_seen_inside_a_compiled_training_step() -> None:
    model = torch.nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=torch.tensor(0.1))
    scheduler = lehr.Scheduler(optimizer, lehr.Linear(), lehr.Budget(steps=10))

    @torch.compile(backend="aot_eager")
    def train_step(inputs: torch.Tensor) -> None:
        optimizer.zero_grad()
        model(inputs).square().mean().backward()
        optimizer.step()

    for _ in range(10):
        train_step(torch.randn(4, 3))
        scheduler.step()
    assert scheduler.finished
    assert scheduler.spent == 10
