"""What the scheduler has done so far."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import torch
from torch import Tensor

MOST: Final = 1_000_000

UNSEEN: Final = 4_096
"""How many tensors to hold before waiting for them."""


class History:
    """The factor of every update since the scheduler was built, in bounded memory.

    Iterating gives `(update, progress, factors)`, oldest first, with one factor for all groups or one for each. When
    the numbers kept pass a million, every second update is dropped, and only every second one is kept from then on.

    >>> history = History()
    >>> history.add(0, 0.0, 1.0); history.add(1, 0.1, 0.9)
    >>> list(history)
    [(0, 0.0, (1.0,)), (1, 0.1, (0.9,))]
    """

    def __init__(self, most: int = MOST) -> None:
        self.every = 1
        self._most = most
        self._seen = 0
        self._latest: int | None = None
        self._updates = array("q")
        self._progress = array("d")
        self._factors = array("d")
        self._ends: array[int] | None = None
        """Where each row's factors end among all; None while each has one."""
        self._unseen: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return len(self._updates)

    def __iter__(self) -> Iterator[tuple[int, float, tuple[float, ...]]]:
        self._look()
        begin = 0
        for update, progress, end in zip(self._updates, self._progress, self._row_ends(), strict=True):
            yield update, progress, tuple(self._factors[begin:end])
            begin = end

    def add(self, update: int, progress: float, factors: float | Sequence[float] | Tensor) -> None:
        """Note the factors that update number `update` uses; tensors are only looked at when somebody asks."""
        if update == self._latest:  # replaced before it was used
            self._forget(update)
        else:
            self._latest = update
            self._seen += 1
        if self.every > 1 and (self._seen - 1) % self.every:
            return
        updates, every_factor = self._updates, self._factors
        updates.append(update)
        self._progress.append(progress)
        if isinstance(factors, float):
            every_factor.append(factors)
        elif isinstance(factors, Tensor):
            self._unseen[len(every_factor)] = factors.detach().clone()
            every_factor.append(math.nan)
        else:
            every_factor.extend(factors)
        if self._ends is not None:
            self._ends.append(len(every_factor))
        elif len(every_factor) != len(updates):
            self._ends = array("q", [*range(1, len(updates)), len(every_factor)])
        if len(self._unseen) >= UNSEEN:
            self._look()
        if len(updates) + len(every_factor) > self._most:
            self._thin()

    def _row_ends(self) -> Iterable[int]:
        return range(1, len(self._updates) + 1) if self._ends is None else self._ends

    def _look(self) -> None:
        """Wait for the tensors of which only the place is noted, all at once."""
        for place, value in zip(self._unseen, _numbers(list(self._unseen.values())), strict=True):
            self._factors[place] = value
        self._unseen.clear()

    def _forget(self, update: int) -> None:
        if not self._updates or self._updates[-1] != update:
            return
        self._updates.pop(), self._progress.pop()
        if self._ends is not None:
            self._ends.pop()
        begin = len(self._updates) if self._ends is None else self._ends[-1] if self._ends else 0
        del self._factors[begin:]
        self._unseen.pop(begin, None)

    def _thin(self) -> None:
        self._look()
        self.every *= 2
        self._updates = self._updates[::2]
        self._progress = self._progress[::2]
        if self._ends is None:
            self._factors = self._factors[::2]
            return
        factors, ends, begin = array("d"), array("q"), 0
        for row, end in enumerate(self._ends):
            if row % 2 == 0:
                factors.extend(self._factors[begin:end])
                ends.append(len(factors))
            begin = end
        self._factors, self._ends = factors, ends


def _numbers(tensors: list[Tensor]) -> list[float]:
    if not tensors:
        return []
    numbers: list[float] = torch.stack([tensor.to(tensors[-1].device).double() for tensor in tensors]).tolist()
    return numbers
