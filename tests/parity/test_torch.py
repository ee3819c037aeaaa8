"""The curves of torch's own schedulers, step by step."""

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch.optim import lr_scheduler

import lehr
from lehr import Schedule

TOTAL = 120
BASE = 0.1


def torch_rates(make: Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler], steps: int = TOTAL) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=BASE, momentum=0.9)
    scheduler = make(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def agree(ours: Sequence[float], theirs: Sequence[float]) -> None:
    assert len(ours) == len(theirs)
    assert max(abs(one - two) for one, two in zip(ours, theirs, strict=True)) < 1e-12


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lehr.Constant(0.3), lambda o: lr_scheduler.ConstantLR(o, factor=0.3, total_iters=TOTAL + 9)),
        (lehr.Linear(), lambda o: lr_scheduler.PolynomialLR(o, total_iters=TOTAL, power=1.0)),
        (lehr.Linear(0.25, 0.75), lambda o: lr_scheduler.LinearLR(o, 0.25, 0.75, total_iters=TOTAL)),
        (lehr.Cosine(), lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=TOTAL)),
        (lehr.Cosine(end=0.2), lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=TOTAL, eta_min=0.2 * BASE)),
        (lehr.Polynomial(power=0.9), lambda o: lr_scheduler.PolynomialLR(o, total_iters=TOTAL, power=0.9)),
        (lehr.Polynomial(power=3), lambda o: lr_scheduler.PolynomialLR(o, total_iters=TOTAL, power=3)),
        (lehr.Exponential(end=0.97**TOTAL), lambda o: lr_scheduler.ExponentialLR(o, gamma=0.97)),
        (lehr.Steps(at=(0.3, 0.6)), lambda o: lr_scheduler.MultiStepLR(o, [36, 72])),
        (lehr.Steps(at=(1 / 3, 2 / 3), gamma=0.5), lambda o: lr_scheduler.StepLR(o, 40, gamma=0.5)),
        (lehr.WarmRestarts(cycles=4), lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=30)),
        (
            lehr.WarmRestarts(cycles=math.log(1 + TOTAL / 8) / math.log(2), growth=2, low=0.1),
            lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=8, T_mult=2, eta_min=0.1 * BASE),
        ),
        (
            lehr.WarmRestarts(cycles=math.log(1 + 2 * TOTAL / 5) / math.log(3), growth=3),
            lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=5, T_mult=3),
        ),
        (
            lehr.Cosine().after_warmup(0.25, start=0.1),
            lambda o: lr_scheduler.SequentialLR(
                o, [lr_scheduler.LinearLR(o, 0.1, 1.0, 30), lr_scheduler.CosineAnnealingLR(o, TOTAL - 30)], [30]
            ),
        ),
    ],
    ids=lambda value: repr(value) if isinstance(value, Schedule) else "",
)
def test_closed_forms(ours: Schedule, theirs: Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler]) -> None:
    agree([BASE * ours(k / TOTAL) for k in range(TOTAL)], torch_rates(theirs))


@pytest.mark.parametrize("step_size", [10, 15, 17])
@pytest.mark.parametrize("mode", ["triangular", "triangular2", "exp_range"])
def test_cyclic(mode: str, step_size: int) -> None:
    cycles, low, gamma = TOTAL / (2 * step_size), 0.25, 0.99
    ours = {
        "triangular": lehr.Triangular(cycles, low),
        "triangular2": lehr.schedules.triangular2(cycles, low),
        "exp_range": lehr.schedules.exp_range_amplitude(cycles, low, gamma**TOTAL),
    }[mode]

    def theirs(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
        return lr_scheduler.CyclicLR(
            optimizer, low * BASE, BASE, step_size, mode=mode, gamma=gamma, cycle_momentum=False
        )  # fmt: skip

    # beyond the budget too, since both keep cycling
    agree([BASE * ours(k / TOTAL) for k in range(3 * TOTAL)], torch_rates(theirs, 3 * TOTAL))


@pytest.mark.parametrize("rise", [0.1, 0.3, 0.5])
def test_one_cycle(rise: float) -> None:
    last = TOTAL - 1
    ours = lehr.one_cycle(rise=(rise * TOTAL - 1) / last)
    theirs = torch_rates(
        lambda o: lr_scheduler.OneCycleLR(o, max_lr=BASE, total_steps=TOTAL, pct_start=rise, cycle_momentum=False),
        TOTAL - 1,
    )
    agree([BASE * ours(k / last) for k in range(TOTAL - 1)], theirs)


def test_one_cycle_momentum() -> None:
    last, rise = TOTAL - 1, 0.3
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=BASE, momentum=0.95)
    theirs = lr_scheduler.OneCycleLR(optimizer, max_lr=BASE, total_steps=TOTAL, pct_start=rise)
    at, low = (rise * TOTAL - 1) / last, 0.85 / 0.95
    ours = lehr.Cosine(1, low).then(lehr.Cosine(low, 1), at=at)
    for k in range(last):
        assert abs(0.95 * ours(k / last) - optimizer.param_groups[0]["momentum"]) < 1e-12
        optimizer.step()
        theirs.step()
