"""How far the very first step could go: where the search for a rate begins."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from lehr.tuning.first_edge import ROUNDING, fallen

RISEN: Final = 0.05
"""By which share of itself the loss must rise to count as risen; less may be chance."""

STRIDE: Final = 8.0
"""The factor by which steps grow or shrink until the loss has risen."""

STRIDES: Final = 14
"""How often, at most."""

BACK: Final = 5
"""How many octaves below that to look for a step that does not raise the loss at all."""


def longest_step(loss_at: Callable[[float], float]) -> float | None:
    """The longest first step that does not raise the loss, to a factor of two; None if every step does.

    Where no step at all raises it, as where a linear model can tell all examples apart, the shortest after which it has
    fallen as far as it will.

    Args:
        loss_at: factor -> loss after a step of so many times the optimizer's own.

    Raises:
        ValueError: if no step changes the loss.

    >>> longest_step(lambda r: (1.0 - r / 50.0) ** 2)
    64.0
    >>> longest_step(lambda r: math.exp(-r / 50.0))
    512.0
    """
    now = loss_at(0.0)
    seen: dict[float, float] = {}

    def risen(factor: float) -> bool:
        seen[factor] = loss_at(factor)
        return not seen[factor] < now + RISEN * abs(now)

    down = risen(1.0)
    factor = 1.0
    for _ in range(STRIDES):
        further = factor / STRIDE if down else factor * STRIDE
        if risen(further) != down:
            high = factor if down else further
            break
        factor = further
    else:
        if down:
            return None
        if max(abs(loss - now) for loss in seen.values()) <= ROUNDING * abs(now):
            raise ValueError(f"no first step, however long, changes the loss from {now:.4g}")
        return fallen(seen, now) or min(seen, key=seen.__getitem__)
    for octave in range(1, BACK + 1):
        step = high / 2.0**octave
        if loss_at(step) <= now and math.isfinite(now):
            return step
    return high / 2.0 ** (BACK // 2 + 1)
