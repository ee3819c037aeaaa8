"""The paper's advice on cycles, worked out."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import lehr


@given(st.floats(1, 500), st.integers(10, 2_000))
def test_the_papers_rules_hold_where_they_can(epochs: float, steps_per_epoch: int) -> None:
    plan = lehr.plan_cycles(epochs, steps_per_epoch, (0.01, 0.1))
    half = plan.step_size / steps_per_epoch
    assert plan.cycles >= 3
    assert half <= 10.0
    assert half >= 2.0 - 1 / steps_per_epoch or plan.cycles == 3
    assert 0 <= plan.left_over < 2 * plan.cycles
    assert plan.budget.total + plan.left_over == int(epochs * steps_per_epoch + 1e-9)
    if 16 <= epochs <= 80:
        assert plan.cycles == 4


def test_the_papers_cifar_run() -> None:
    """Five cycles of 2 x 2,000 iterations in 20,000, at 500 an epoch."""
    plan = lehr.plan_cycles(40, 500, (0.0025, 0.01), cycles=5)
    assert (plan.step_size, plan.left_over) == (2000, 0)


def test_its_scheduler_ends_with_the_last_cycle_at_the_lowest_rate() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=5.0, momentum=0.9)
    plan = lehr.plan_cycles(3, 21, (0.01, 0.1))
    scheduler = plan.scheduler(optimizer)
    rates = []
    while not scheduler.finished:
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert len(rates) == plan.budget.total == 60
    assert max(rates) == pytest.approx(0.1)
    assert rates[0] == pytest.approx(0.01)
    assert scheduler.get_last_lr() == [pytest.approx(0.01)]
    assert optimizer.param_groups[0]["momentum"] == 0.9


def test_bad_use_is_told() -> None:
    for bounds in ((0.1, 0.01), (0.1, 0.1), (-1.0, 0.1)):
        with pytest.raises(ValueError, match="bounds must be base_lr and max_lr"):
            lehr.plan_cycles(10, 100, bounds)
    with pytest.raises(ValueError, match="cycles must be a whole number"):
        lehr.plan_cycles(10, 100, (0.01, 0.1), cycles=0)
    with pytest.raises(ValueError, match="epochs must be a number above 0"):
        lehr.plan_cycles(0, 100, (0.01, 0.1))
    with pytest.raises(ValueError, match="5 updates are too few for 3 cycles"):
        lehr.plan_cycles(1, 5, (0.01, 0.1))
