"""How far the first step can go: a line search over decades."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

from lehr._numbers import shown

RISEN: Final = 0.05
"""By which share of itself the loss must rise to count as risen; less may be rounding."""

ROUNDING: Final = 1e-6
"""The share of itself by which a loss in single precision may differ for no reason."""

DECADES: Final = 20
"""How far to look up or down."""


def first_edge(loss_at: Callable[[float], float]) -> float | None:
    """The smallest factor, to half a decade, after whose step the loss has clearly risen.

    Works at the very start of training, where the loss falls with any step that is not too long. Where it rises after
    no step at all, the factor is the smallest, to a decade, after whose step it has fallen as far as it will.

    Args:
        loss_at: factor -> loss after a trial step with that factor.

    Returns:
        The factor; None if any step at all breaks the loss, as where a gradient is not finite.

    Raises:
        ValueError: if the loss now is not finite, or no step changes it.

    >>> round(first_edge(lambda r: (1.0 - r / 50.0) ** 2))
    316
    >>> round(first_edge(lambda r: math.exp(-r / 50.0)))
    1000
    """
    now = loss_at(0.0)
    if not math.isfinite(now):
        raise ValueError(f"loss_at(0.0) must be a finite number, the loss now; got {shown(now)}")
    least = RISEN * abs(now)

    def risen(loss: float) -> bool:
        return not loss < now + least

    seen = {1.0: loss_at(1.0)}
    down = risen(seen[1.0])
    for k in range(1, DECADES):
        factor = 10.0**-k if down else 10.0**k
        seen[factor] = loss_at(factor)
        if risen(seen[factor]) != down:
            edge = factor * 10.0 if down else factor
            between = edge / math.sqrt(10.0)
            return between if risen(loss_at(between)) else edge
    if down:
        return None
    found = fallen(seen, now)
    if found is None:
        raise ValueError(
            "no trial step changes the loss, however long: the optimizer's rate must be above 0, and loss_at must look "
            "along its step, after backward()"
        )
    return found


def fallen(seen: Mapping[float, float], now: float) -> float | None:
    """The shortest step after which the loss has fallen nearly as far as it will; None if no step changes it.

    As where a linear model can tell all examples apart: the loss only falls, and a step is long once it has fallen.

    Args:
        seen: factor -> loss after a step of so many times the update, from the shortest to the longest.
        now: the loss before.

    >>> fallen({1.0: 0.9, 10.0: 0.4, 100.0: 0.3, 1000.0: 0.3}, 1.0)
    100.0
    """
    lowest = min(seen.values())
    fall = now - lowest
    if fall <= ROUNDING * abs(now):
        return None
    return next(factor for factor, loss in seen.items() if loss <= lowest + RISEN * fall)
