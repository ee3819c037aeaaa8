"""What a policy may look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lehr.policy.look import Look, as_look


@dataclass(frozen=True, slots=True)
class Moment:
    """What a policy may look at.

    Args:
        progress: share of the budget spent, at least 0.
        loss: this update's training loss, averaged over ranks and without graph; None when only time has passed.
        loss_at: the loss along the step to come; a plain function from factor to loss becomes one. None when nobody
            handed one in.

    >>> Moment(progress=0.5).loss is None
    True
    >>> Moment(progress=0.0, loss=4.0, loss_at=lambda r: (2.0 - r) ** 2).look(2.0)
    0.0
    """

    progress: float
    loss: Any = None
    loss_at: Look | Callable[[float], float] | None = None

    @property
    def look(self) -> Look | None:
        """The loss along the step to come."""
        return as_look(self.loss_at)
