"""What a range test suggests: published rules and two of our own, as pure functions of rates and losses."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable
from itertools import pairwise
from typing import Final

from lehr._numbers import floats, plain, shown
from lehr.trials.curve import Course, course, noise, slope

Numbers = Iterable[float]
"""A list, a tuple, an array, a tensor, ... of numbers."""

FEWEST: Final = 10
"""Points below which nothing is suggested."""

HIGHEST: Final = 1e100
"""Losses beyond this in size are taken for this much, so that their squares and sums stay finite."""


class NoSuggestion(ValueError):  # noqa: N818 - it is an answer as much as an error
    """The test does not show what was asked for; the message says why, and what to change.

    >>> RangeTestResult([0.01, 0.1], [2.0, 1.0]).valley()
    Traceback (most recent call last):
    lehr.trials.rules.NoSuggestion: the test came to 2 points before it stopped, and needs 10: lower low or add steps
    """


def steepest_rate(rates: Numbers, losses: Numbers) -> float:
    """The rate at which the loss falls fastest per factor of rate.

        argmin_i (L_{i+1} - L_i) / (ln lr_{i+1} - ln lr_i)

    Fails where noise is steeper than the fall: smooth the losses first. Often too low by 3 to 10 times.

    Args:
        rates: learning rates, rising, above 0.
        losses: as many losses, finite.

    Raises:
        NoSuggestion: if there are fewer than two points.
        ValueError: if the rates do not rise, or a number is not finite.

    Source: fastai's `steep`; the idea is Gugger's, "How do you find a good learning rate", 2018.

    >>> steepest_rate([0.001, 0.01, 0.1, 1.0], [2.0, 1.9, 1.0, 0.9])
    0.01
    """
    rates, losses = check_points(rates, losses)
    slopes = [
        # the same as of the quotient, which may be 1 to the last digit, or beyond what a float holds
        (y2 - y1) / math.log1p((r2 - r1) / r1)
        for (r1, r2), (y1, y2) in zip(pairwise(rates), pairwise(losses), strict=True)
    ]
    return rates[min(range(len(slopes)), key=slopes.__getitem__)]


def valley_rate(rates: Numbers, losses: Numbers) -> float:
    """The rate half-way down the longest fall: at a half of the longest strictly decreasing subsequence.

    The index is `end - n + int(n / 3) + int(n / 6)` for a subsequence of n points that ends at `end`, which counts
    points of the subsequence as if none had been skipped; with much noise the rate comes out too high. Where the
    published index would be -1, it is 0 here.

    Args:
        rates: learning rates, rising, above 0.
        losses: as many losses, finite.

    Raises:
        NoSuggestion: if there are fewer than two points.
        ValueError: if the rates do not rise, or a number is not finite.

    Source: fastai's `valley`, its default, by ESRI.

    >>> valley_rate([0.001, 0.01, 0.1, 1.0, 10.0, 100.0], [2.0, 2.9, 2.0, 1.0, 0.5, 5.0])
    0.01
    """
    rates, losses = check_points(rates, losses)
    tails: list[float] = []  # of -loss, the smallest last value of an increasing subsequence of each length
    lengths = []
    for loss in losses:
        place = bisect_left(tails, -loss)
        tails[place : place + 1] = [-loss]
        lengths.append(place + 1)
    longest = max(lengths)
    third = longest / 3
    index = lengths.index(longest) - longest + int(third) + int(third / 2)
    return rates[max(0, index)]


def slide_rate(rates: Numbers, losses: Numbers, width: int = 15, threshold: float = 0.005) -> float:
    """The rate left of the last place where the slope changes within an interval that slides in from the right.

    The interval's two ends move left together while their slopes differ by more than `threshold`; the answer is where
    the left end was then. The threshold is absolute, so it depends on the scale of the loss and on the number of
    points: with a loss that barely changes it stops at once, near the highest rate.

    Args:
        rates: learning rates, rising, above 0.
        losses: as many losses, finite, more than `width`.
        width: of the interval, in points, at least 1.
        threshold: largest difference of slopes, in loss a point, at which to stop; at least 0.

    Raises:
        NoSuggestion: if there are not more points than `width`.
        ValueError: if the rates do not rise, or a number is out of its range.

    Source: fastai's `slide`, after Chernoded's "interval slide rule".

    >>> rates = [10.0**k for k in range(-20, 20)]
    >>> losses = [3.0] * 10 + [3.0 - 0.1 * k for k in range(20)] + [1.0 + k for k in range(10)]
    >>> slide_rate(rates, losses)
    1e-05
    """
    span, limit = plain(width), plain(threshold)
    if span is None or not 1 <= span < math.inf or span % 1:
        raise ValueError(f"slide_rate: width must be a whole number of points, at least 1; got {shown(width)}")
    if limit is None or not limit >= 0.0:
        raise ValueError(f"slide_rate: threshold must be a number, at least 0; got {shown(threshold)}")
    rates, losses = check_points(rates, losses)
    span = int(span)
    if len(losses) <= span:
        raise NoSuggestion(f"slide needs more than {span} points; this test has {len(losses)}: give it more steps")
    slopes = slope(losses)
    right, left = len(losses) - 1, len(losses) - 1 - span
    rate = rates[left]
    while left >= 0 and abs(slopes[right] - slopes[left]) > limit:
        rate = rates[left]
        right, left = right - 1, left - 1
    return rate


def minimum_rate(rates: Numbers, losses: Numbers) -> float:
    """A tenth of the rate with the lowest loss.

    Too low where the loss turns slowly, too high where one lucky batch made the minimum: smooth the losses first.

    Args:
        rates: learning rates, rising, above 0.
        losses: as many losses, finite.

    Raises:
        NoSuggestion: if there are fewer than two points.
        ValueError: if the rates do not rise, or a number is not finite.

    Source: fastai's `minimum`.

    >>> minimum_rate([0.01, 0.1, 1.0, 10.0], [2.0, 1.0, 0.5, 3.0])
    0.1
    """
    rates, losses = check_points(rates, losses)
    return rates[min(range(len(losses)), key=losses.__getitem__)] / 10


def edge_rate(rates: Numbers, losses: Numbers, *, rose: bool = False) -> float:
    """The largest rate that the model bore: the last before the update after which the loss had left its minimum.

    That is, after which its smooth course is above the minimum by a tenth of its fall and by more than the noise
    explains. A test dwells on each rate for a moment only, so training bears less for long, half of it or a quarter,
    and much less without warm-up.

    Args:
        rates: learning rates, rising, above 0.
        losses: as many losses, each from before the update at its rate.
        rose: whether it is known that the loss rose after the last one, as when it was not finite.

    Raises:
        NoSuggestion: if the loss never fell, or never rose.
        ValueError: if the rates do not rise, or a number is not finite.

    Source: ours.

    >>> rates = [10.0 ** (k / 10 - 3) for k in range(40)]
    >>> round(edge_rate(rates, [2.0 - 0.05 * k for k in range(30)] + [3.0 + k for k in range(10)]), 3)
    0.501
    """
    rates, losses = check_points(rates, losses)
    line = check_shape(rates, losses, rose=rose)
    bottom = line.bottom
    risen = line.rises_at(bottom, 0.1 * (line.start - line.values[bottom]))
    # the loss at an update tells of the one before it
    return rates[max(bottom - 1, (len(losses) if risen is None else risen) - 2, 0)]


def clr_bounds(rates: Numbers, scores: Numbers, *, rose: bool = False) -> tuple[float, float]:
    """Smith's bounds for cyclical learning rates: where accuracy starts to rise, and where it slows or turns ragged.

    Read off as: `base_lr` is the first rate from which on the smooth score stays above a tenth of its whole rise, and
    `max_lr` the first at which it has made nine tenths of it, or from which on, past the half of it, the scores scatter
    three times as much as before. Smith read them off by eye; his rule of thumb for the lower one, a third of the
    upper, is used where the test does not show the beginning of the rise.

    Args:
        rates: learning rates, rising, above 0.
        scores: as many accuracies, or losses with the sign turned: more is better.
        rose: whether it is known that the score fell after the last one, as when the loss was not finite.

    Raises:
        NoSuggestion: if there are too few points, or the score never rises, or rises to the very end.
        ValueError: if the rates do not rise, or a number is not finite.

    Source: Smith 2017 (arXiv 1506.01186), section 3.3; how to read them off is ours.

    >>> clr_bounds([k / 1000 for k in range(1, 31)], [0.1] * 3 + [0.1 + 0.05 * k for k in range(10)] + [0.55] * 17)
    (0.005, 0.013)
    """
    rates, scores = check_points(rates, scores)
    if len(rates) < FEWEST:
        raise NoSuggestion(f"there are {len(rates)} points, and bounds need at least {FEWEST}: add steps")
    line = course([-score for score in scores])
    if not line.fell():
        raise NoSuggestion("the score never rises, so there are no bounds: raise high, lower low, or add steps")
    gains = [line.start - value for value in line.values]
    top = line.bottom
    first = next(i for i in range(top, -1, -1) if i == 0 or gains[i - 1] < 0.1 * gains[top])
    half = next(i for i in range(first, top + 1) if gains[i] >= 0.5 * gains[top])
    last = next(i for i in range(half, top + 1) if gains[i] >= 0.9 * gains[top])
    # the score at an update tells of the one before it
    last = min(last, _ragged_from(scores, half, 0.05 * gains[top]), max(top - 1, 0))
    if last > 0.85 * len(rates) and not rose:
        raise NoSuggestion(f"the score still rises at {rates[-1]:g}, so there is no upper bound: raise high")
    if first < max(1, len(rates) // 10) or last <= first:  # the test does not show the beginning
        return max(rates[0], rates[last] / 3.0), rates[last]
    return rates[first], rates[last]


def check_shape(rates: list[float], losses: list[float], *, rose: bool = False) -> Course:
    """The course of losses that fall and then rise, without which no rule means anything.

    Args:
        rates: learning rates, rising.
        losses: as many losses.
        rose: whether it is known already that the loss rose in the end.

    Raises:
        NoSuggestion: if they do not.
    """
    if len(losses) < FEWEST:
        raise NoSuggestion(
            f"the test came to {len(losses)} points before it stopped, and needs {FEWEST}: lower low or add steps"
        )
    line = course(losses)
    if not line.fell():
        raise NoSuggestion(
            f"the loss never falls between {rates[0]:g} and {rates[-1]:g}: raise high if it is flat, lower low if it "
            "only rises, and add steps if it is noisy"
        )
    if not rose and line.rises_at(line.bottom) is None:
        raise NoSuggestion(f"the loss still falls at {rates[-1]:g} and never rises: raise high")
    return line


def check_points(rates: Numbers, values: Numbers) -> tuple[list[float], list[float]]:
    """Rates and losses or scores as plain numbers, if they are points of a range test.

    Raises:
        NoSuggestion: if there are fewer than two.
        ValueError: if there are not as many of one as of the other, the rates do not rise, or a number is not finite.
    """
    if (x := floats(rates)) is None:
        raise ValueError(f"rates must be a list of numbers; got {shown(rates)}")
    if (y := floats(values)) is None:
        raise ValueError(f"losses or scores must be a list of numbers; got {shown(values)}")
    if len(x) != len(y):
        raise ValueError(f"there are {len(x)} rates, but {len(y)} losses or scores")
    if not all(0.0 < rate < math.inf for rate in x) or not all(low < high for low, high in pairwise(x)):
        raise ValueError("rates must rise, and be above 0")
    if not all(-math.inf < value < math.inf for value in y):
        raise ValueError("losses and scores must be finite; leave out those that are not")
    if len(x) < 2:
        raise NoSuggestion(f"there is nothing to suggest from {len(x)} points: add steps")
    return x, [min(max(value, -HIGHEST), HIGHEST) for value in y]


def _ragged_from(scores: list[float], half: int, least: float) -> int:
    """The index past `half` from which on the scores scatter three times as much as before, and more than `least`."""
    window = max(5, len(scores) // 10)
    calm = noise(scores[: half + 1])
    for i in range(half + 1, len(scores) - window):
        if all(noise(scores[k : k + window]) > max(least, 3.0 * calm) for k in (i, i + window // 2)):
            return i
    return len(scores)
