"""Whether training has blown up, from the training loss alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Final

from lehr.state.reading import Fields

START: Final = 0.03
"""Up to which share of the budget the loss counts as that of the start."""

FEWEST: Final = 8
"""Over how many updates the loss at the start is taken at least."""

MEMORY: Final = 0.0125
"""Over which share of the budget the loss is smoothed."""

SHORTEST: Final = 4.0
"""Over how many updates it is smoothed at least."""

RISE: Final = 0.5
"""By which share of the loss at the start it must have risen above that to count as blown up, noise apart."""

NOISE: Final = 4.0
"""How many standard errors of the smoothed loss are taken for noise."""

FALL: Final = 0.1
"""By which share of the loss at the start it must have fallen to count as fallen, noise apart."""

STUCK: Final = 0.97
"""Above which share of the loss at the start training has not begun."""


LARGEST: Final = 1e150
"""Losses beyond are as bad as infinite ones, and have no squares."""


@dataclass(frozen=True)
class Guard:
    """The training loss, smoothed, beside what it was at the start and at its best since weights were put back.

    Args:
        loss: the smoothed loss.
        start: what it was at the start.
        seen: how many losses were seen.
        variance: of the losses about the smoothed one.
        calm: what the variance was at the start.
        memory: over how many updates the loss is smoothed.
        best: the lowest smoothed loss.
        finite: whether the last loss was finite, and a square of it is.

    >>> guard = Guard()
    >>> for update in range(50):
    ...     guard = guard.see(2.0, update / 100)
    >>> guard.blown, guard.stuck
    (False, True)
    >>> guard.see(float("nan"), 0.5).blown
    True
    """

    loss: float = math.nan
    start: float = math.nan
    seen: int = 0
    variance: float = 0.0
    calm: float = 0.0
    memory: float = SHORTEST
    best: float = math.inf
    finite: bool = True

    @classmethod
    def read(cls, given: Any) -> Guard:
        """The guard whose `asdict` is given.

        Raises:
            ValueError: if it is anything else.
        """
        fields, far = Fields("the guard", given), (-LARGEST, LARGEST)
        return cls(
            fields.number_or(math.nan, "loss", *far), fields.number_or(math.nan, "start", *far), fields.whole("seen"),
            fields.number("variance", 0.0), fields.number("calm", 0.0), fields.number("memory", 1.0),
            fields.number_or(math.inf, "best", *far), fields.flag("finite"),
        )  # fmt: skip

    def see(self, loss: float, progress: float) -> Guard:
        """The guard after the loss of an update at that progress."""
        seen = self.seen + 1
        if not abs(loss) <= LARGEST:
            return replace(self, seen=seen, finite=False)
        smooth = loss if math.isnan(self.loss) else self.loss
        memory = max(SHORTEST, MEMORY * seen / progress) if progress > 0.0 else self.memory
        weight = max(1.0 / memory, 1.0 / seen)
        variance = self.variance + weight * ((loss - smooth) ** 2 - self.variance)
        smooth += weight * (loss - smooth)
        early = progress < START or seen <= FEWEST
        start, calm = (smooth, variance) if early else (self.start, self.calm)
        return Guard(smooth, start, seen, variance, calm, memory, min(self.best, smooth), finite=True)

    @property
    def blown(self) -> bool:
        """Whether the loss is not finite, far above that of the start, or back there after it had fallen."""
        if not self.finite or self.seen <= FEWEST:
            return not self.finite
        far, noise = abs(self.start), NOISE * self._error
        fallen = self.best < self.start - FALL * far - noise
        return self.loss > self.start + RISE * far + noise or (fallen and self.loss > self.start - (1.0 - STUCK) * far)

    @property
    def stuck(self) -> bool:
        """Whether the loss has hardly fallen since the start, and not by more than chance."""
        return self.loss >= self.start - min((1.0 - STUCK) * abs(self.start), 2.0 * self._error)

    @property
    def _error(self) -> float:
        """Of the smoothed loss, from the scatter at the start."""
        return math.sqrt(self.calm / self.memory)

    def forget(self) -> Guard:
        """The guard after weights were put back: the loss is that of the start until news come."""
        return replace(self, loss=self.start, best=math.inf, finite=True)
