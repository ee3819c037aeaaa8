"""A noisy curve over learning rates: its smooth course, its slope and its noise."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

REACH = 3.0
"""How many widths the kernel reaches to either side."""


def smoothed(values: Sequence[float], width: float | None = None) -> list[float]:
    """The values averaged with their neighbours by a Gaussian kernel.

    It looks to both sides alike, so unlike a running average it does not lag behind.

    Args:
        values: the curve, evenly spaced.
        width: standard deviation of the kernel in points; a fiftieth of the points if not given.
    """
    width = len(values) / 50.0 if width is None else width
    if width < 0.2:
        return list(values)
    reach = math.ceil(REACH * width)
    kernel = [math.exp(-0.5 * (k / width) ** 2) for k in range(reach + 1)]
    out = []
    for i in range(len(values)):
        k = min(reach, i, len(values) - 1 - i)  # even at the ends, where a one-sided mean would bend the curve
        window = values[i - k : i + k + 1]
        weights = [*kernel[k:0:-1], *kernel[: k + 1]]
        out.append(sum(map(float.__mul__, map(float, window), weights)) / sum(weights))
    return out


def slope(values: Sequence[float]) -> list[float]:
    """Central differences, one-sided at the ends."""
    last = len(values) - 1
    between = [(max(i - 1, 0), min(i + 1, last)) for i in range(last + 1)]
    return [(values[j] - values[i]) / (j - i) for i, j in between]


def noise(values: Sequence[float]) -> float:
    """Standard deviation of the values around their course, from the median of second differences, so robustly."""
    seconds = [abs(values[i - 1] - 2.0 * values[i] + values[i + 1]) for i in range(1, len(values) - 1)]
    return statistics.median(seconds) / 0.6745 / math.sqrt(6.0) if seconds else 0.0


def noise_left(values: Sequence[float]) -> float:
    """Standard deviation that is left of the noise in `smoothed(values)`."""
    width = len(values) / 50.0
    return noise(values) / math.sqrt(max(1.0, 2.0 * math.sqrt(math.pi) * width))
