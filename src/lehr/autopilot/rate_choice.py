"""The rate that a search chose, and why."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lehr.autopilot.guarded import Guarded
from lehr.autopilot.trial import Trial
from lehr.budget import Budget
from lehr.schedules import Schedule


@dataclass(frozen=True)
class RateChoice:
    """The peak rate that a search chose, with what it saw; print it, or `explain` it.

    Args:
        rate: peak of the first parameter group that trains; the others keep their ratios to it.
        low: lower end of where the best rate may lie.
        high: upper end.
        schedule: of the rate, from its peak.
        first_loss: where trials began.
        longest_step: rate of the longest first step that did not raise the loss; None if that was not measured.
        trials: in the order in which they were made.
        spent: on that and lost, in what `budget` counts.
        begun: spent on the beginning of the main run, from which trials forked.
        budget: what there was to spend.
        rest: what is left for the main run.
        doubts: what makes the choice uncertain, in sentences.

    >>> trials = [Trial(0.1, 64, 1.5, "finished"), Trial(0.4, 64, 1.2, "finished"), Trial(1.6, 64, 1.9, "finished")]
    >>> budget, rest = Budget(steps=2000), Budget(steps=1800)
    >>> print(RateChoice(0.4, 0.1, 1.6, Linear(), 2.3, 1.0, trials, 160, 40, budget, rest))
    rate 0.4 (between 0.1 and 1.6), by 3 trials for 8.0% of the budget
    """

    rate: float
    low: float
    high: float
    schedule: Schedule
    first_loss: float
    longest_step: float | None
    trials: Sequence[Trial]
    spent: float
    begun: float
    budget: Budget
    rest: Budget
    doubts: Sequence[str] = ()

    @property
    def share(self) -> float:
        """Of the budget that trials have lost."""
        return self.spent / self.budget.total

    def policy(self) -> Guarded:
        """The schedule under guard, new for a run."""
        return Guarded(self.schedule)

    def __str__(self) -> str:
        return (
            f"rate {self.rate:.3g} (between {self.low:.2g} and {self.high:.2g}), by {len(self.trials)} trials for "
            f"{self.share:.1%} of the budget"
        )

    def explain(self) -> str:
        """What was tried, what each trial saw, what was chosen, and what is uncertain."""
        lines = [f"Rate {self.rate:.3g}, between {self.low:.2g} and {self.high:.2g}, with {self.schedule!r}."]
        if self.longest_step is not None:
            lines.append(
                f"The longest first step that did not raise the loss has the rate {self.longest_step:.2g}; trials "
                f"began at a loss of {self.first_loss:.4g}."
            )
        for trial in sorted(self.trials, key=lambda one: one.rate):
            saw = f"loss {trial.loss:.4g}" if math.isfinite(trial.loss) else f"broken off: {trial.ending}"
            lines.append(f"  rate {trial.rate:<9.3g} {trial.updates:4} updates  {saw}")
        counted = self.budget.counted
        lines.append(f"Trials took {self.spent:,.4g} of {self.budget.total:,.6g} {counted} ({self.share:.1%}).")
        lines += [f"Uncertain: {doubt}" for doubt in self.doubts]
        return "\n".join(lines)
