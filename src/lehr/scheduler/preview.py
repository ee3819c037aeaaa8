"""The table of what a scheduler is going to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


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
