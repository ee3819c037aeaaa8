"""What holds for every schedule, over random trees of them."""

import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

import lehr
from lehr import Budget, Constant, Schedule
from lehr.budget import Clock
from strategies import cycles, decays, progresses, schedules, shares

GRID = np.linspace(0.0, 1.6, 81)


def close(one: float, two: float, tolerance: float = 1e-9) -> bool:
    return math.isclose(one, two, rel_tol=tolerance, abs_tol=tolerance)


@given(schedules, progresses)
def test_factors_are_finite_and_not_negative(schedule: Schedule, progress: float) -> None:
    factor = schedule(progress)
    assert type(factor) is float
    assert math.isfinite(factor)
    assert factor >= 0.0


@given(schedules)
def test_arrays_and_tensors_give_what_floats_give(schedule: Schedule) -> None:
    one_by_one = [schedule(progress) for progress in GRID.tolist()]
    array = schedule(GRID)
    tensor = schedule(torch.from_numpy(GRID))
    assert isinstance(array, np.ndarray)
    assert isinstance(tensor, torch.Tensor)
    np.testing.assert_allclose(array, one_by_one, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(tensor.numpy(), one_by_one, rtol=1e-9, atol=1e-9)


@given(schedules)
def test_repr_is_code(schedule: Schedule) -> None:
    assert eval(repr(schedule), dict(vars(lehr))) == schedule
    assert lehr.parse_schedule(repr(schedule)[:1000]) == schedule if len(repr(schedule)) <= 1000 else True


@given(schedules)
def test_schedules_are_values(schedule: Schedule) -> None:
    twin = pickle.loads(pickle.dumps(schedule))
    assert twin == schedule
    assert hash(twin) == hash(schedule)
    with pytest.raises(AttributeError):
        schedule.start = 2.0  # type: ignore[attr-defined]


@given(decays, progresses)
def test_decays_hold_their_last_value(schedule: Schedule, progress: float) -> None:
    assert schedule(1.0 + progress) == schedule(1.0)


@given(cycles)
def test_cycles_keep_cycling(schedule: Schedule) -> None:
    beyond = schedule(np.linspace(1.0, 1.0 + 3.0, 4001))
    assert np.ptp(beyond) > 0 or np.ptp(schedule(np.linspace(0.0, 1.0, 4001))) < 1e-9 or schedule(3.0) < 1e-2


@given(schedules)
def test_before_the_start_is_the_start(schedule: Schedule) -> None:
    assert schedule(-0.5) == schedule(0.0)


@given(schedules, st.integers(1, 10_000), st.integers(1, 100), st.data())
def test_the_curve_does_not_know_the_budget(schedule: Schedule, total: int, longer: int, data: st.DataObject) -> None:
    """A longer budget, or one in another unit, stretches the same curve: bit for bit at the same share."""
    spent = data.draw(st.integers(0, total))
    budgets = [
        (Budget(steps=total), spent),
        (Budget(steps=longer * total), longer * spent),
        (Budget(epochs=total, steps_per_epoch=longer), longer * spent),
        (Budget(samples=total * longer, samples_per_step=longer), spent),
        (Budget.every(tokens=total * longer, tokens_per_step=longer), spent),
    ]
    factors = set()
    for budget, updates in budgets:
        clock = Clock(budget)
        clock.tick(updates)
        factors.add(schedule(clock.progress))
    assert len(factors) == 1


@given(schedules, schedules, progresses)
def test_products_multiply(one: Schedule, two: Schedule, progress: float) -> None:
    assert (one * two)(progress) == one(progress) * two(progress)
    assert (one * two)(progress) == (two * one)(progress)
    assert (one * 1)(progress) == one(progress)
    assert (2.0 * one)(progress) == 2.0 * one(progress)


@given(schedules, schedules, schedules, progresses)
def test_products_associate(one: Schedule, two: Schedule, three: Schedule, progress: float) -> None:
    assert close(((one * two) * three)(progress), (one * (two * three))(progress))


@given(schedules, schedules, shares, progresses)
def test_then_is_the_first_and_then_the_second(one: Schedule, two: Schedule, at: float, progress: float) -> None:
    both = one.then(two, at=at)
    if progress >= at:
        assert both(progress) == two((progress - at) / (1 - at))
    elif progress < at - 1e-9:
        assert both(progress) == one(progress / at)
        assert both(progress) == one.until(at)(progress)


@given(decays, decays, decays, shares, shares, progresses)
def test_then_associates(a: Schedule, b: Schedule, c: Schedule, x: float, y: float, progress: float) -> None:
    inner = (y - x * y) / (1 - x * y)
    assume(0.01 < inner < 0.99)
    jumps = [x * y, y, *(place for s in (a, b, c) if isinstance(s, lehr.Steps) for place in _images(s.at, x, y))]
    assume(all(abs(progress - jump) > 1e-6 for jump in jumps))
    left = a.then(b, at=x).then(c, at=y)
    right = a.then(b.then(c, at=inner), at=x * y)
    assert close(left(progress), right(progress), 1e-5)


def _images(places: tuple[float, ...], x: float, y: float) -> list[float]:
    """Where a place inside each of three parts falls in the whole."""
    return [image for p in places for image in (p * x * y, (x + p * (1 - x)) * y, y + p * (1 - y))]


@given(schedules, shares, shares, progresses)
def test_warmup_rises_and_then_leaves_the_curve_alone(schedule: Schedule, share: float, start: float, p: float) -> None:
    warm = schedule.after_warmup(share, start)
    assert close(warm(0.0), start * schedule(0.0))
    if p >= share:
        assert warm(p) == schedule((p - share) / (1 - share))


@given(schedules, shares, progresses)
def test_sampling_twice_is_sampling_once(schedule: Schedule, every: float, progress: float) -> None:
    once = schedule.sampled(every)
    assert once.sampled(every)(progress) == once(progress)


@given(schedules, progresses)
def test_clip_keeps_its_bounds(schedule: Schedule, progress: float) -> None:
    assert 0.25 <= schedule.clip(0.25, 0.75)(progress) <= 0.75
    assert schedule.clip()(progress) == schedule(progress)


@given(decays, progresses)
def test_once_repeated_is_the_curve_itself(schedule: Schedule, progress: float) -> None:
    if progress < 1.0 - 1e-9:
        assert schedule.repeated(1)(progress) == pytest.approx(schedule(progress), rel=1e-9, abs=1e-9)


def test_no_warmup_is_no_warmup() -> None:
    assert lehr.Linear().after_warmup(0) == lehr.Linear()
    assert (lehr.Linear() * np.float32(0.5))(0.0) == 0.5


def test_growth_close_to_one_is_no_trap() -> None:
    near, one = lehr.WarmRestarts(cycles=4, growth=1 + 1e-12), lehr.WarmRestarts(cycles=4)
    assert all(close(near(p), one(p), 1e-6) for p in (0.1, 0.3, 0.6, 0.9))


def test_single_precision_is_kept() -> None:
    assert lehr.Cosine()(torch.tensor([0.5])).dtype == torch.float32
    assert lehr.Cosine()(np.array([0.5], dtype=np.float32)).dtype == np.float32
    assert lehr.Linear()(torch.tensor([0, 1])).tolist() == [1.0, 0.0]


def test_tensors_keep_their_gradient() -> None:
    progress = torch.tensor(0.25, dtype=torch.float64, requires_grad=True)
    lehr.Polynomial(power=2)(progress).backward()  # type: ignore[no-untyped-call]
    assert progress.grad is not None
    assert close(float(progress.grad), -1.5)


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="progress must be a number; got nan"):
        Constant()(math.nan)
    with pytest.raises(TypeError, match=r"progress in torch.bfloat16 cannot tell places in a run apart; use float32"):
        Constant()(torch.ones(1, dtype=torch.bfloat16))
    assert Constant().__mul__("2") is NotImplemented  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="progress must be a number, a NumPy array or a torch tensor; got list"):
        Constant()([0.5])
