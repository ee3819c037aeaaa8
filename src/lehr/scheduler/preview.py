"""The table of what a scheduler is going to do."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lehr.budget import Clock
from lehr.policy import Follow


@dataclass(frozen=True)
class Preview:
    """The learning rates that lie ahead, one row an update (or one a hundredth of the budget if updates are unknown).

    Iterating gives `(spent, progress, rates)`; printing shows eleven rows.

    Args:
        unit: what `spent` counts.
        spent: how much is spent before the update.
        progress: the share of the budget that this is.
        rates: the learning rates of all parameter groups at each row.
    """

    unit: str
    spent: tuple[float, ...]
    progress: tuple[float, ...]
    rates: tuple[tuple[float, ...], ...]

    def __len__(self) -> int:
        return len(self.spent)

    def __iter__(self) -> Iterator[tuple[float, float, tuple[float, ...]]]:
        return zip(self.spent, self.progress, self.rates, strict=True)

    def __str__(self) -> str:
        rows = list(self)
        shown = rows if len(rows) <= 11 else [rows[round(i * (len(rows) - 1) / 10)] for i in range(11)]
        lines = [f"{self.unit:>12}  progress  learning rate"]
        for spent, progress, rates in shown:
            lines.append(f"{spent:>12,.6g}  {progress:>8.1%}  {'  '.join(f'{rate:.4g}' for rate in rates)}")
        return "\n".join(lines)


def look_ahead(clock: Clock, follow: Follow, rates: Callable[[float | Sequence[float]], list[float]]) -> Preview:
    """The table from here to the end of the budget, or through one measure of a budget without end."""
    budget = clock.budget
    left = budget.total if budget.endless else max(0, budget.total - clock.spent)
    if budget.each is not None:
        spent = [clock.spent + k * budget.each for k in range(math.ceil(left / budget.each * (1.0 - 1e-12)))]
    else:
        spent = [clock.spent + left * k / 100 for k in range(101)]
    progress = [clock.progress_at(amount) for amount in spent]
    table = [tuple(rates(follow.at(p))) for p in progress]
    unit = "steps" if budget.counted == "updates" else budget.unit
    return Preview(unit, tuple(spent), tuple(progress), tuple(table))
