"""Any real number is a number, wherever a schedule takes one, and factors are finite whatever it is."""

from __future__ import annotations

import copy
import math
import pickle
from collections import UserList
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import reduce
from html import unescape
from typing import Any

import numpy as np
import pytest
import torch

import lehr
from lehr import Linear, Steps

KINDS: tuple[Callable[[float], Any], ...] = (
    np.float64, np.float32, torch.tensor, lambda x: torch.tensor(x, dtype=torch.float64), np.array,
    lambda x: torch.tensor([x]), lambda x: Decimal(str(x)), lambda x: Fraction(str(x)),
)  # fmt: skip

MAKERS: tuple[Callable[[Any], lehr.Schedule], ...] = (
    lehr.Constant, lambda x: lehr.Linear(x, x), lambda x: lehr.Cosine(x, x), lambda x: lehr.Polynomial(x, x, x),
    lambda x: lehr.Exponential(x, x), lehr.InverseSqrt, lambda x: lehr.Steps((x,), x),
    lambda x: lehr.HyperbolicTangent(-4, x), lambda x: lehr.OneMinusSqrt(x, x), lambda x: lehr.Triangular(x, x),
    lambda x: lehr.WarmRestarts(cycles=x, low=x), lambda x: lehr.schedules.clr_decay(x, x),
    lambda x: lehr.schedules.exp_range(x, x, x), lambda x: lehr.schedules.exp_range_amplitude(x, x, x),
    lambda x: lehr.schedules.triangular2(x, x), lambda x: lehr.knee(x, x), lambda x: lehr.one_cycle(x, x, x),
    lambda x: lehr.warmup_stable_decay(x, x), lambda x: x * Linear(), lambda x: Linear() * x,
    lambda x: Linear().then(Linear(), at=x), lambda x: Linear().after_warmup(x, x), lambda x: Linear().until(x),
    lambda x: Linear().repeated(x, x), lambda x: Linear().sampled(x), lambda x: Linear().clip(x, x),
    lambda x: Linear().between(x, x),
)  # fmt: skip


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("kind", KINDS)
def test_numbers_of_any_kind_make_the_same_schedule(make: Callable[[Any], lehr.Schedule], kind: Any) -> None:
    schedule, same = make(kind(0.3)), make(0.3)
    assert schedule == same
    assert hash(schedule) == hash(same)
    assert repr(schedule) == repr(same)
    assert lehr.parse_schedule(repr(schedule)) == same
    assert pickle.dumps(schedule) == pickle.dumps(same)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("value", [True, np.bool_(True), "0.3", None, 1j, [0.3], torch.tensor([0.3, 0.3]), math.nan])
def test_what_is_no_number_is_refused(make: Callable[[Any], lehr.Schedule], value: Any) -> None:
    if value is None and make(0.3) == Linear().clip(0.3, 0.3):
        value = "None"  # of which the upper one may be
    with pytest.raises((ValueError, TypeError)) as error:  # * leaves it to the other side first
        make(value)
    assert "\n" not in str(error.value)


def test_whole_numbers_stay_whole() -> None:
    for kind in (np.int64, np.int8, torch.tensor, lambda n: np.array([n])):
        assert repr(lehr.Triangular(cycles=kind(4))) == "Triangular(cycles=4)"
    assert repr(lehr.Constant(10**20)) == repr(lehr.Constant(1e20)) == "Constant(value=1e+20)"


@pytest.mark.parametrize(
    "at",
    [[0.3, 0.6], UserList([0.3, 0.6]), np.array([0.3, 0.6]), np.array([0.3, 0.6], dtype=np.float32),
     torch.tensor([0.3, 0.6]), (Fraction(3, 10), Decimal("0.6"))],
)  # fmt: skip
def test_milestones_from_any_list(at: Sequence[float]) -> None:
    assert Steps(at=at) == Steps()  # type: ignore[arg-type]
    assert repr(Steps(at=at, gamma=0.5)) == "Steps(gamma=0.5)"  # type: ignore[arg-type]


@pytest.mark.parametrize("at", ["0.3", 0.3, {0.3: 1}, {0.3, 0.6}, None, [[0.3]], [True], np.array(0.3)])
def test_other_milestones_are_refused(at: Any) -> None:
    with pytest.raises(ValueError, match=r"Steps: at must be a tuple of milestones, or a list, such as \(0.3, 0.6\)"):
        Steps(at=at)


def test_own_schedules_print_plain_numbers() -> None:
    @dataclass(frozen=True, repr=False)
    class Mine(lehr.Schedule):
        height: float = 1.0

        def factor_at(self, progress: Any, xp: Any) -> Any:
            return self.height + 0.0 * progress

    assert repr(Mine(np.float32(0.1))) == "Mine(height=0.1)"
    with pytest.raises(ValueError, match=r"Mine\(height=-1\) gives -1.0 at progress 0.5; a factor must be finite"):
        Mine(-1)(0.5)
    with pytest.raises(ValueError, match="gives nan"):
        Mine(math.nan).after_warmup(0.1)(0.05)


