"""How far the first step can go: a line search over decades."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

RISEN: Final = 0.05
"""By which share of itself the loss must rise to count as risen; less may be rounding."""

DECADES: Final = 12
"""How far to look up or down."""


def first_edge(loss_at: Callable[[float], float]) -> float:
    """The smallest factor, to half a decade, after whose step the loss has clearly risen.

    Works at the very start of training, where the loss falls with any step that is not too long.

    Args:
        loss_at: factor -> loss after a trial step with that factor.

    Raises:
        ValueError: if the loss now is not finite.

    >>> round(first_edge(lambda r: (1.0 - r / 50.0) ** 2))
    316
    """
    now = loss_at(0.0)
    if not math.isfinite(now):
        raise ValueError(f"loss_at(0.0) must be a finite number, the loss now; got {now!r}")

    def risen(factor: float) -> bool:
        return not loss_at(factor) < now + RISEN * abs(now)

    factor = 1.0
    if risen(factor):
        while factor > 10.0**-DECADES and risen(factor / 10.0):
            factor /= 10.0
    else:
        factor = 10.0
        while factor < 10.0**DECADES and not risen(factor):
            factor *= 10.0
    between = factor / math.sqrt(10.0)
    return between if risen(between) else factor
