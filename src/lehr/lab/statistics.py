"""What can be said from a few runs, and how surely. The tests are scipy's."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from lehr.lab.reader import Count, Positive, Share

LEVEL: Final = 0.05

MOST_PAIRS: Final = 10_000
"""Beyond which no number of seeds changes the power in a way that shows, and none is asked for."""


@dataclass(frozen=True)
class Summary:
    """One method's results.

    Args:
        n: how many.
        mean: their mean.
        sd: their standard deviation (n - 1); None for a single one.
        low: lower end of the 95 % confidence interval of the mean (Student's t); None for a single one.
        high: its upper end.

    >>> summarise([1.0, 2.0, 3.0]).n, summarise([1.0])
    (3, Summary(n=1, mean=1.0, sd=None, low=None, high=None))
    """

    n: Count
    mean: float
    sd: Positive | None = None
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if (self.sd is None) != (self.low is None) or (self.sd is None) != (self.high is None):
            raise ValueError("Summary: sd, low and high come together")


@dataclass(frozen=True)
class Pairing:
    """One method against the best, seed by seed.

    Args:
        n: how many pairs.
        difference: mean of (best - other), in the direction in which more is better.
        low: lower end of the 95 % confidence interval of the difference; None for a single pair.
        high: its upper end.
        p: two-sided p-value of the paired t-test, corrected for the number of comparisons (Holm); None for one pair.
        tied: whether the difference may well be chance: p is at least 0.05 or not to be had.

    >>> compare({"a": {0: 5.0}, "b": {0: 1.0}}, "a", higher_is_better=True)["b"]
    Pairing(n=1, difference=4.0, low=None, high=None, p=None, tied=True)
    """

    n: Count
    difference: float
    low: float | None
    high: float | None
    p: Share | None
    tied: bool

    def __post_init__(self) -> None:
        if (self.low is None) != (self.high is None):
            raise ValueError("Pairing: low and high come together")


def summarise(values: Sequence[float]) -> Summary:
    """Mean, standard deviation and confidence interval of at least one value.

    >>> summary = summarise([1.0, 2.0, 3.0])
    >>> summary.mean, summary.sd, round(summary.high, 3)
    (2.0, 1.0, 4.484)
    """
    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return Summary(n, mean)
    sd = float(np.std(values, ddof=1))
    from scipy import stats  # takes a second to import

    reach = float(stats.t.ppf(0.975, n - 1)) * sd / math.sqrt(n)
    return Summary(n, mean, sd, mean - reach, mean + reach)


def compare(results: Mapping[str, Mapping[int, float]], best: str, *, higher_is_better: bool) -> dict[str, Pairing]:
    """Every other method against the best one, over the seeds that both finished.

    Args:
        results: method -> seed -> result.
        best: the method to compare with.
        higher_is_better: the direction of the results.

    >>> found = compare({"a": {0: 5.0, 1: 6.0, 2: 7.0}, "b": {0: 1.0, 1: 2.1, 2: 3.0}}, "a", higher_is_better=True)["b"]
    >>> round(found.difference, 2), found.tied
    (3.97, False)
    """
    pairings: dict[str, tuple[int, float, float | None, float | None, float | None]] = {}
    for other, values in results.items():
        seeds = sorted(set(values) & set(results[best]))
        if other == best or not seeds:
            continue
        sign = 1.0 if higher_is_better else -1.0
        gaps = [sign * (results[best][seed] - values[seed]) for seed in seeds]
        pairings[other] = (len(seeds), float(np.mean(gaps)), *paired_test(gaps))
    corrected = holm({other: p for other, (*_, p) in pairings.items() if p is not None})
    return {
        other: Pairing(n, gap, low, high, corrected.get(other), corrected.get(other, 1.0) >= LEVEL)
        for other, (n, gap, low, high, _) in pairings.items()
    }


def smallest_gap(sd: float, n: int, power: float = 0.8) -> float:
    """The gap of which a paired t-test at 0.05 would notice that share: smaller ones are likely to pass for ties.

    Solves P(T > t(0.975, n - 1)) = power for the noncentral t-distribution of n - 1 degrees of freedom; that the test
    notices the gap in the wrong direction is left out.

    Args:
        sd: the standard deviation of the differences, at least 0.
        n: the number of pairs, at least 2.
        power: the share of such comparisons in which the gap is noticed, above 0.05 and below 1.

    >>> round(smallest_gap(1.0, 3), 2), round(smallest_gap(1.0, 10), 2)
    (3.26, 1.0)
    """
    from scipy import optimize, stats

    critical = float(stats.t.ppf(0.975, n - 1))

    def lacking(shift: float) -> float:
        return float(stats.nct.sf(critical, n - 1, shift)) - power

    high = 1.0
    while lacking(high) < 0.0:
        high *= 2.0
    return float(optimize.brentq(lacking, 0.0, high)) * sd / math.sqrt(n)


def pairs_needed(sd: float, gap: float, power: float = 0.8) -> int | None:
    """How many pairs a paired t-test at 0.05 needs to notice the gap with that probability; None above 10,000.

    The smallest n for which `smallest_gap(sd, n, power)` is no larger than the gap.

    Args:
        sd: the standard deviation of the differences, at least 0.
        gap: to be noticed, above 0.
        power: the share of such comparisons in which it is, above 0.05 and below 1.

    >>> pairs_needed(1.0, 1.0), pairs_needed(1.0, 4.0), pairs_needed(1.0, 0.001)
    (10, 3, None)
    """
    if smallest_gap(sd, MOST_PAIRS, power) > gap:
        return None
    return bisect_left(range(MOST_PAIRS), -gap, lo=2, key=lambda n: -smallest_gap(sd, n, power))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """p-values corrected for testing several at once (Holm 1979): the smallest times their number, and so on down.

    >>> holm({"a": 0.01, "b": 0.04})
    {'a': 0.02, 'b': 0.04}
    """
    corrected: dict[str, float] = {}
    largest = 0.0
    for rank, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, p * (len(p_values) - rank)))
        corrected[name] = largest
    return corrected


def paired_test(gaps: Sequence[float]) -> tuple[float | None, float | None, float | None]:
    """Confidence interval and p-value of the mean gap (paired t-test).

    Gaps that are all the same have no spread for a t-test; there the p-value is that of flipping signs, 2^(1 - n).
    """
    if len(gaps) < 2:
        return None, None, None
    if float(np.ptp(gaps)) <= 1e-9 * float(np.max(np.abs(gaps))):
        return None, None, 2.0 ** (1 - len(gaps)) if any(gaps) else 1.0
    from scipy import stats

    test = stats.ttest_1samp(gaps, 0.0)
    interval = test.confidence_interval(0.95)
    return float(interval.low), float(interval.high), float(test.pvalue)
