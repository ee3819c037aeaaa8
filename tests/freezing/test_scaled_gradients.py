"""Scaled gradients where everything of an optimizer is frozen."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import lehr

STEPS = 20


class Run:
    """A body and a head, each with an optimizer and a plan."""

    def __init__(self, kind: Any = torch.optim.SGD, *, plan_for_head: bool = True, **options: Any) -> None:
        torch.manual_seed(0)
        self.inputs = torch.randn(16, 8)
        self.model = nn.Sequential(*(nn.Sequential(nn.Linear(8, 8), nn.Tanh()) for _ in range(3)), nn.Linear(8, 1))
        layers = lehr.layers_of(self.model)
        self.plans = [lehr.FreezeOut(layers, t0=0.3, how="linear") for _ in range(2)]
        body, head = list(self.model[:3].parameters()), list(self.model[3].parameters())
        self.optimizers = [
            kind(self.plans[0].param_groups(body, lr=0.01), **options),
            kind(self.plans[1].param_groups(head, lr=0.01), **options),
        ]
        policies: list[Any] = [self.plans[0], self.plans[1] if plan_for_head else lehr.Linear()]
        budget = lehr.Budget(steps=STEPS)
        self.schedulers = [
            lehr.Scheduler(one, policy, budget) for one, policy in zip(self.optimizers, policies, strict=True)
        ]
        self.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=5)

    def backward(self) -> None:
        self.scaler.scale(self.model(self.inputs).square().mean()).backward()

    def zero(self) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad()

    def step(self, *, unscale: bool = False, update_each: bool = False) -> None:
        for optimizer in self.optimizers:
            if unscale:
                self.scaler.unscale_(optimizer)
                params = [p for group in optimizer.param_groups for p in group["params"]]
                assert torch.nn.utils.clip_grad_norm_(params, 1.0).isfinite()
            self.scaler.step(optimizer)
            if update_each:
                self.scaler.update()
        if not update_each:
            self.scaler.update()
        for scheduler in self.schedulers:
            scheduler.step()

    def state(self) -> list[Any]:
        return [part.state_dict() for part in (self.model, *self.optimizers, *self.schedulers, self.scaler)]

    def load(self, state: list[Any]) -> None:
        parts = (self.model, *self.optimizers, *self.schedulers, self.scaler)
        for part, own in zip(parts, state, strict=True):
            part.load_state_dict(own)


def plain(run: Run) -> None:
    run.zero()
    run.backward()
    run.step()


def zeroed_late(run: Run) -> None:
    """Gradients of the last update go between the forward and the backward pass."""
    loss = run.scaler.scale(run.model(run.inputs).square().mean())
    run.model.zero_grad()
    loss.backward()
    run.step()


def accumulating(run: Run) -> None:
    run.zero()
    for _ in range(3):
        run.backward()
    run.step()


def clipping(run: Run) -> None:
    run.zero()
    run.backward()
    run.step(unscale=True)


def update_each(run: Run) -> None:
    """As accelerate does."""
    run.zero()
    run.backward()
    run.step(update_each=True)


def toggled(run: Run) -> None:
    run.model.requires_grad_(False)
    run.model.requires_grad_(True)
    plain(run)


@pytest.mark.parametrize("loop", [plain, zeroed_late, accumulating, clipping, update_each, toggled])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (torch.optim.SGD, {"momentum": 0.9, "weight_decay": 0.1}),
        (torch.optim.AdamW, {}),
        (torch.optim.AdamW, {"fused": True}),
    ],
)
def test_it_trains_to_the_end(loop: Callable[[Run], None], kind: Any, options: Any) -> None:
    run = Run(kind, **options)
    frozen = []
    for _ in range(STEPS):
        loop(run)
        frozen.append([parameter.detach().clone() for parameter in run.model[: run.plans[0].frozen].parameters()])
    assert [scheduler.spent for scheduler in run.schedulers] == [STEPS, STEPS]
    assert [plan.frozen for plan in run.plans] == [3, 3]
    assert not run.optimizers[0].state
    assert all(parameter.grad is None for parameter in run.model[:3].parameters())
    for weights in frozen:
        assert all(torch.equal(a, b) for a, b in zip(weights, frozen[-1], strict=False))


def test_the_head_needs_no_plan() -> None:
    run = Run(plan_for_head=False)
    for _ in range(STEPS):
        plain(run)
    assert run.schedulers[0].finished


def test_an_update_with_an_overflow_is_left_out() -> None:
    run = Run(torch.optim.AdamW)
    for _ in range(STEPS - 2):
        plain(run)
    assert run.plans[0].frozen == 3
    head = run.model[3].weight.detach().clone()
    run.zero()
    run.scaler.scale(run.model(run.inputs).square().mean() * float("inf")).backward()
    run.step()
    assert torch.equal(head, run.model[3].weight)
    assert [scheduler.spent for scheduler in run.schedulers] == [STEPS - 1, STEPS - 2]  # each scaler.step by itself
    plain(run)
    assert not torch.equal(head, run.model[3].weight)


@pytest.mark.parametrize("stop", [5, 16, 18])
def test_another_process_goes_on(stop: int) -> None:
    whole, one, two = Run(torch.optim.AdamW), Run(torch.optim.AdamW), Run(torch.optim.AdamW)
    for _ in range(STEPS):
        plain(whole)
    for _ in range(stop):
        plain(one)
    file = io.BytesIO()
    torch.save(one.state(), file)
    file.seek(0)
    two.load(torch.load(file, weights_only=True))
    for _ in range(STEPS - stop):
        plain(two)
    assert two.plans[0].frozen == whole.plans[0].frozen == 3
    assert all(torch.equal(v, two.model.state_dict()[key]) for key, v in whole.model.state_dict().items())


def test_nothing_is_left_behind_once_layers_train_again() -> None:
    run = Run()
    for _ in range(STEPS):
        plain(run)
    run.backward()
    for plan in run.plans:
        plan.unfreeze()
    assert all(parameter.grad is None for parameter in run.model[:3].parameters())
    run.zero()
    run.backward()
    assert all(
        bool(parameter.grad.abs().sum() > 0) for parameter in run.model.parameters() if parameter.grad is not None
    )
    assert not any(parameter._post_accumulate_grad_hooks for parameter in run.model.parameters())
