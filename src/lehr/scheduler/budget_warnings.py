"""What is said when a run and its budget do not fit together."""

from __future__ import annotations

import atexit
import gc
import math
import sys
import warnings
import weakref
from typing import Any, ClassVar, Final

from lehr.budget import Budget, Clock
from lehr.policy import Follow
from lehr.scheduler.trainers import calling

FAR_FROM_THE_END: Final = 0.1


class BudgetWarning(UserWarning):
    """What a run spends and what its budget says do not fit together."""


def idle(calls: int) -> str:
    """For `step()` without updates."""
    return (
        f"scheduler.step() was called {calls} times in a row without an update of the optimizer, and spent nothing. "
        "AMP may have skipped them all (the loss scale is too high, or gradients are not finite). To see the curve "
        "without training use scheduler.preview(); if updates happen where they cannot be seen, such as in replayed "
        'CUDA graphs, build the scheduler with count="calls"'
    )


def uninformed(policy: Any) -> str:
    """For a policy that looks at training and is never shown any."""
    signals = ", ".join(f"{name}=..." for name in policy.needs)
    trainer = calling()
    advice = trainer.look if "loss_at" in policy.needs else trainer.loss
    return f"{policy!r} looks at training, but scheduler.observe({signals}) was never called: {advice}"


def retired(policy: Any) -> str:
    """For a scheduler whose optimizer another one drives since."""
    return (
        f"the scheduler of {policy!r} no longer drives its optimizer, since another lehr.Scheduler was built on it; "
        "one scheduler does it all: multiply schedules with *, or put one after the other with .then"
    )


def meddled(value: float, policy: Any) -> str:
    """For a rate that somebody else has set."""
    return (
        f"somebody else has set the learning rate to {value:g}, but {policy!r} sets it anew at each update. Multiply "
        "schedules with * or chain them with .then instead of a second scheduler, look for a rate with lehr.range_test "
        "instead of another library's finder, and change a base rate with training.set_peak(rate)"
    )


def strange(key: str, value: float) -> str:
    """For an optimizer's checkpoint that does not tell base values, loaded under a scheduler."""
    return (
        f"the optimizer's state that was loaded says {key}={value:g}, but has no initial_{key} to say whether that is "
        "where its run began or where it stood, so the scheduler goes on from the base values that it was built with; "
        "to begin from the loaded ones, load the optimizer before the scheduler is built"
    )


def overspent(budget: Budget) -> str:
    """For a run that goes on although its budget is spent."""
    return (
        f"the budget of {budget} is spent, but training goes on with its last factor; if that is not meant, stop when "
        "scheduler.finished, or raise the budget with scheduler.rebudget"
    )


class RunsUnderWay:
    """Runs that may end before their budget does, which is said when the program ends.

    A run that fails, or whose scheduler is dropped before, is not spoken of.
    """

    _all: ClassVar[weakref.WeakSet[RunsUnderWay]] = weakref.WeakSet()

    def __init__(self, clock: Clock, follow: Follow | None) -> None:
        self.clock = clock
        self.follow = follow
        self.begin(clock.updates)

    @classmethod
    def register(cls, clock: Clock, follow: Follow | None) -> RunsUnderWay:
        """A run that is spoken of if it is still there when the program ends."""
        run = cls(clock, follow)
        cls._all.add(run)
        return run

    def begin(self, updates: int) -> None:
        """Training starts, or goes on, after so many updates."""
        self._began_at = updates

    def end(self) -> None:
        """Nothing is to be said of it any more."""
        self._all.discard(self)

    @property
    def early(self) -> str | None:
        """What is to be said of its end, if it ends now."""
        clock = self.clock
        if clock.updates <= self._began_at:
            return None
        if clock.budget.endless:
            if self.follow is None or not _high_up(clock.progress, self.follow):
                return None
            return (
                f"the run ended in the middle of a cycle, {clock.progress % 1.0:.0%} of the way through it; results "
                "are best at the end of one, where the rate is lowest"
            )
        if clock.progress >= 1.0 - FAR_FROM_THE_END:
            return None
        return (
            f"the run ended after {clock.progress:.0%} of its budget of {clock.budget}, so the schedule never came to "
            "its end; if no more training follows, give the scheduler the budget that is really there"
        )

    @classmethod
    def report(cls) -> None:
        """Say it of all runs that are under way."""
        if hasattr(sys, "last_exc") or hasattr(sys, "last_value"):
            return
        if any(run.early for run in tuple(cls._all)):
            gc.collect()  # what was dropped, such as by a pruned trial, may refer to itself and so still be there
        for run in list(cls._all):
            if (said := run.early) is not None:
                warnings.warn(said, BudgetWarning, stacklevel=2)


atexit.register(RunsUnderWay.report)


def _high_up(progress: float, follow: Follow) -> bool:
    """Whether the rate is far above that of the cycle's end."""
    now, end = (follow.schedules[0](at) for at in (progress, float(round(progress))))
    top = max(follow.schedules[0](math.floor(progress) + k / 64) for k in range(64))
    return now > end + FAR_FROM_THE_END * (top - end)
