"""The formulas of the papers and of their authors' code, written down anew and compared at every update."""

import math

import pytest

import lehr

TOTAL = 400


def every(ours: lehr.Schedule, theirs, total: int = TOTAL, updates: int = TOTAL) -> None:
    gaps = [abs(ours(k / total) - theirs(k)) for k in range(updates)]
    assert max(gaps) < 1e-12


def test_budgeted_training() -> None:
    every(lehr.Linear(), lambda t: 1 - t / TOTAL)


def test_budgeted_training_step_decay() -> None:
    every(lehr.Steps(), lambda t: 0.1 ** ((t >= 0.3 * TOTAL) + (t >= 0.6 * TOTAL)))


def test_rex() -> None:
    every(lehr.Rex(), lambda t: (1 - t / TOTAL) / (0.5 + 0.5 * (1 - t / TOTAL)))


def test_rex_sampling_rate() -> None:
    """Updated every 5 % of the run only."""
    every(lehr.Rex().sampled(0.05), lambda t: lehr.Rex()(t // 20 * 20 / TOTAL))


def test_hyperbolic_tangent_decay() -> None:
    every(lehr.HyperbolicTangent(-6, 3), lambda t: 0.5 * (1 - math.tanh(-6 + 9 * t / TOTAL)))


def test_one_minus_sqrt_cooldown() -> None:
    every(lehr.OneMinusSqrt(), lambda t: 1 - math.sqrt(t / TOTAL))


def test_sgdr() -> None:
    every(lehr.WarmRestarts(cycles=5, low=0.1), lambda t: 0.1 + 0.45 * (1 + math.cos(math.pi * (t % 80) / 80)))


@pytest.mark.parametrize(("warmup", "explore"), [(0, 200), (40, 200), (100, 100)])
def test_knee(warmup: int, explore: int) -> None:
    def theirs(t: int) -> float:
        if t < warmup:
            return t / warmup
        if t <= warmup + explore:
            return 1.0
        return 1 - (t - warmup - explore) / (TOTAL - warmup - explore)

    every(lehr.knee(explore=explore / TOTAL, warmup=warmup / TOTAL), theirs)


def clr(t: int, step_size: int) -> tuple[float, int]:
    """Smith 2017: the height of the triangle, and the cycle's number from 1."""
    cycle = math.floor(1 + t / (2 * step_size))
    x = abs(t / step_size - 2 * cycle + 1)
    return max(0.0, 1 - x), cycle


@pytest.mark.parametrize("step_size", [20, 40, 50, 33])
class TestCyclical:
    """Smith 2017, section 3.1, with base_lr 0.2 and max_lr 1; for three budgets, since cycles go on."""

    low, gamma = 0.2, 0.995

    def test_triangular(self, step_size: int) -> None:
        ours = lehr.Triangular(TOTAL / (2 * step_size), self.low)
        every(ours, lambda t: self.low + 0.8 * clr(t, step_size)[0], updates=3 * TOTAL)

    def test_triangular2(self, step_size: int) -> None:
        ours = lehr.schedules.triangular2(TOTAL / (2 * step_size), self.low)

        def theirs(t: int) -> float:
            height, cycle = clr(t, step_size)
            return self.low + 0.8 * height / 2 ** (cycle - 1)

        every(ours, theirs, updates=3 * TOTAL)

    def test_exp_range_scales_both_bounds(self, step_size: int) -> None:
        ours = lehr.schedules.exp_range(TOTAL / (2 * step_size), self.low, self.gamma**TOTAL)

        def theirs(t: int) -> float:
            base, top = self.low * self.gamma**t, self.gamma**t
            return base + (top - base) * clr(t, step_size)[0]

        every(ours, theirs, updates=3 * TOTAL)

    def test_decay(self, step_size: int) -> None:
        ours = lehr.schedules.clr_decay(self.low, step_size / TOTAL)
        every(ours, lambda t: 1 - 0.8 * t / step_size if t < step_size else self.low)


def test_published_vectors_of_clr() -> None:
    """The values in the tests of the port that the seed document describes; step_size 100."""
    assert [lehr.Triangular(1)(t / 200) for t in (0, 50, 100, 200)] == [0, 0.5, 1, 0]
    assert [lehr.schedules.triangular2(1, 0)(t / 200) for t in (300, 500, 700)] == [0.5, 0.25, 0.125]
    wide = lehr.schedules.exp_range(1, low=0.1, end=0.95**200)
    assert 10 * wide(100 / 200) == pytest.approx(10 * 0.95**100)
    assert 10 * wide(200 / 200) == pytest.approx(0.95**200)


def test_freezeout_is_a_tuple_of_schedules() -> None:
    """Brock et al. 2017: layer i anneals by a cosine to zero at r_i, its rate scaled by 1 / r_i."""
    ends = [(0.8 + 0.2 * i / 9) ** 3 for i in range(10)]
    for r in ends:
        ours = lehr.Cosine().until(r) * (1 / r)
        every(ours, lambda j, r=r: 0.5 * (1 + math.cos(math.pi * min(1.0, j / (r * TOTAL)))) / r)
