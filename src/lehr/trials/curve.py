"""A noisy loss over learning rates: its smooth course, and how sure that is."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

REACH: Final = 3.0
"""How many widths the kernel reaches to either side."""

ROUNDING: Final = 1e-7
"""Differences below this share of the values are taken for rounding."""


@dataclass(frozen=True)
class Course:
    """The smooth course of a loss.

    Args:
        values: the course.
        errors: standard deviation of each of its values.
        start: the level at the beginning, the median of the first tenth.
        start_error: its standard deviation.
    """

    values: list[float]
    errors: list[float]
    start: float
    start_error: float

    @property
    def bottom(self) -> int:
        """Where it is lowest."""
        return min(range(len(self.values)), key=self.values.__getitem__)

    def fell(self) -> bool:
        """Whether it has fallen by more than the noise explains, and after the beginning."""
        bottom = self.bottom
        sure = 4.0 * math.hypot(self.start_error, self.errors[bottom])
        return bottom >= len(self.values) // 10 and self.start - self.values[bottom] > sure

    def rises_at(self, after: int, least: float = 0.0) -> int | None:
        """The first place after `after` that is above its value there by more than the noise explains and `least`."""
        for i in range(after + 1, len(self.values)):
            sure = 4.0 * math.hypot(self.errors[i], self.errors[after])
            if self.values[i] - self.values[after] > max(least, sure):
                return i
        return None


def course(losses: Sequence[float]) -> Course:
    """The course of losses, most of it safe from single outliers and from a blow-up at the end.

    Args:
        losses: finite, evenly spaced.
    """
    tenth = max(1, len(losses) // 10)
    start = statistics.median(losses[:tenth])
    tamed = _median_of_five(losses)
    # a blow-up would leak to the left through the kernel
    ceiling = start + max(start - min(tamed), 6.0 * noise(tamed))
    tamed = [min(loss, ceiling) for loss in tamed]
    calm = max(10, tamed.index(min(tamed)) + 1)  # where it has not blown up yet
    spread = max(noise([min(loss, ceiling) for loss in losses[:calm]]), ROUNDING * max(map(abs, tamed)))
    weights = [_weights(i, len(losses)) for i in range(len(losses))]
    errors = [spread * math.sqrt(sum(w * w for w in row)) / sum(row) for row in weights]
    return Course(smoothed(tamed), errors, start, 1.25 * spread / math.sqrt(tenth))


def smoothed(values: Sequence[float]) -> list[float]:
    """The values averaged with their neighbours by a Gaussian kernel, a fiftieth of the points wide.

    It looks to both sides alike, so unlike a running average it does not lag behind.
    """
    out = []
    for i in range(len(values)):
        row = _weights(i, len(values))
        reach = len(row) // 2
        window = values[i - reach : i + reach + 1]
        out.append(sum(weight * float(value) for weight, value in zip(row, window, strict=True)) / sum(row))
    return out


def slope(values: Sequence[float]) -> list[float]:
    """Central differences, one-sided at the ends."""
    last = len(values) - 1
    between = [(max(i - 1, 0), min(i + 1, last)) for i in range(last + 1)]
    return [(values[j] - values[i]) / (j - i) for i, j in between]


def noise(values: Sequence[float]) -> float:
    """Standard deviation of the values around their course, from second differences without the largest twentieth.

    The larger of a robust estimate and the plain one: the robust one is 0 where most values are alike.
    """
    seconds = sorted(abs(values[i - 1] - 2.0 * values[i] + values[i + 1]) for i in range(1, len(values) - 1))
    if not seconds:
        return 0.0
    robust = statistics.median(seconds) / 0.6745
    kept = seconds[: len(seconds) - len(seconds) // 20]
    plain = math.sqrt(statistics.fmean(second * second for second in kept))
    return max(robust, plain) / math.sqrt(6.0)


def _weights(i: int, n: int) -> list[float]:
    """The kernel at point i of n: even at the ends, where a one-sided mean would bend the curve."""
    width = n / 50.0
    reach = 0 if width < 0.2 else min(math.ceil(REACH * width), i, n - 1 - i)
    return [math.exp(-0.5 * (k / width) ** 2) for k in range(-reach, reach + 1)]


def _median_of_five(values: Sequence[float]) -> list[float]:
    n = len(values)
    reach = [min(2, i, n - 1 - i) for i in range(n)]
    return [statistics.median(values[i - k : i + k + 1]) for i, k in enumerate(reach)]
