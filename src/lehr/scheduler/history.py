"""What the scheduler has done so far."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import Final

MOST: Final = 1_000_000


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

    def __len__(self) -> int:
        return len(self._updates)

    def __iter__(self) -> Iterator[tuple[int, float, tuple[float, ...]]]:
        rows = self._factors if isinstance(self._factors, list) else [(factor,) for factor in self._factors]
        for update, progress, factors in zip(self._updates, self._progress, rows, strict=True):
            yield update, progress, tuple(factors)

    def add(self, update: int, progress: float, factors: float | Sequence[float]) -> None:
        """Note the factors that update number `update` uses."""
        updates = self._updates
        if updates and updates[-1] == update:  # replaced before it was used
            self._forget()
        self._seen += 1
        if self.every > 1 and (self._seen - 1) % self.every:
            return
        updates.append(update)
        self._progress.append(progress)
        if isinstance(factors, float) and isinstance(self._factors, array):
            self._factors.append(factors)
            width = 2
        else:
            width = 1 + self._add_several(factors)
        if len(updates) * width > self._most:
            self._thin()

    def _add_several(self, factors: float | Sequence[float]) -> int:
        row = array("d", [factors] if isinstance(factors, float) else factors)
        if isinstance(self._factors, array):
            self._factors = [array("d", [factor]) for factor in self._factors]
        self._factors.append(row)
        return len(row)

    def _forget(self) -> None:
        self._updates.pop(), self._progress.pop(), self._factors.pop()
        self._seen -= 1

    def _thin(self) -> None:
        self.every *= 2
        self._updates = self._updates[::2]
        self._progress = self._progress[::2]
        self._factors = self._factors[::2]
