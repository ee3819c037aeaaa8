"""What is said when a run and its budget do not fit together."""

from __future__ import annotations

import math
import sys
import warnings
from typing import Final

from lehr.budget import Budget, Clock
from lehr.policy import Follow

FAR_FROM_THE_END: Final = 0.1


class BudgetWarning(UserWarning):
    """What a run spends and what its budget says do not fit together."""


IDLE: Final = (
    "scheduler.step() found no optimizer update since its last call, and spent nothing. That is right where AMP "
    "skipped the update, and means a wrong order if optimizer.step() comes after it. To see the curve without training "
    'use scheduler.preview(); if updates happen where they cannot be seen, build the scheduler with count="calls".'
)


def overspent(budget: Budget) -> str:
    """For a run that goes on although its budget is spent."""
    return (
        f"the budget of {budget} is spent, but training goes on with its last factor; if that is not meant, stop when "
        "scheduler.finished, or raise the budget with scheduler.rebudget"
    )


def report_early_end(clock: Clock, loaded_at: list[int], follow: Follow | None) -> None:
    """Called when the scheduler goes: say so if the run stopped long before its budget, or high up in a cycle."""
    failed = sys.exc_info()[0] is not None or hasattr(sys, "last_exc") or hasattr(sys, "last_value")
    trained = clock.updates > loaded_at[0]
    if trained and not failed and clock.budget.endless and follow is not None and _high_up(clock.progress, follow):
        warnings.warn(
            f"the run ended in the middle of a cycle, {clock.progress % 1.0:.0%} of the way through it; results are "
            "best at the end of one, where the rate is lowest",
            BudgetWarning,
            stacklevel=2,
        )
    if trained and not failed and not clock.budget.endless and clock.progress < 1.0 - FAR_FROM_THE_END:
        warnings.warn(
            f"the run ended after {clock.progress:.0%} of its budget of {clock.budget}, so the schedule never came to "
            "its end; if no more training follows, give the scheduler the budget that is really there",
            BudgetWarning,
            stacklevel=2,
        )


def _high_up(progress: float, follow: Follow) -> bool:
    """Whether the rate is far above that of the cycle's end."""
    now, end = (follow.schedules[0](at) for at in (progress, float(round(progress))))
    top = max(follow.schedules[0](math.floor(progress) + k / 64) for k in range(64))
    return now > end + FAR_FROM_THE_END * (top - end)
