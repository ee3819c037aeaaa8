"""GeN: a rate that follows the minimiser of a parabola along the step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lehr.policy import Moment, Policy
from lehr.tuning.parabola import parabola_along

EVERY: Final = 4
"""After how many updates to look."""


class GeN(Policy):
    """Follows the minimiser of a parabola through losses at -1, 0 and 1 steps, from the base rate.

        lr <- 0.9 lr + 0.1 clip(r*, 1/2, 2) lr (1 - progress),    every 4 updates

    Looks at one fresh batch.

    Source: Xu et al. 2025 (GeN), horizon-aware, as in the authors' code; its condition on the fit's R^2 always holds
    with three points.

    >>> gen = GeN()
    >>> gen.factors(Moment(0.0, loss=1.0, loss_at=lambda r: (1.0 - r / 8.0) ** 2))
    1.1
    """

    needs = ("loss", "loss_at")

    def __init__(self) -> None:
        self.factor, self.updates = 1.0, 0

    def wants_look(self, progress: float) -> bool:
        return self.updates % EVERY == 0

    def factors(self, moment: Moment) -> float:
        look = moment.look
        if look is not None and self.updates % EVERY == 0:
            parabola = parabola_along(look)
            if parabola.slope > 0.0 and parabola.curvature > 0.0:
                best = min(max(parabola.minimiser, 0.5), 2.0)
                self.factor *= 0.9 + 0.1 * best * max(0.0, 1.0 - moment.progress)
        self.updates += moment.loss is not None
        return self.factor

    def state_dict(self) -> dict[str, Any]:
        return {"factor": self.factor, "updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.factor, self.updates = float(state["factor"]), int(state["updates"])

    def __repr__(self) -> str:
        return "GeN()"
