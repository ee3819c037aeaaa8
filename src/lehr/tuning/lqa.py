"""LQA: the minimiser of a parabola along the step, at every update."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from lehr.policy import Moment, Policy
from lehr.tuning.parabola import parabola_along

CAP: Final = 5.0
"""Above so many times the base rate it falls back to that."""

FARTHEST: Final = 1e30
"""Where steps without a minimum would soon leave the numbers."""


class LQA(Policy):
    """The minimiser of a parabola through losses at -1, 0 and 1 steps, at every update, from the base rate.

        lr <- r* lr;    1.05 lr if that is not above zero, the base rate if it is above 5 times that

    Looks at one fresh batch, where it was published with the batch of the gradient.

    Source: Zhu et al. 2020 (LQA), as in its package, without its slip of sign.

    >>> lqa = LQA()
    >>> round(lqa.factors(Moment(0.0, loss=1.0, loss_at=lambda r: (1.0 - r / 4.0) ** 2)), 9)
    4.0
    """

    needs = ("loss", "loss_at")

    def __init__(self) -> None:
        self.factor = 1.0

    def factors(self, moment: Moment) -> float:
        look = moment.look
        if look is not None:
            parabola = parabola_along(look)
            best = self.factor * (parabola.slope / parabola.curvature if parabola.curvature else math.nan)
            if best > 0.0:
                self.factor = 1.0 if best > CAP else best
            else:
                self.factor = min(FARTHEST, 1.05 * self.factor)
        return self.factor

    def state_dict(self) -> dict[str, Any]:
        return {"factor": self.factor}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.factor = float(state["factor"])

    def __repr__(self) -> str:
        return "LQA()"
