"""Published rules that move the rate by losses along the step, as policies.

All of them start at the base rate. Those that look along the step do so on the same `Probe` as `LRTuner`, on a fresh
batch, where LQA and QLABGrad were published with the batch of the gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from lehr.policy import Moment, Policy
from lehr.tuning.parabola import Parabola, fit_parabola

EVERY: Final = 4
"""GeN probes after so many updates."""

CAP: Final = 5.0
"""LQA falls back to the base rate above so many times it."""

FARTHEST: Final = 1e30
"""Where steps without a minimum would soon leave the numbers."""


class GeN(Policy):
    """Follows the minimiser of a parabola through losses at -1, 0 and 1 steps.

        lr <- 0.9 lr + 0.1 clip(r*, 1/2, 2) lr (1 - progress),    every 4 updates

    Source: Xu et al. 2025 (GeN), horizon-aware, as in the authors' code; its condition on the fit's R^2 always holds
    with three points.

    >>> gen = GeN()
    >>> gen.factors(Moment(0.0, loss=1.0, loss_at=lambda r: (1.0 - r / 8.0) ** 2))
    1.1
    """

    needs = ("loss", "loss_at")

    def __init__(self) -> None:
        self.factor, self.updates = 1.0, 0

    def factors(self, moment: Moment) -> float:
        if moment.loss_at is not None:
            if self.updates % EVERY == 0:
                parabola = _parabola(moment.loss_at)
                if parabola.slope > 0.0 and parabola.curvature > 0.0:
                    best = min(max(parabola.minimiser, 0.5), 2.0)
                    self.factor *= 0.9 + 0.1 * best * max(0.0, 1.0 - moment.progress)
            self.updates += 1
        return self.factor

    def state_dict(self) -> dict[str, Any]:
        return dict(vars(self))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)

    def __repr__(self) -> str:
        return "GeN()"


class LQA(Policy):
    """The minimiser of a parabola through losses at -1, 0 and 1 steps, at every update.

        lr <- r* lr;    1.05 lr if that is not above zero, the base rate if it is above 5 times that

    Source: Zhu et al. 2020 (LQA), as in its package, without its slip of sign.

    >>> lqa = LQA()
    >>> round(lqa.factors(Moment(0.0, loss=1.0, loss_at=lambda r: (1.0 - r / 4.0) ** 2)), 9)
    4.0
    """

    needs = ("loss", "loss_at")

    def __init__(self) -> None:
        self.factor = 1.0

    def factors(self, moment: Moment) -> float:
        if moment.loss_at is not None:
            parabola = _parabola(moment.loss_at)
            best = self.factor * (parabola.slope / parabola.curvature if parabola.curvature else math.nan)
            if best > 0.0:
                self.factor = 1.0 if best > CAP else best
            else:
                self.factor = min(FARTHEST, 1.05 * self.factor)
        return self.factor

    def state_dict(self) -> dict[str, Any]:
        return dict(vars(self))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)

    def __repr__(self) -> str:
        return "LQA()"


class QLABGrad(Policy):
    """The minimiser of the parabola through the loss now, its slope, and the loss after the step.

        lr <- lr a / (2 (L(1) - L(0) + a))

    Source: Fu and Wu 2024 (QLABGrad); where the parabola has no minimum the rate stays.

    >>> class Along:
    ...     def __call__(self, factor): return (1.0 - factor / 4.0) ** 2
    ...     def slope(self): return 0.5
    >>> QLABGrad().factors(Moment(0.0, loss=1.0, loss_at=Along()))
    4.0
    """

    needs = ("loss", "loss_at")

    def __init__(self) -> None:
        self.factor = 1.0

    def factors(self, moment: Moment) -> float:
        loss_at: Any = moment.loss_at
        if loss_at is not None:
            slope = loss_at.slope()
            bend = 2.0 * (_loss(loss_at, 1.0) - _loss(loss_at, 0.0) + slope)
            if slope > 0.0 and bend > 0.0 and math.isfinite(self.factor * slope / bend):
                self.factor *= slope / bend
        return self.factor

    def state_dict(self) -> dict[str, Any]:
        return dict(vars(self))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)

    def __repr__(self) -> str:
        return "QLABGrad()"


def _parabola(loss_at: Callable[[float], float]) -> Parabola:
    steps = (-1.0, 0.0, 1.0)
    return fit_parabola(steps, [[_loss(loss_at, step) for step in steps]])


def _loss(loss_at: Any, step: float) -> float:
    """On one batch, as published, whatever the probe's own number."""
    return loss_at.losses(step, batches=1)[0] if hasattr(loss_at, "losses") else loss_at(step)  # type: ignore[no-any-return]
