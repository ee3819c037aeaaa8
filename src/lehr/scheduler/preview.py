"""The table of what a scheduler is going to do."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import torch
from torch import Tensor

from lehr._svg import figure
from lehr.budget import Clock
from lehr.policy import Follow

SHOWN: Final = 11
"""Rows that are printed."""

DRAWN: Final = 401
"""Rows that are drawn, at most about."""

PARTS: Final = 100
"""Into how many parts a budget is cut whose updates are not known."""

CHUNK: Final = 100_000
"""Rows that are worked out at once; more are no faster."""

Row = tuple[float, float, tuple[float, ...]]


@dataclass(frozen=True, eq=False)
class Preview:
    """The learning rates that lie ahead, one row an update (or one a hundredth of the budget if updates are unknown).

    Iterating and indexing give `(spent, progress, rates)`; printing shows eleven rows. Rows are worked out when they
    are asked for, so the length of the run does not matter. Whole columns are worked out at once, whose rates may
    differ from those of rows by rounding.

    Args:
        unit: what `spent` counts.
        count: how many rows there are.
        row: number of a row -> how much is spent before the update, the share of the budget that this is, and the
            rates of all parameter groups.
        columns: numbers of rows -> the same, as a tensor of each.
    """

    unit: str
    count: int
    row: Callable[[int], Row]
    columns: Callable[[range], tuple[Tensor, Tensor, list[Tensor]]]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Row:
        if not -self.count <= index < self.count:
            raise IndexError(f"the preview has {self.count} rows; there is no row {index}")
        return self.row(index % self.count)

    def __iter__(self) -> Iterator[Row]:
        return map(self.row, range(self.count))

    @property
    def spent(self) -> tuple[float, ...]:
        """How much is spent before each update."""
        return tuple(chain.from_iterable(spent.tolist() for spent, _, _ in self._chunks()))

    @property
    def progress(self) -> tuple[float, ...]:
        """The share of the budget that is spent before each update."""
        return tuple(chain.from_iterable(progress.tolist() for _, progress, _ in self._chunks()))

    @property
    def rates(self) -> tuple[tuple[float, ...], ...]:
        """The learning rates of all parameter groups at each update."""
        chunks = (zip(*(group.tolist() for group in rates), strict=True) for _, _, rates in self._chunks())
        return tuple(chain.from_iterable(chunks))

    def _chunks(self) -> Iterator[tuple[Tensor, Tensor, list[Tensor]]]:
        return (self.columns(range(self.count)[start : start + CHUNK]) for start in range(0, self.count, CHUNK))

    def __str__(self) -> str:
        lines = [f"{self.unit:>12}  progress  learning rate"]
        for spent, progress, rates in map(self.row, _few(self.count, SHOWN)):
            lines.append(f"{spent:>12,.6g}  {progress:>8.1%}  {'  '.join(f'{rate:.4g}' for rate in rates)}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """The rate of the first parameter group that has one, for notebooks."""
        rows = [self.row(index) for index in _few(self.count, DRAWN)]
        if not rows or not rows[0][2]:
            return "<code>nothing lies ahead</code>"
        first = next((i for i in range(len(rows[0][2])) if any(rates[i] > 0.0 for _, _, rates in rows)), 0)
        groups = len(rows[0][2])
        caption = (
            "learning rate" if groups == 1 else f"learning rate of group {first}, the first of {groups} that has one"
        )
        heights = [float(rates[first]) for _, _, rates in rows]
        return figure(
            [spent for spent, _, _ in rows], heights, caption=caption, across=f"{rows[-1][0]:,.6g} {self.unit}"
        )


def _few(count: int, most: int) -> list[int]:
    """Row numbers, evenly over all, the first and the last among them."""
    return list(range(count)) if count <= most else [round(i * (count - 1) / (most - 1)) for i in range(most)]


def look_ahead(clock: Clock, follow: Follow, bases: Sequence[float]) -> Preview:
    """The table from here to the end of the budget, or through one measure of a budget without end.

    Args:
        clock: where the run is.
        follow: its schedules.
        bases: the base rate of each parameter group.
    """
    budget, begin = clock.budget, clock.spent
    left = budget.total if budget.endless else max(0, budget.total - begin)
    each = budget.each
    count = PARTS + 1 if each is None else _whole(left, each)
    progress_at = copy.copy(clock).progress_at  # as things stand now, whatever the run does later

    def spent_at(index: Any) -> Any:
        return begin + (left * index / PARTS if each is None else index * each)

    def row(index: int) -> Row:
        spent = spent_at(index)
        progress = progress_at(spent)
        factors = follow.at(progress)
        every = factors if isinstance(factors, Sequence) else [factors] * len(bases)
        return spent, progress, tuple(base * factor for base, factor in zip(bases, every, strict=False))

    def columns(rows: range) -> tuple[Tensor, Tensor, list[Tensor]]:
        spent = spent_at(torch.arange(rows.start, rows.stop, device="cpu", dtype=_kind(begin, each)))
        progress: Any = progress_at(spent.double())
        factors = [schedule(progress) for schedule in follow.schedules]
        every = factors if len(factors) > 1 else factors * len(bases)
        return spent, progress, [base * factor for base, factor in zip(bases, every, strict=False)]

    return Preview("steps" if budget.counted == "updates" else budget.unit, count, row, columns)


def _kind(*values: float | None) -> torch.dtype:
    return torch.int64 if all(isinstance(value, int) for value in values) else torch.float64


def _whole(left: float, each: float) -> int:
    """How many updates of `each` it takes; rounding errors make none more."""
    if isinstance(left, int) and isinstance(each, int):
        return -(-left // each)
    return math.ceil(left / each * (1.0 - 1e-12))
