"""How far the first step can go: a line search over decades."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

RISEN: Final = 0.05
"""By which share of itself the loss must rise to count as risen; less may be rounding."""

DECADES: Final = 20
"""How far to look up or down."""


def first_edge(loss_at: Callable[[float], float]) -> float | None:
    """The smallest factor, to half a decade, after whose step the loss has clearly risen.

    Works at the very start of training, where the loss falls with any step that is not too long.

    Args:
        loss_at: factor -> loss after a trial step with that factor.

    Returns:
        The factor; None if any step at all breaks the loss, as where a gradient is not finite.

    Raises:
        ValueError: if the loss now is not finite, or no step changes it.

    >>> round(first_edge(lambda r: (1.0 - r / 50.0) ** 2))
    316
    """
    now = loss_at(0.0)
    if not math.isfinite(now):
        raise ValueError(f"loss_at(0.0) must be a finite number, the loss now; got {now!r}")

    def risen(factor: float) -> bool:
        return not loss_at(factor) < now + RISEN * abs(now)

    down = risen(1.0)
    factors = [10.0**k for k in (range(-1, -DECADES, -1) if down else range(1, DECADES))]
    turn = next((factor for factor in factors if risen(factor) != down), None)
    if turn is None and not down:
        raise ValueError(
            "no trial step changes the loss, however long: the optimizer's rate must be above 0, and loss_at must look "
            "along its step, after backward()"
        )
    if turn is None:
        return None
    edge = turn * 10.0 if down else turn
    between = edge / math.sqrt(10.0)
    return between if risen(between) else edge
