"""What the scheduler has done so far."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Sequence
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
        self._updates = array("q")
        self._progress = array("d")
        self._factors: list[array[float]] | array[float] = array("d")
        self._unseen: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return len(self._updates)

    def __iter__(self) -> Iterator[tuple[int, float, tuple[float, ...]]]:
        self._look()
        rows = self._factors if isinstance(self._factors, list) else [(factor,) for factor in self._factors]
        for update, progress, factors in zip(self._updates, self._progress, rows, strict=True):
            yield update, progress, tuple(factors)

    def add(self, update: int, progress: float, factors: float | Sequence[float] | Tensor) -> None:
        """Note the factors that update number `update` uses; tensors are only looked at when somebody asks."""
        updates = self._updates
        if updates and updates[-1] == update:  # replaced before it was used
            self._forget()
        self._seen += 1
        if self.every > 1 and (self._seen - 1) % self.every:
            return
        updates.append(update)
        self._progress.append(progress)
        if isinstance(factors, Tensor):
            self._unseen[len(updates) - 1] = factors.detach().clone()
            factors = math.nan
        if isinstance(factors, float) and isinstance(self._factors, array):
            self._factors.append(factors)
            width = 2
        else:
            width = 1 + self._add_several(factors)
        if len(self._unseen) >= UNSEEN:
            self._look()
        if len(updates) * width > self._most:
            self._thin()

    def _look(self) -> None:
        """Wait for the tensors of which only the place is noted, all at once."""
        for index, value in zip(self._unseen, _numbers(list(self._unseen.values())), strict=True):
            if isinstance(self._factors, array):
                self._factors[index] = value
            else:
                self._factors[index] = array("d", [value])
        self._unseen.clear()

    def _add_several(self, factors: float | Sequence[float]) -> int:
        row = array("d", [factors] if isinstance(factors, float) else factors)
        if isinstance(self._factors, array):
            self._factors = [array("d", [factor]) for factor in self._factors]
        self._factors.append(row)
        return len(row)

    def _forget(self) -> None:
        self._unseen.pop(len(self._updates) - 1, None)
        self._updates.pop(), self._progress.pop(), self._factors.pop()
        self._seen -= 1

    def _thin(self) -> None:
        self._look()
        self.every *= 2
        self._updates = self._updates[::2]
        self._progress = self._progress[::2]
        self._factors = self._factors[::2]


def _numbers(tensors: list[Tensor]) -> list[float]:
    if not tensors:
        return []
    numbers: list[float] = torch.stack([tensor.to(tensors[-1].device).double() for tensor in tensors]).tolist()
    return numbers
