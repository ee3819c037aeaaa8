"""What the tuner saw and did, to be read and drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

What = Literal["look", "climb", "stop", "hold", "raise", "put back"]


@dataclass(frozen=True)
class Decision:
    """One entry of a tuner's history.

    Args:
        progress: share of the budget spent.
        factor: of the base rates, at that moment.
        goal: the factor that was decided on.
        what: "look" is the line search before the first update; "climb" and "raise" go up,
            "stop" ends the climb, "hold" changes nothing, and "put back" returns to earlier weights at a lower rate.
        steps: the trial steps, as multiples of the update.
        losses: the mean loss after each.
        slope: a of the parabola through them.
        curvature: its b.
        minimiser: r*, the best trial step, of this probe alone.
        pooled: r* of the recent probes together.

    >>> Decision(0.1, 1.0, 3.0, "climb", (-1.0, 0.0, 1.0), (2.1, 2.0, 1.9), 0.1, 0.01, 10.0).what
    'climb'
    """

    progress: float
    factor: float
    goal: float
    what: What
    steps: tuple[float, ...] = ()
    losses: tuple[float, ...] = ()
    slope: float | None = None
    curvature: float | None = None
    minimiser: float | None = None
    pooled: float | None = None
