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
        if self._updates and self._updates[-1] == update:  # replaced before it was used
            self._updates.pop(), self._progress.pop(), self._factors.pop()
            self._seen -= 1
        self._seen += 1
        if self.every > 1 and (self._seen - 1) % self.every:
            return
        self._updates.append(update)
        self._progress.append(progress)
        if isinstance(self._factors, array):
            if isinstance(factors, float):
                self._factors.append(factors)
            else:
                self._factors = [array("d", [factor]) for factor in self._factors]
                self._factors.append(array("d", factors))
        else:
            self._factors.append(array("d", [factors] if isinstance(factors, float) else factors))
        width = 1 if isinstance(factors, float) else len(factors)
        if len(self._updates) * (1 + width) > self._most:
            self._thin()

    def _thin(self) -> None:
        self.every *= 2
        self._updates = self._updates[::2]
        self._progress = self._progress[::2]
        self._factors = self._factors[::2]