def test_progress_is_any_number_too() -> None:
    for kind in (np.float32, np.float64, Fraction, Decimal):
        assert Linear()(kind(0.25)) == 0.75
        assert type(Linear()(kind(0.25))) is float
    assert Linear()(10**400) == 0.0
    assert lehr.Triangular()(math.inf) == 0.0
    for progress in (True, np.array([0.5j]), np.array(["a"]), torch.tensor([1j]), torch.tensor([True]), "0.5"):
        with pytest.raises(TypeError, match="progress must be"):
            Linear()(progress)
    for broken in (math.nan, np.array([0.5, math.nan]), torch.tensor([0.5, math.nan]), np.float32(math.nan)):
        with pytest.raises(ValueError, match="progress must be a number; got nan"):
            Linear()(broken)


@pytest.mark.parametrize(
    "code",
    [
        "Polynomial(power=1e29)", "Exponential(end=1e-320)", "Exponential(end=1e30, start=5e-324)",
        "Linear(1e30) * Linear(1e30) * Linear(0, 1e-320)", "Steps(at=(0.1, 0.2, 0.3), gamma=1e20)",
        "Steps(at=(0.1, 0.2, 0.3), gamma=1e-200)", "HyperbolicTangent(-1e30, 1e30)", "InverseSqrt(1e-30)",
        "Triangular(1e30)", "WarmRestarts(60, 3)", "WarmRestarts(1e30)", "Linear().repeated(1e30, scale=0)",
        "Constant(1e30).between(1e30, 0)", "Constant(1e30).between(0, 1e30)", "Linear(1e30).after_warmup(0.5, 1e30)",
        "Linear().sampled(1e-30)", "Linear().until(1e-30)", "Linear().then(Rex(), at=5e-324).after_warmup(5e-324)",
    ],
)  # fmt: skip
def test_extremes_are_finite_and_agree(code: str) -> None:
    schedule = lehr.parse_schedule(code)
    progress = np.concatenate([np.linspace(0.0, 1.2, 49), [1e5, 1e20, 1e38]])
    singly = [schedule(share) for share in progress.tolist()]
    single = progress.astype(np.float32)
    assert all(math.isfinite(factor) and factor >= 0.0 for factor in singly)
    np.testing.assert_allclose(schedule(progress), singly, rtol=1e-9)
    np.testing.assert_allclose(schedule(torch.from_numpy(progress)).numpy(), singly, rtol=1e-9)
    for factors in (schedule(single), schedule(torch.from_numpy(single)).numpy()):
        assert np.isfinite(factors).all()
        assert (factors >= 0.0).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Linear(start=1e308), "Linear: start must be at most 1e\\+30 in size; got 1e\\+308"),
        (lambda: lehr.Constant(10**400), "Constant: value must be at most 1e\\+30 in size; got 1000"),
        (lambda: lehr.Polynomial(power=1e300), "Polynomial: power must be at most 1e\\+30"),
        (lambda: lehr.InverseSqrt(1e-320), "InverseSqrt: timescale must be at least 1e-30"),
        (lambda: lehr.WarmRestarts(2000, 2), "WarmRestarts: with cycles=2000 and growth=2 the first cycle is less"),
        (lambda: lehr.schedules.exp_range(0.001, 0.1, 0.01), "exp_range: cycles=0.001 and end=0.01 leave nothing"),
        (lambda: lehr.schedules.triangular2(0, 0.1), "triangular2: cycles must be above 0"),
        (lambda: lehr.schedules.clr_decay(-1, 0.1), "clr_decay: low is a factor"),
        (lambda: lehr.one_cycle(rise=2), "one_cycle: rise is a share"),
        (lambda: lehr.schedules.exp_range_amplitude(2, 3, 1), "exp_range_amplitude: low is base_lr / max_lr"),
    ],
)
def test_what_cannot_be_computed_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_schedules_nest_as_deep_as_python_copes() -> None:
    schedule: lehr.Schedule = lehr.Cosine()
    for _ in range(50):
        schedule = schedule.after_warmup(0.01).clip()
    assert copy.deepcopy(schedule) == pickle.loads(pickle.dumps(schedule)) == lehr.parse_schedule(repr(schedule))
    assert 0.0 < schedule(np.array([0.7]))[0] <= 1.0
    with pytest.raises(ValueError, match="schedules can be nested 100 deep"):
        reduce(lambda product, _: product * lehr.Rex(), range(101), lehr.Cosine())


def test_notebooks_draw_the_curve() -> None:
    html = lehr.Steps(at=(0.3, 0.6))._repr_html_()
    assert "<svg" in html
    assert unescape(html.partition("<code>")[2].partition("</code>")[0]) == "Steps()"
    points = html.partition('points="')[2].partition('"')[0].split()
    assert len(points) == 401
    assert points[0] == "8.0,8.0"  # the top left
    assert points[-1].startswith("472.0,")

    @dataclass(frozen=True, repr=False)
    class Mine(lehr.Schedule):
        def factor_at(self, progress: Any, xp: Any) -> Any:
            return progress

        def __repr__(self) -> str:
            return "<script>&"

    assert "<script>" not in Mine()._repr_html_()
    assert "&lt;script&gt;&amp;" in Mine()._repr_html_()
