"""What several probes say together, in units that do not depend on the rate at which each was made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from lehr.tuning.parabola import Parabola

KEEP: Final = 0.6
"""How much of the past each new probe leaves."""


@dataclass(frozen=True)
class Pool:
    """Parabolas of different learning rates, pooled with exponentially falling weights.

        G <- keep G + (1 - keep) a / lr,    K <- keep K + (1 - keep) b / lr^2

    A step is proportional to the rate, so slope / lr and curvature / lr^2 are what probes have in common.

    Args:
        slope: G.
        curvature: K.
        variance: of G.

    >>> pool = Pool().add(0.1, Parabola(slope=0.4, curvature=0.2, slope_error=0.01))
    >>> pool = pool.add(0.2, Parabola(slope=0.8, curvature=0.8, slope_error=0.01))
    >>> pool.at(0.1).minimiser, pool.falls(2.0)
    (2.0, True)
    """

    slope: float = 0.0
    curvature: float = 0.0
    variance: float = 0.0

    def add(self, lr: float, parabola: Parabola) -> Pool:
        """The pool with what was seen at that rate."""
        new = 1.0 - KEEP
        return Pool(
            KEEP * self.slope + new * parabola.slope / lr,
            KEEP * self.curvature + new * parabola.curvature / lr**2,
            KEEP**2 * self.variance + (new * parabola.slope_error / lr) ** 2,
        )

    def falls(self, errors: float) -> bool:
        """Whether the loss falls along the steps, by more than so many standard errors."""
        return self.slope > errors * math.sqrt(self.variance)

    def at(self, lr: float) -> Parabola:
        """What all of them say about the step at that rate: r* = (G / K) / lr."""
        return Parabola(self.slope * lr, self.curvature * lr**2, math.sqrt(self.variance) * lr)
