"""The rule: from what probes saw to where the rate should go."""

from __future__ import annotations

from typing import Final

from lehr.policy.decision import What
from lehr.tuning.parabola import Parabola
from lehr.tuning.pool import Pool

BELOW: Final = 1_000.0
"""How far below the edge of the first step to start."""

BELOW_LATE: Final = 30.0
"""How far, where little time is left to climb."""

CLIMBING, HOLDING = 0.02, 0.04
"""After which share of the budget to probe again."""

STOP, MOST = 2.0, 3.0
"""The climb goes on while r* is above STOP, by a factor of at most MOST."""

RAISE, MOST_LATER = 0.8, 2.0
"""After it, the rate is raised while the pooled r* is above RAISE, by a factor of at most MOST_LATER."""

ERRORS: Final = 2.0
"""How many standard errors a slope must be above zero to be believed."""


def climb(level: float, parabola: Parabola) -> tuple[What, float]:
    """One probe decides: far below the best rate slopes are clear, or the loss runs straight, uphill by chance.

    >>> climb(0.1, Parabola(slope=4.0, curvature=1.0, slope_error=0.1))
    ('climb', 0.2)
    >>> climb(0.1, Parabola(slope=1.0, curvature=1.0, slope_error=0.1))
    ('stop', 0.1)
    """
    if parabola.straight:
        return "climb", level * MOST
    if parabola.slope > ERRORS * parabola.slope_error and parabola.minimiser > STOP:
        return "climb", level * max(1.3, min(MOST, parabola.minimiser / STOP))
    return "stop", level


def follow(level: float, goal: float, pool: Pool) -> tuple[What, float]:
    """Several probes decide together: near the best rate, slopes drown in noise.

    >>> pool = Pool()
    >>> pool.add(0.1, Parabola(slope=1.2, curvature=1.0, slope_error=0.1))
    >>> what, goal = follow(0.1, 0.1, pool)
    >>> what, round(goal, 9)
    ('raise', 0.15)
    """
    best = pool.at(level).minimiser
    if pool.falls(ERRORS) and best > RAISE:
        return "raise", level * max(1.0, min(MOST_LATER, best / RAISE))
    return "hold", goal
