"""QLABGrad: the minimiser of a parabola from one slope and two losses, at every update."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lehr.policy import Moment, Policy


class QLABGrad(Policy):
    """The minimiser of the parabola through the loss now, its slope, and the loss after the step, from the base rate.

        lr <- lr a / (2 (L(1) - L(0) + a))

    Looks at one fresh batch, where it was published with the batch of the gradient.

    Source: Fu and Wu 2024 (QLABGrad); where the parabola has no minimum the rate stays.

    >>> round(QLABGrad().factors(Moment(0.0, loss=1.0, loss_at=lambda r: (1.0 - r / 4.0) ** 2)), 6)
    4.0
    """

    needs = ("loss", "loss_at")

    def __init__(self) -> None:
        self.factor = 1.0

    def factors(self, moment: Moment) -> float:
        look = moment.look
        if look is not None:
            slope = look.slope()
            bend = 2.0 * (look.losses(1.0, 1)[0] - look.losses(0.0, 1)[0] + slope)
            if slope > 0.0 and bend > 0.0 and math.isfinite(self.factor * slope / bend):
                self.factor *= slope / bend
        return self.factor

    def state_dict(self) -> dict[str, Any]:
        return {"factor": self.factor}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.factor = float(state["factor"])

    def __repr__(self) -> str:
        return "QLABGrad()"
