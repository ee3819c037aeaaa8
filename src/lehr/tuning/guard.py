"""Whether training has blown up, from the training loss alone."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Final

START: Final = 0.03
"""Up to which share of the budget the loss counts as that of the start."""

MEMORY: Final = 0.0125
"""Over which share of the budget the loss is smoothed."""

SHORTEST: Final = 4.0
"""Over how many updates it is smoothed at least."""

RISE: Final = 0.5
"""By which share of the loss at the start it must have risen above that to count as blown up."""

STUCK: Final = 0.97
"""Above which share of the loss at the start training has not begun."""


@dataclass
class Guard:
    """The training loss, smoothed, beside what it was at the start and at its best.

    >>> guard = Guard()
    >>> for update in range(50):
    ...     guard.see(2.0, update / 100)
    >>> guard.blown, guard.stuck
    (False, True)
    >>> guard.see(float("nan"), 0.5)
    >>> guard.blown
    True
    """

    loss: float = math.nan
    start: float = math.nan
    seen: int = 0
    finite: bool = True

    def see(self, loss: float, progress: float) -> None:
        """Note the loss of an update at that progress."""
        self.finite = math.isfinite(loss)
        self.seen += 1
        if not self.finite:
            return
        if math.isnan(self.loss):
            self.loss = loss
        total = self.seen / progress if progress > 0.0 else math.inf
        memory = max(SHORTEST, MEMORY * total) if math.isfinite(total) else math.inf
        self.loss += max(1.0 / memory, 1.0 / self.seen) * (loss - self.loss)
        if progress < START or math.isnan(self.start):
            self.start = self.loss

    @property
    def blown(self) -> bool:
        """Whether the loss is not finite, or far above that of the start."""
        return not self.finite or self.loss > self.start + RISE * abs(self.start)

    @property
    def stuck(self) -> bool:
        """Whether the loss has hardly fallen since the start."""
        return self.loss > self.start - (1.0 - STUCK) * abs(self.start)

    def forget(self) -> None:
        """Weights were put back: the loss is that of the start until news come."""
        self.loss, self.finite = self.start, True

    def state_dict(self) -> dict[str, Any]:
        """What to remember."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from it."""
        vars(self).update(state)
