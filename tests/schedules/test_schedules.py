"""Values that the papers give, and what constructors refuse."""

import math

import numpy as np
import pytest

import lehr
from lehr import Constant, Cosine, Linear, Steps, Triangular, WarmRestarts


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(-1.0), "Constant: value is a factor of the base rate and must be at least 0"),
        (lambda: Constant(math.nan), "Constant: value must be a finite number; got nan"),
        (lambda: Constant("1"), "Constant: value must be a finite number; got '1'"),
        (lambda: Linear(1.0, math.inf), "Linear: end must be a finite number"),
        (lambda: lehr.Polynomial(power=0), "Polynomial: power must be above 0"),
        (lambda: lehr.Exponential(end=0.0), "Exponential: end must be above 0"),
        (lambda: lehr.InverseSqrt(0.0), "InverseSqrt: timescale must be above 0"),
        (lambda: Steps(at=(0.5, 0.3)), "Steps: at must rise"),
        (lambda: Steps(at=(0.5, 1.0)), "Steps: at is a share of the budget and must lie between 0 and 1"),
        (lambda: Steps(at=0.5), "Steps: at must be a tuple of milestones"),
        (lambda: lehr.HyperbolicTangent(3, -6), "HyperbolicTangent: low must be below high"),
        (lambda: Triangular(cycles=0), "Triangular: cycles must be above 0"),
        (lambda: Triangular(low=2), "Triangular: low is base_lr / max_lr"),
        (lambda: WarmRestarts(growth=0.5), "WarmRestarts: growth is T_mult and must be at least 1"),
        (lambda: Linear().then(Cosine(), at=1.0), "then: at is a share of the budget"),
        (lambda: Linear().after_warmup(500), "after_warmup: share is a share of the budget"),
        (lambda: Linear().until(0), "until: end is a share of the budget"),
        (lambda: Linear().repeated(2, scale=1.5), "repeated: scale must be at most 1"),
        (lambda: Linear().sampled(0.0), "sampled: every is a share of the budget"),
        (lambda: Linear().clip(low=0.5, high=0.1), "clip: high must be at least low"),
        (lambda: Linear().between(-0.5, 0.1), "between: low is a factor"),
        (lambda: lehr.knee(explore=0.5, warmup=0.5), r"knee: warmup must be at least 0 and below 1 - explore = 0.5"),
        (lambda: lehr.warmup_stable_decay(warmup=0.9), "warmup_stable_decay: warmup must be"),
        (lambda: lehr.schedules.exp_range(cycles=2, low=0.1, end=1.5), "exp_range: end is a share"),
    ],
)
def test_bad_arguments_are_named(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_steps_accept_a_list_and_stay_hashable() -> None:
    assert hash(Steps(at=[0.3, 0.6])) == hash(Steps())  # type: ignore[arg-type]


def test_milestones_fall_on_their_update() -> None:
    for total in (10, 30, 49, 100, 1000, 1001):
        rates = [Steps(at=(0.3, 0.6))(k / total) for k in range(total)]
        assert rates.count(1.0) == math.ceil(0.3 * total - 1e-9)


@pytest.mark.parametrize("cycles", [1, 3, 7, 49, 98])
def test_restarts_fall_on_their_update(cycles: int) -> None:
    """Rounding must not put a restart one update late, in any number of cycles."""
    for length in (1, 2, 3, 10):
        total = cycles * length
        rates = [WarmRestarts(cycles=cycles)(k / total) for k in range(total)]
        assert rates == pytest.approx([Cosine()((k % length) / length) for k in range(total)], abs=1e-9)


def test_growing_restarts_fill_the_budget() -> None:
    restarts = WarmRestarts(cycles=3, growth=2)
    # lengths 1, 2 and 4 sevenths
    for start, length in ((0, 1), (1, 2), (3, 4)):
        assert restarts(start / 7) == pytest.approx(1.0)
        assert restarts((start + length / 2) / 7) == pytest.approx(0.5)
        assert restarts((start + length) / 7 - 1e-9) == pytest.approx(0.0, abs=1e-6)


def test_step_size_in_iterations_under_a_budget() -> None:
    budget = lehr.Budget(steps=20_000)
    clr = Triangular(cycles=1 / budget.fraction(steps=2 * 2_000), low=0.25)
    assert clr.cycles == pytest.approx(5)
    peaks = [k for k in range(20_000) if clr(k / 20_000) == 1.0]
    assert peaks == [2_000, 6_000, 10_000, 14_000, 18_000]


def test_step_size_in_iterations_without_a_budget() -> None:
    period = lehr.Budget.every(steps=2 * 100)
    factors = [lehr.schedules.triangular2(1, 0.0)(k / period.total) for k in (0, 50, 100, 200, 300, 500, 700)]
    assert factors == pytest.approx([0.0, 0.5, 1.0, 0.0, 0.5, 0.25, 0.125])


def test_operators_read_from_left_to_right() -> None:
    assert repr((Linear() * Cosine()).then(Constant(), at=0.5)) == "(Linear() * Cosine()).then(Constant(), at=0.5)"
    assert repr(Linear() * (Cosine() * Constant())) == "Linear() * (Cosine() * Constant())"


def test_own_schedules_join_in() -> None:
    from dataclasses import dataclass
    from typing import Any

    @dataclass(frozen=True, repr=False)
    class Square(lehr.Schedule):
        power: float = 2.0

        def factor_at(self, progress: Any, xp: Any) -> Any:
            return xp.clip(progress, 0.0, 1.0) ** self.power

    mine = Square(3.0).after_warmup(0.5) * Linear()
    assert repr(mine) == "Square(power=3.0).after_warmup(0.5) * Linear()"
    assert mine(np.array([0.75])) == pytest.approx([0.25 * 0.125])
