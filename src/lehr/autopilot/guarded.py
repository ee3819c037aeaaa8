"""A schedule with a guard, which has a run that breaks down go back to earlier weights at a lower rate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from lehr.policy import Decision, Moment, Policy, Recovery
from lehr.schedules import Schedule
from lehr.state.reading import Fields
from lehr.tuning.guard import Guard

BACK_OFF: Final = 4.0
"""By which factor the rate falls when weights are put back."""

KEEP: Final = 0.02
"""After which share of the budget to look again for weights to keep."""

CHECK: Final = 0.34
"""After which share of the budget a loss that has not fallen means that the rate is too high."""

MOST: Final = 1_000
"""No run falls as often."""


class Guarded(Policy):
    """Follows a schedule; if the loss breaks down, earlier weights are put back and the rate is divided by four.

    The loss has broken down when it is not finite, far above that of the start, or back there after it had fallen. A
    loss that has not fallen after a third of the budget counts as well, once. Weights of the lowest smoothed loss are
    kept, one copy of them.

    Args:
        schedule: to follow.

    >>> guarded = Guarded(Constant())
    >>> guarded.factors(Moment(0.0, loss=1.0)), guarded.recovery
    (1.0, 'keep')
    >>> guarded.factors(Moment(0.1, loss=float("nan"))), guarded.recovery
    (0.25, 'put back')
    """

    needs = ("loss",)

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self._level = 1.0
        self._guard = Guard()
        self._calm = math.inf
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
            self._see(float(moment.loss), moment.progress)
        return self._level * self.schedule(moment.progress)

    def _see(self, loss: float, progress: float) -> None:
        first = not self._guard.seen
        self._guard = self._guard.see(loss, progress)
        stuck = not self._checked and progress >= CHECK and self._guard.stuck
        self._checked = self._checked or progress >= CHECK
        if self._guard.blown or stuck:
            self._fall(progress)
        elif first or (progress >= self._due and self._guard.loss < self._calm):
            self._recovery, self._due = "keep", progress + KEEP
            self._calm = math.inf if first else self._guard.loss

    def _fall(self, progress: float) -> None:
        before, self._level = self._level, self._level / BACK_OFF
        self._guard = self._guard.forget()
        self._recovery = "put back"
        self._history.append(Decision(progress, before, self._level, "put back"))

    def state_dict(self) -> dict[str, Any]:
        return {
            "level": self._level, "guard": asdict(self._guard), "calm": self._calm, "due": self._due,
            "checked": self._checked, "falls": [[one.progress, one.factor, one.goal] for one in self._history],
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        fields = Fields("the guard's state", state)
        falls = fields.any("falls")
        if not isinstance(falls, list | tuple) or len(falls) > MOST:
            raise fields.error("falls", f"a list of at most {MOST:,} falls", falls)
        history = [_decision(one) for one in falls]
        calm = math.inf if fields.any("calm") == math.inf else fields.number("calm")
        level, due, checked = fields.number("level", 0.0, 1.0), fields.number("due", 0.0), fields.flag("checked")
        self._guard = Guard.read(fields.any("guard"))
        self._level, self._calm, self._due, self._checked, self._history = level, calm, due, checked, history

    def __repr__(self) -> str:
        return f"Guarded({self.schedule!r})"


def _decision(given: Any) -> Decision:
    numbers = Fields("the guard's falls", {"fall": given}).numbers("fall", 3, 0.0)
    if len(numbers) != 3:
        raise ValueError(f"the guard's falls: each must be three numbers; got {len(numbers)}")
    progress, factor, goal = numbers
    return Decision(progress, factor, goal, "put back")
