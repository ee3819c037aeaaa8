"""`lehr.CyclicLR` against torch's, call by call, and against the paper's listing where torch differs."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import lehr

TORCH_MODES = {"triangular": "triangular", "triangular2": "triangular2", "exp_range_amplitude": "exp_range"}


def optimizer(kind: str = "sgd", groups: int = 1, *, tensor: bool = False) -> torch.optim.Optimizer:
    parameters = [{"params": [torch.zeros(1, requires_grad=True)]} for _ in range(groups)]
    rate = torch.tensor(0.5) if tensor else 0.5
    if kind == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=0.9)
    return torch.optim.AdamW(parameters, lr=rate)


def momentum(of: torch.optim.Optimizer) -> list[float]:
    return [group["betas"][0] if "betas" in group else group["momentum"] for group in of.param_groups]


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
@pytest.mark.parametrize("policy", TORCH_MODES)
@pytest.mark.parametrize("cycles", [None, 3])
@pytest.mark.parametrize("tensor", [False, True])
def test_torchs_values_at_every_call(kind: str, policy: Any, cycles: int | None, tensor: bool) -> None:
    one, two = optimizer(kind, 2, tensor=tensor), optimizer(kind, 2)
    ours = lehr.CyclicLR(one, [0.01, 0.001], [0.1, 0.02], step_size=7, policy=policy, gamma=0.99, cycles=cycles)
    theirs = torch.optim.lr_scheduler.CyclicLR(
        two, [0.01, 0.001], [0.1, 0.02], step_size_up=7, mode=TORCH_MODES[policy], gamma=0.99
    )
    for _ in range(3 * 14 if cycles else 100):
        assert ours.get_last_lr() == pytest.approx(theirs.get_last_lr(), rel=1e-11)
        assert momentum(one) == pytest.approx(momentum(two), rel=1e-11)
        assert [float(group["lr"]) for group in one.param_groups] == pytest.approx(ours.get_last_lr(), rel=1e-6)
        one.step(), two.step(), ours.step(), theirs.step()
    if cycles:
        assert ours.finished
    else:
        _end_quietly(ours)


def _end_quietly(scheduler: lehr.Scheduler) -> None:
    scheduler._run.end()  # it is a test that stops here, not a run


def test_the_papers_exp_range_and_decay() -> None:
    base, peak, size, gamma = 0.001, 0.006, 5, 0.97
    for policy in ("exp_range", "decay"):
        made = optimizer()
        ours = lehr.CyclicLR(made, base, peak, step_size=size, policy=policy, gamma=gamma, cycle_momentum=False)  # type: ignore[arg-type]
        for t in range(47):
            cycle = math.floor(1 + t / (2 * size))
            height = max(0.0, 1 - abs(t / size - 2 * cycle + 1))
            expected = {
                "exp_range": (base + (peak - base) * height) * gamma**t,
                "decay": max(base, peak - (peak - base) * t / size),
            }[policy]
            assert ours.get_last_lr() == [pytest.approx(expected, rel=1e-11)]
            made.step(), ours.step()
        assert momentum(made) == [0.9]
        _end_quietly(ours)


def test_the_composition_is_the_same() -> None:
    one, two = optimizer(), optimizer()
    for group in two.param_groups:
        group["lr"] = 0.1
    ours = lehr.CyclicLR(one, 0.02, 0.1, step_size=10, cycle_momentum=False, cycles=2)
    composed = lehr.Scheduler(two, lehr.Triangular(cycles=2, low=0.2), lehr.Budget(steps=40))
    for _ in range(40):
        assert ours.get_last_lr() == pytest.approx(composed.get_last_lr(), rel=1e-12)
        one.step(), two.step(), ours.step(), composed.step()


def test_resume_is_exact() -> None:
    one = optimizer()
    ours = lehr.CyclicLR(one, 0.02, 0.1, step_size=10, policy="triangular2", cycles=4)
    for _ in range(33):
        one.step(), ours.step()
    two = optimizer()
    again = lehr.CyclicLR(two, 0.02, 0.1, step_size=10, policy="triangular2", cycles=4)
    two.load_state_dict(one.state_dict())
    again.load_state_dict(ours.state_dict())
    while not ours.finished:
        assert (again.get_last_lr(), momentum(two)) == (ours.get_last_lr(), momentum(one))
        one.step(), two.step(), ours.step(), again.step()
    assert again.finished


@pytest.mark.parametrize(("calls", "warned"), [(20, False), (40, False), (30, True), (27, True), (39, False)])
def test_ending_in_the_middle_of_a_cycle_is_warned_about(calls: int, warned: bool) -> None:
    made = optimizer()
    ours = lehr.CyclicLR(made, 0.02, 0.1, step_size=10)
    for _ in range(calls):
        made.step(), ours.step()
    assert ("ended in the middle of a cycle" in (ours._run.early or "")) == warned
    _end_quietly(ours)


def test_momenta_may_differ_by_group() -> None:
    one, two = optimizer("sgd", 2), optimizer("sgd", 2)
    ours = lehr.CyclicLR(one, 0.01, 0.1, step_size=7, base_momentum=[0.7, 0.8], max_momentum=[0.9, 0.95], cycles=2)
    theirs = torch.optim.lr_scheduler.CyclicLR(
        two, 0.01, 0.1, step_size_up=7, base_momentum=[0.7, 0.8], max_momentum=[0.9, 0.95]
    )
    for _ in range(28):
        assert momentum(one) == pytest.approx(momentum(two), rel=1e-11)
        one.step(), two.step(), ours.step(), theirs.step()
    with pytest.raises(ValueError, match="base_momentum has 3 values for 2 parameter groups"):
        lehr.CyclicLR(one, 0.01, 0.1, base_momentum=[0.7, 0.8, 0.8])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base_lr": 0.1, "max_lr": 0.1}, "max_lr must be above base_lr"),
        ({"base_lr": -0.1}, "base_lr at least 0"),
        ({"base_lr": [0.1, 0.1]}, "base_lr has 2 rates for 1 parameter groups"),
        ({"step_size": 0}, "step_size must be a whole number"),
        ({"cycles": 1.5}, "cycles must be a whole number"),
        ({"policy": "cosine"}, "policy must be one of triangular, triangular2, exp_range"),
        ({"gamma": 1.1}, "gamma must be a number above 0 and at most 1"),
        ({"base_momentum": 0.95}, "momenta must satisfy"),
    ],
)
def test_bad_use_is_told(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lehr.CyclicLR(optimizer(), **{"base_lr": 0.01, "max_lr": 0.1, **changes})
    plain = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    with pytest.raises(ValueError, match="no momentum to cycle; pass cycle_momentum=False"):
        lehr.CyclicLR(plain, 0.01, 0.1)
    assert plain.param_groups[0]["lr"] == 0.3
    with pytest.raises(ValueError, match="gamma=0.99 leaves nothing of the rate after 80,000 calls"):
        lehr.CyclicLR(optimizer(), 0.01, 0.1, policy="exp_range", gamma=0.99, cycles=20)
