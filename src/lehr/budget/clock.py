"""The clock: how much of the budget is spent."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from typing import Any, Literal

from lehr._numbers import shown
from lehr.budget.budget import Budget
from lehr.budget.clock_state import FARTHEST, ClockState, progress_at
from lehr.budget.stopwatch import Stopwatch

Rebudgeting = Literal["continue", "jump"]


def _alone(elapsed: float) -> float:
    """Agreement where there is nobody to agree with."""
    return elapsed


class Clock:
    """How much of a budget is spent, and so how far the run has come.

        progress = p0 + (1 - p0) (spent - s0) / (total - s0)

    with p0 = s0 = 0 until the budget is changed with `how="continue"`; without an end, p0 + (spent - s0) / total.
    Steps and epochs count updates; samples and tokens add up what each update used; seconds follow `now` from the first
    update on (or from `start()`), except while `paused()`. What is spent never becomes less, whatever `now` does.

    Args:
        budget: what there is to spend.
        now: a clock in seconds; readings that are not a number are passed over, and infinite ones refused.
        agree: for seconds, turns this process's elapsed time into the one that all processes use.
        agree_every: after how many updates to ask `agree` again, at least 1; in between, the time stands still.

    >>> clock = Clock(Budget(steps=4))
    >>> clock.tick(); clock.progress, clock.remaining
    (0.25, 3)
    """

    def __init__(
        self,
        budget: Budget,
        now: Callable[[], float] = time.monotonic,
        agree: Callable[[float], float] = _alone,
        agree_every: int = 1,
    ) -> None:
        self.spent: float = 0
        self.updates = 0
        self._watch = Stopwatch(now)
        self._agree = agree
        self._agree_every = agree_every
        self._unasked = 0
        self._spent_at_turn: float = 0
        self._progress_at_turn = 0.0
        self._turned = False
        self._measure_by(budget)

    def _measure_by(self, budget: Budget) -> None:
        self.budget = budget
        self._total = budget.total
        self._each = budget.each
        self._seconds = budget.unit == "seconds"
        self.asks = self._each is None and not self._seconds

    @property
    def progress(self) -> float:
        """The share of the budget that is spent; above 1 once it is overspent."""
        return self.progress_at(self.spent) if self._turned else self.spent / self._total

    def progress_at(self, spent: float) -> float:
        """The progress that belongs to an amount spent."""
        if not self._turned:
            return spent / self._total
        return progress_at(spent, self.budget, self._spent_at_turn, self._progress_at_turn)

    @property
    def remaining(self) -> float:
        """What is left, in updates for steps and epochs, else in the budget's unit; infinite if endless."""
        return math.inf if self.budget.endless else max(0, self._total - self.spent)

    @property
    def finished(self) -> bool:
        """Whether the budget is spent."""
        return not self.budget.endless and self.spent >= self._total * (1.0 - 1e-12)

    def start(self) -> None:
        """Let seconds count from here on; the scheduler does so when the optimizer's first update begins.

        Call it yourself for what comes before that to count, such as loading, compiling or the first batch.
        """
        self._watch.start()

    def tick(self, updates: int = 1, amount: float | None = None) -> None:
        """Spend what `updates` updates cost.

        Args:
            updates: how many have happened.
            amount: samples or tokens they used, if that is known better than by what an update uses.

        Raises:
            ValueError: if the budget counts samples or tokens and nobody said how many, or far more is spent at once
                than there ever was.
        """
        self._watch.start()
        if amount is not None:
            self._check_reach(self.spent + amount)
            self.spent += amount
        elif self._each is not None:
            self.spent += self._each * updates
        elif self._seconds:
            self._unasked += updates
            if self._unasked >= self._agree_every:
                self._unasked = 0
                self._meet()
        else:
            unit = self.budget.unit
            raise ValueError(
                f"Budget({unit}=...) needs to know how many {unit} an update uses: give {unit}_per_step to Budget, "
                f"or call scheduler.observe({unit}=...) before each scheduler.step()"
            )
        self.updates += updates

    def elapsed(self) -> float:
        """Seconds since the first update, on this process's own clock and without pauses."""
        return self._watch.seconds()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time inside does not count, for evaluation and checkpointing."""
        self._watch.pause()
        try:
            yield
        finally:
            self._watch.go_on()

    def rebudget(self, budget: Budget, how: Rebudgeting) -> None:
        """Go on under another budget in the same unit.

        Args:
            budget: the new one.
            how: "jump" makes progress spent / total of the new budget at once; "continue" keeps today's progress and
                spreads the rest of the curve over the rest of the new budget.

        Raises:
            TypeError: if `budget` is none.
            ValueError: if the new budget counts something else, or `how` is neither.
        """
        if not isinstance(budget, Budget):
            raise TypeError(f"rebudget: budget must be a lehr.Budget, such as Budget(steps=1000); got {shown(budget)}")
        if budget.counted != self.budget.counted:
            raise ValueError(
                f"rebudget: budget counts {budget.unit}, but this run has spent {self.budget.unit}; "
                f"give the new budget in {self.budget.unit}"
            )
        if how not in ("continue", "jump"):
            raise ValueError(f"rebudget: how must be 'continue' or 'jump'; got {shown(how)}")
        if how == "continue" and self.finished:
            raise ValueError(
                "rebudget: the budget is spent, so nothing of the curve is left to continue; use how='jump'"
            )
        self._turn(self.progress if how == "continue" else 0.0, self.spent if how == "continue" else 0)
        self._measure_by(budget)

    def finish(self, left: Budget) -> None:
        """Spend `left` more, in whatever unit, and be at the end.

        Args:
            left: what there is from here on; `budget` becomes what is spent by now and that together. In samples or
                tokens, if the run counted something else so far, spending starts at 0 here.

        Raises:
            ValueError: if `left` has no end, or the budget is spent already.
        """
        if not isinstance(left, Budget):
            raise TypeError(f"finish_by: left must be a lehr.Budget, such as Budget(seconds=600); got {shown(left)}")
        if left.endless:
            raise ValueError(f"finish_by: left must have an end; got {shown(left)}")
        if self.finished:
            raise ValueError("finish_by: the budget is spent, so nothing is left to anneal; see rebudget")
        progress = self.progress % 1.0 if self.budget.endless else self.progress
        if left.unit == "seconds":  # from now on, not from the last update, nor from the first
            if not self._seconds:
                self.spent = 0.0
            self._watch.start()
            self._meet()
        elif left.counted != self.budget.counted:
            self.spent = self.updates if left.counted == "updates" else 0
        self._turn(progress, self.spent)
        unit = "steps" if left.counted == "updates" else left.unit
        per = ("steps_per_epoch", "samples_per_step", "tokens_per_step")
        known = {name: getattr(left, name) or getattr(self.budget, name) for name in per}
        total: Any = {"epochs": None, unit: self.spent + left.total}
        self._measure_by(replace(left, **known, **total))

    def _meet(self) -> None:
        """Spend the time that all processes agree on; what is spent stays spent."""
        agreed = self._agree(self.elapsed())
        self._check_reach(agreed)
        self.spent = max(self.spent, agreed)  # in this order, which passes over what is not a number

    def _check_reach(self, spent: float) -> None:
        """Whether a run may spend so much, since no checkpoint of one that did is read again."""
        if spent > FARTHEST * self._total:
            raise ValueError(
                f"{spent:g} {self.budget.unit} would be {spent / self._total:g} times the budget of {self.budget}: see "
                "that observe() is given what one update used, and that now is a clock in seconds"
            )

    def _turn(self, progress: float, spent: float) -> None:
        """From here on, the rest of the curve belongs to the rest of the budget."""
        self._progress_at_turn = progress
        self._spent_at_turn = spent
        self._turned = bool(progress or spent)

    @property
    def state(self) -> ClockState:
        """What is spent, of what budget, and where that was changed."""
        return ClockState(
            self.budget, self.spent, self.updates, self._spent_at_turn, self._progress_at_turn,
            self.elapsed() if self._seconds else None,
        )  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        """The state as plain numbers and text; no clock is read for it unless the budget is in seconds."""
        return self.state.as_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned, as `load` does.

        Raises:
            ValueError: if it is anything else; then nothing changes.
        """
        self.load(ClockState.read(state))

    def load(self, state: ClockState) -> None:
        """Go on from `state`, under the budget it was saved with; time since it was saved does not count.

        How many samples or tokens an update uses is no part of that: batches and machines may be others than before, so
        what this clock's own budget says, or that it says nothing, holds from here on.
        """
        budget, own = state.budget, self.budget
        if budget.unit == own.unit and budget.unit in ("samples", "tokens"):
            budget = replace(budget, samples_per_step=own.samples_per_step, tokens_per_step=own.tokens_per_step)
        self._measure_by(budget)
        self.spent = state.spent
        self.updates = state.updates
        self._turn(state.progress_at_turn, state.spent_at_turn)
        self._unasked = 0
        if state.elapsed is not None:  # what was not agreed on yet when it was saved has been spent all the same
            self.spent = max(self.spent, state.elapsed)
            self._watch.set(self.spent)

    def keep(self) -> Callable[[], None]:
        """Note everything about this clock; calling what is returned puts it back."""
        attributes = dict(vars(self))
        watch = copy(self._watch)

        def put_back() -> None:
            vars(self).update(attributes, _watch=watch)

        return put_back
