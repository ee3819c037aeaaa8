"""A schedule with a guard, which has a run that breaks down go back to earlier weights at a lower rate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Final

from lehr.policy import Decision, Moment, Policy, Recovery
from lehr.schedules import Schedule
from lehr.state.reading import Fields, shown

BACK_OFF: Final = 4.0
"""By which factor the rate falls when weights are put back."""

SEEN: Final = 25
"""Of how many losses the median is watched, since a loss with heavy tails leaps without breaking down."""

BACK, RISEN = 0.5, 0.1
"""Which share of what it had fallen by, and of the first loss, the median must come back up to have broken down."""

KEEP: Final = 0.02
"""After which share of the budget to look again for weights to keep."""

CHECK: Final = 0.34
"""After which share of the budget a loss that has not fallen at all means that the rate is too high."""

EVERY: Final = 8
"""Losses that are looked at together, since each look waits for the device."""

LATE: Final = 0.95
"""Share of the budget from which each is looked at, so that no run ends in a breakdown that nobody saw."""

MOST: Final = 1_000
"""No run falls as often."""


class Guarded(Policy):
    """Follows a schedule; if the loss breaks down, earlier weights are put back and the rate is divided by four.

    The loss has broken down when it is not finite; or when the median of the last 25 has come back up by half of what
    it had fallen by and a tenth of the first, and three quarters of the 25 lie above nearly all of those at the lowest
    median, since noise with heavy tails moves a median too. A median that has not fallen after a third of the budget
    counts as well, once. Weights at the lowest median are kept, one copy of them. Losses are looked at every eighth
    update, and at each near the end, so that the others need not wait for the device.

    Args:
        schedule: to follow.

    >>> guarded = Guarded(Constant())
    >>> guarded.factors(Moment(0.0, loss=1.0)), guarded.recovery
    (1.0, 'keep')
    >>> for update in range(1, 9):
    ...     factor = guarded.factors(Moment(update / 100, loss=float("nan")))
    >>> factor, guarded.recovery
    (0.25, 'put back')
    """

    needs = ("loss",)

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self._level = 1.0
        self._unseen: list[tuple[float, Any]] = []
        self._recent: tuple[float, ...] = ()
        self._start: float | None = None
        self._lowest = math.inf
        self._most = math.inf  # of nearly all losses at the lowest median
        self._kept = False
        self._due = 0.0
        self._checked = False
        self._recovery: Recovery | None = None
        self._history: list[Decision] = []

    @property
    def history(self) -> Sequence[Decision]:
        """Every fall, oldest first."""
        return self._history

    @property
    def recovers(self) -> bool:
        return True

    @property
    def recovery(self) -> Recovery | None:
        return self._recovery

    def factors(self, moment: Moment) -> float:
        self._recovery = None
        if moment.loss is not None:
            self._unseen.append((moment.progress, moment.loss + 0.0))  # a graph's loss is the same tensor each time
            if not self._kept or len(self._unseen) >= EVERY or moment.progress >= LATE:
                self._look()
        return self._level * self.schedule(moment.progress)

    def _look(self) -> None:
        """See the losses that came since the last look; those after a breakdown belong to weights that are given up."""
        unseen, self._unseen = self._unseen, []
        for progress, loss in unseen:
            self._see(float(loss), progress)
            if self._recovery == "put back":
                return

    def _see(self, loss: float, progress: float) -> None:
        if not math.isfinite(loss):
            self._fall(progress)
            return
        self._recent = (*self._recent[1 - SEEN :], loss)
        if not self._kept:
            self._kept, self._recovery = True, "keep"
        if len(self._recent) < SEEN:
            return
        now = median(self._recent)
        if self._start is None:  # what comes later is judged by it
            self._start = self._lowest = now
            self._most = _upper(self._recent)
            return
        far, check = abs(self._start), not self._checked and progress >= CHECK
        self._checked = self._checked or check
        lowest = min(self._lowest, self._start)
        high = now > lowest + BACK * (self._start - lowest) + RISEN * far
        broken = high and sorted(self._recent)[SEEN // 4] > self._most  # three quarters lie above nearly all of those
        if broken or (check and now >= self._start):
            self._fall(progress)
            return
        if now < self._lowest and progress >= self._due:
            self._recovery, self._due = "keep", progress + KEEP
        if now < self._lowest:
            self._lowest, self._most = now, _upper(self._recent)

    def _fall(self, progress: float) -> None:
        before, self._level = self._level, self._level / BACK_OFF
        self._recent = ()
        self._recovery = "put back"
        self._history.append(Decision(progress, before, self._level, "put back"))

    def state_dict(self) -> dict[str, Any]:
        losses = [(progress, float(loss)) for progress, loss in self._unseen]
        unseen = [[progress, loss if math.isfinite(loss) else math.nan] for progress, loss in losses]
        return {
            "level": self._level, "unseen": unseen, "recent": list(self._recent), "start": self._start,
            "lowest": self._lowest, "most": self._most, "kept": self._kept, "due": self._due, "checked": self._checked,
            "falls": [[one.progress, one.factor, one.goal] for one in self._history],
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        fields = Fields("the guard's state", state)
        falls = fields.any("falls")
        if not isinstance(falls, list | tuple) or len(falls) > MOST:
            raise fields.error("falls", f"a list of at most {MOST:,} falls", falls)
        history = [_decision(one) for one in falls]
        given = fields.any("unseen")
        if not isinstance(given, list | tuple) or len(given) >= EVERY:
            raise fields.error("unseen", f"a list of fewer than {EVERY} losses", given)
        unseen = [_unseen(one) for one in given]
        start = fields.number_or_none("start")
        lowest, most = (fields.number_or(math.inf, name) for name in ("lowest", "most"))
        recent, level = fields.numbers("recent", SEEN), fields.number("level", 0.0, 1.0)
        kept, due, checked = fields.flag("kept"), fields.number("due", 0.0), fields.flag("checked")
        self._level, self._recent, self._start, self._lowest = level, recent, start, lowest
        self._unseen, self._most = unseen, most
        self._kept, self._due, self._checked, self._history = kept, due, checked, history

    def __repr__(self) -> str:
        return f"Guarded({self.schedule!r})"


def _upper(losses: Sequence[float]) -> float:
    """What nearly all of them do not exceed: the third highest, since one or two may be leaps."""
    return sorted(losses)[-3]


def _unseen(given: Any) -> tuple[float, float]:
    if not isinstance(given, list | tuple) or len(given) != 2:
        raise ValueError(f"the guard's unseen losses: each must be its progress and itself; got {shown(given)}")
    fields = Fields("the guard's unseen losses", {"progress": given[0], "loss": given[1]})
    return fields.number("progress", 0.0), fields.number_or(math.nan, "loss")


def _decision(given: Any) -> Decision:
    numbers = Fields("the guard's falls", {"fall": given}).numbers("fall", 3, 0.0)
    if len(numbers) != 3:
        raise ValueError(f"the guard's falls: each must be three numbers; got {len(numbers)}")
    progress, factor, goal = numbers
    return Decision(progress, factor, goal, "put back")
