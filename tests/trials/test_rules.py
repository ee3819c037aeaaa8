"""The suggesters: what the published code answers on the same curves, laws, and refusals."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

import lehr

POINTS = (100, 85, 60, 40, 100, 97)

# what fastai 2.8.12's steep, valley, slide and minimum answer on `curve(0)` ... `curve(5)`
PUBLISHED: list[tuple[float, float, float, float]] = [
    (1.291550e-03, 1.830738e-04, 4.862602e-04, 5.462277e-03),
    (1.211528e-03, 8.254042e-04, 3.831187e-04, 4.641589e-03),
    (9.249147e-04, 9.249147e-04, 2.359833e-04, 7.318242e-03),
    (1.125336e-03, 1.701254e-03, 9.426685e-05, 1.000000e00),
    (3.430469e-03, 2.477076e-03, 4.862602e-04, 8.902151e-03),
    (1.365893e-03, 2.154435e-04, 4.987888e-04, 5.490139e-03),
]
RULES: tuple[Callable[..., float], ...] = (
    lehr.trials.steepest_rate, lehr.trials.valley_rate, lehr.trials.slide_rate, lehr.trials.minimum_rate,
)  # fmt: skip


ALL: tuple[Callable[..., object], ...] = (*RULES, lehr.trials.edge_rate, lehr.trials.clr_bounds)


def curve(index: int) -> tuple[list[float], list[float]]:
    """A fall and a blow-up, with or without noise; number 3 never rises, number 5 is negative."""
    n = POINTS[index]
    rates = [10 ** (-6 + 7 * k / (n - 1)) for k in range(n)]
    losses = []
    for k in range(n):
        x = k / (n - 1)
        loss = 2.3 - 1.5 / (1 + math.exp(-20 * (x - 0.45))) + (math.exp(25 * (x - 0.85)) if index != 3 else 0.0)
        loss += (0.05 if index in (1, 2, 4) else 0.0) * math.sin(12.9898 * k)
        losses.append(loss - 5.0 * (index == 5))
    return rates, losses


@pytest.mark.parametrize("index", range(6))
def test_the_published_code_answers_the_same(index: int) -> None:
    rates, losses = curve(index)
    for rule, published in zip(RULES, PUBLISHED[index], strict=True):
        assert rule(rates, losses) == pytest.approx(published, rel=1e-6), rule.__name__


@given(st.lists(st.floats(-10, 10), min_size=20, max_size=60))
def test_valley_is_the_plain_longest_decreasing_subsequence(losses: list[float]) -> None:
    """Against the quadratic algorithm, written out."""
    lengths = [1] * len(losses)
    for i in range(len(losses)):
        for j in range(i):
            if losses[i] < losses[j]:
                lengths[i] = max(lengths[i], lengths[j] + 1)
    longest = max(lengths)
    index = lengths.index(longest) - longest + int(longest / 3) + int(longest / 6)
    rates = [10.0**k for k in range(len(losses))]
    assert lehr.trials.valley_rate(rates, losses) == rates[max(0, index)]


@settings(max_examples=25)
@given(st.integers(0, 5), st.floats(-100, 100), st.sampled_from([0.01, 1.0, 50.0]))
def test_neither_shift_nor_scale_of_the_loss_matters(index: int, shift: float, scale: float) -> None:
    rates, losses = curve(index)
    moved = [scale * loss + shift for loss in losses]
    for rule in (lehr.trials.steepest_rate, lehr.trials.valley_rate, lehr.trials.minimum_rate):
        if rule is not lehr.trials.valley_rate or abs(shift) < 1:  # rounding may join values that were apart
            assert rule(rates, moved) == pytest.approx(rule(rates, losses), rel=0.3)
    if index != 3:
        assert lehr.trials.edge_rate(rates, moved) == pytest.approx(lehr.trials.edge_rate(rates, losses), rel=0.3)


def test_the_edge_is_where_the_loss_leaves_its_minimum() -> None:
    rates, losses = curve(0)
    edge = lehr.trials.edge_rate(rates, losses)
    lowest = rates[losses.index(min(losses))]
    blown = next(rate for rate, loss in zip(rates, losses, strict=True) if rate > lowest and loss > losses[0])
    assert lowest < edge < blown


def test_bounds_are_where_accuracy_rises_and_where_it_slows() -> None:
    rates = [0.0002 * k for k in range(1, 101)]
    scores = [0.1 if r < 0.002 else min(0.7, 0.1 + 0.6 * (r - 0.002) / 0.006) + 0.002 * math.sin(97 * k)
              for k, r in enumerate(rates)]  # fmt: skip
    low, high = lehr.trials.clr_bounds(rates, scores)
    assert low == pytest.approx(0.0026, rel=0.15)
    assert high == pytest.approx(0.0074, rel=0.15)


def test_bounds_stop_where_accuracy_turns_ragged() -> None:
    rates = [0.0002 * k for k in range(1, 101)]
    scores = [0.1 + 3.0 * k / 500 + (0.1 * math.sin(7.7 * k * k) if k > 50 else 0.001 * math.sin(7.7 * k * k))
              for k in range(100)]  # fmt: skip
    low, high = lehr.trials.clr_bounds(rates, scores)
    assert rates[40] < high < rates[65]
    assert low < high / 3 + 1e-9


def test_a_rise_from_the_first_point_takes_smiths_rule_of_thumb() -> None:
    rates = [0.001 * k for k in range(1, 51)]
    scores = [1.0 - math.exp(-k / 3.0) for k in range(50)]
    low, high = lehr.trials.clr_bounds(rates, scores)
    assert low <= high / 3 + 1e-9


@pytest.mark.parametrize(
    ("losses", "why"),
    [
        (
            [2.0 - 0.01 * k for k in range(8)],
            "came to 8 points before it stopped, and needs 10: lower low",
        ),
        ([2.0 - 0.01 * k for k in range(100)], "still falls at .* and never rises: raise high"),
        ([2.0 + 0.01 * k for k in range(100)], "never falls between .*: raise high if it is flat, lower low"),
        ([2.0 + 0.1 * math.sin(7.7 * k * k) for k in range(100)], "never falls"),
        ([2.0] * 100, "never falls"),
    ],
)
def test_what_cannot_be_answered_is_not(losses: list[float], why: str) -> None:
    rates = [10 ** (-4 + k / 25) for k in range(len(losses))]
    found = lehr.RangeTestResult(rates, losses)
    for ask in (found.steepest, found.valley, found.slide, found.minimum, found.edge):
        with pytest.raises(lehr.NoSuggestion, match=why):
            ask()
    assert set(found.suggestions().values()) == {None}
    with pytest.raises(lehr.NoSuggestion):
        lehr.trials.clr_bounds(rates, [2.0] * len(rates))
    assert "needs 10" in str(found) or "never" in str(found)


@settings(max_examples=25)
@given(st.sampled_from([0.1, 0.7, 2.302585, 1e-9, 1e9]), st.integers(10, 200))
def test_constants_answer_nothing(value: float, points: int) -> None:
    rates = [10 ** (-4 + k / 25) for k in range(points)]
    found = lehr.RangeTestResult(rates, [value] * points, metrics=[value] * points)
    assert set(found.suggestions().values()) == {None}
    with pytest.raises(lehr.NoSuggestion):
        found.bounds()


@settings(max_examples=25)
@example(64, "ends in nan", 0.1875)
@given(st.integers(0, 99), st.sampled_from(["blows up", "saturates", "ends in nan"]), st.floats(0.0, 0.2))
def test_suggestions_lie_between_the_first_rate_and_the_edge(seed: int, end: str, scatter: float) -> None:
    random, points = Random(seed), 120
    rates = [10 ** (-6 + 7 * k / points) for k in range(points)]
    losses = []
    for k in range(points):
        fall = 2.3 - 1.8 / (1 + math.exp(-0.15 * (k - 55)))
        rise = {"blows up": math.exp(0.5 * (k - 95)), "saturates": 1.8 / (1 + math.exp(-(k - 95))), "ends in nan": 0.0}
        losses.append(fall + rise[end] + random.gauss(0.0, scatter))
    if end == "ends in nan":
        losses[-1] = math.nan
    found = lehr.RangeTestResult(rates, losses, ending="not finite" if end == "ends in nan" else "high")
    edge = found.edge()
    assert rates[60] < edge <= rates[-2]
    for name, rate in found.suggestions().items():
        assert rate is None or rates[0] <= rate <= edge, name
    low, high = found.bounds()
    assert rates[0] <= low < high <= edge


def test_pure_noise_has_no_bounds() -> None:
    answered = 0
    for seed in range(100):
        generator = Random(seed)
        scores = [generator.gauss(0.5, 0.1) for _ in range(200)]
        try:
            lehr.trials.clr_bounds([10 ** (-4 + k / 40) for k in range(200)], scores)
        except lehr.NoSuggestion:
            continue
        answered += 1
    assert answered <= 2


def test_one_outlier_does_not_matter() -> None:
    rates, losses = curve(2)
    for place in (0, 20, 40):
        spoilt = [1e4 if k == place else loss for k, loss in enumerate(losses)]
        assert 0.5 < lehr.trials.edge_rate(rates, spoilt) / lehr.trials.edge_rate(rates, losses) < 2.0
        low, high = lehr.trials.clr_bounds(rates, [-loss for loss in losses])
        low_too, high_too = lehr.trials.clr_bounds(rates, [-loss for loss in spoilt])
        assert (low_too, high_too) == pytest.approx((low, high), rel=1.0)


@pytest.mark.parametrize(
    ("rates", "losses", "message"),
    [
        ([0.1 * k for k in range(1, 13)], [1.0] * 11, "12 rates, but 11 losses"),
        ([0.1 * k for k in range(12)], [1.0] * 12, "rates must rise, and be above 0"),
        ([0.1] * 12, [1.0] * 12, "rates must rise"),
        ([0.1 * k for k in range(1, 13)], [math.nan] * 12, "must be finite"),
        ([0.1 * k for k in range(1, 13)], [math.nan] + [1.0] * 11, "must be finite"),
        ([0.1 * k for k in range(1, 13)], [1.0] * 6 + [math.nan] + [1.0] * 5, "must be finite"),
        ([0.1 * k for k in range(1, 13)], [1.0] * 11 + [math.inf], "must be finite"),
        ([0.1 * k for k in range(12, 0, -1)], [1.0] * 12, "rates must rise"),
        ([0.1 * k for k in range(1, 12)] + [math.nan], [1.0] * 12, "rates must rise"),
        ([0.1 * k for k in range(1, 12)] + [math.inf], [1.0] * 12, "rates must rise"),
        ([-0.1, *(0.1 * k for k in range(1, 12))], [1.0] * 12, "be above 0"),
        ([0.0], [1.0], "be above 0"),
        ([math.nan], [1.0], "be above 0"),
        ([0.1 * k for k in range(1, 13)], [1.0] * 13, "12 rates, but 13 losses"),
        ([0.1], [], "1 rates, but 0 losses"),
        (["a"] * 12, [1.0] * 12, "rates must be a list of numbers"),
        ([0.1 * k for k in range(1, 13)], [None] * 12, "losses or scores must be a list of numbers"),
        (0.1, 1.0, "rates must be a list of numbers"),
        ("0.1", "1.0", "rates must be a list of numbers"),
    ],
)
def test_curves_that_are_none_are_refused(rates: list[float], losses: list[float], message: str) -> None:
    for rule in ALL:
        with pytest.raises(ValueError, match=message):
            rule(rates, losses)


@pytest.mark.parametrize("points", [0, 1])
def test_a_point_is_no_course(points: int) -> None:
    for rule in ALL:
        with pytest.raises(lehr.NoSuggestion, match=f"nothing to suggest from {points} points"):
            rule([0.1] * points, [1.0] * points)


def test_points_of_any_kind() -> None:
    rates, losses = curve(0)
    rows: tuple[Callable[[list[float]], Any], ...] = (
        np.array, tuple, lambda row: torch.tensor(row, dtype=torch.float64), lambda row: [Fraction(x) for x in row],
        lambda row: [torch.tensor(x, dtype=torch.float64) for x in row], lambda row: (x for x in row),
    )  # fmt: skip
    for rule in ALL:
        answer = rule(rates, [-loss for loss in losses] if rule is lehr.trials.clr_bounds else losses)
        for kind in rows:
            scores = [-loss for loss in losses] if rule is lehr.trials.clr_bounds else losses
            assert rule(kind(rates), kind(scores)) == answer


def test_losses_that_blow_up_beyond_all_bounds() -> None:
    rates, losses = curve(0)
    blown = [*losses[:-3], 1e150, 1e300, 1.7e308]
    assert lehr.trials.edge_rate(rates, blown) == pytest.approx(lehr.trials.edge_rate(rates, losses), rel=0.3)
    for rule in RULES:
        assert rates[0] / 10 <= rule(rates, blown) <= rates[-1]


def test_rates_next_to_each_other() -> None:
    rates = [1.9999999999999996, 1.9999999999999998, 2.0]
    assert lehr.trials.steepest_rate(rates, [2.0, 1.0, 1.0]) == rates[0]
    assert lehr.trials.steepest_rate([5e-324, 1.0, 1e308], [2.0, 1.9, 1.0]) == 1.0


@pytest.mark.parametrize(
    "wrong", [{"width": 0}, {"width": 1.5}, {"width": True}, {"threshold": math.nan}, {"threshold": -1}]
)
def test_slide_checks_its_numbers(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"slide_rate: {next(iter(wrong))} must be"):
        lehr.trials.slide_rate(*curve(0), **wrong)


def test_slide_needs_more_points_than_its_width() -> None:
    with pytest.raises(lehr.NoSuggestion, match="slide needs more than 15 points; this test has 12"):
        lehr.trials.slide_rate([10.0**k for k in range(12)], [1.0] * 12)
