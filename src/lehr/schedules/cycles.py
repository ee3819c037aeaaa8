"""Curves that come back up: cyclical learning rates and warm restarts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from lehr._numbers import LARGEST, shown
from lehr.schedules import _check
from lehr.schedules._namespace import turns_at, whole
from lehr.schedules.schedule import Schedule


@dataclass(frozen=True, repr=False)
class Triangular(Schedule):
    """Straight up from `low` to 1 and straight down again, once a cycle (CLR "triangular").

        x = |2 cycles p - 2 floor(cycles p) - 1|;  f(p) = low + (1 - low) (1 - x)

    The optimizer's base rate is CLR's `max_lr`, and `low` is `base_lr / max_lr`. CLR's `step_size` is half a cycle in
    iterations: under a budget of `n` updates `cycles = n / (2 step_size)`, or, with units converted for you,
    `1 / budget.fraction(steps=2 * step_size)`. With no budget at hand, `Triangular()` under
    `Budget.every(steps=2 * step_size)` cycles without end.

    Args:
        cycles: cycles in the budget, above 0; whole numbers end at `low`, where accuracy peaks.
        low: factor at the start and end of each cycle, in [0, 1].

    Source: Smith, "Cyclical learning rates for training neural networks", WACV 2017 (arXiv 1506.01186), section 3.1.

    >>> [Triangular(cycles=2, low=0.5)(p) for p in (0.0, 0.25, 0.5, 0.625)]
    [0.5, 1.0, 0.5, 0.75]
    """

    cycles: float = 1.0
    low: float = 0.0

    def __post_init__(self) -> None:
        _check.each(self, _check.positive, "cycles")
        _check.each(self, _check.unit, "low")

    def factor_at(self, progress: Any, xp: Any) -> Any:
        turns = turns_at(progress, self.cycles, xp)
        x = xp.abs(2.0 * (turns - whole(turns, xp)) - 1.0)
        # where rounding puts the turn just below a whole number, x is an ulp above 1
        return self.low + (1.0 - self.low) * (1.0 - xp.clip(x, 0.0, 1.0))


@dataclass(frozen=True, repr=False)
class WarmRestarts(Schedule):
    """Cosine decay restarted at 1 again and again, each cycle `growth` times as long as the last (SGDR).

        f(p) = low + (1 - low) (1 + cos(pi T_cur / T_i)) / 2

    A whole number of cycles fills the budget exactly, so that the run ends at `low`. In the paper's terms, over `n`
    updates: with growth 1, `cycles = n / T_0`; else `cycles = log(1 + (growth - 1) n / T_0) / log(growth)`.

    Args:
        cycles: cycles in the budget, above 0.
        growth: length of a cycle over the one before (T_mult), at least 1.
        low: factor at the end of a cycle, in [0, 1].

    Source: Loshchilov and Hutter, "SGDR", ICLR 2017 (arXiv 1608.03983), equation 5.

    >>> [round(WarmRestarts(cycles=2, growth=3)(p), 3) for p in (0.0, 0.125, 0.25, 1.0)]
    [1.0, 0.5, 1.0, 1.0]
    """

    cycles: float = 4.0
    growth: float = 1.0
    low: float = 0.0

    def __post_init__(self) -> None:
        _check.each(self, _check.positive, "cycles", "growth")
        _check.each(self, _check.unit, "low")
        if self.growth < 1.0:
            raise ValueError(f"WarmRestarts: growth is T_mult and must be at least 1; got {shown(self.growth)}")
        if self.cycles * math.log(self.growth) > math.log(LARGEST):
            raise ValueError(
                f"WarmRestarts: with cycles={self.cycles} and growth={self.growth} the first cycle is less than 1e-30 "
                "of the budget; make either smaller"
            )

    def factor_at(self, progress: Any, xp: Any) -> Any:
        if self.growth == 1.0:
            turns = turns_at(progress, self.cycles, xp)
            within = turns - whole(turns, xp)
        else:
            # n cycles last (growth^n - 1) / (growth - 1) times as long as the first
            log, more = math.log(self.growth), self.growth - 1.0
            grown = turns_at(progress, math.expm1(self.cycles * log), xp)
            index = whole(xp.log1p(grown) / log, xp)
            within = (grown - xp.expm1(index * log)) / (more * xp.exp(index * log))
        wave = 0.5 * (1.0 + xp.cos(math.pi * xp.clip(within, 0.0, 1.0)))
        return self.low + (1.0 - self.low) * wave
