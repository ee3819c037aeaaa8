"""Batches that can be wound back, so that a trial does not use up data."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

import torch
from torch.utils.data import DataLoader, IterableDataset

T = TypeVar("T")


class Batches(Generic[T]):
    """Goes round a loader for ever, and can be wound back by whatever keeps it.

    What `untouched`, `range_test` or `plan` draw from it comes again afterwards. A list, or a plain `DataLoader` from
    which nothing had been drawn before, is started afresh with its random numbers where they were, so that training
    sees the very batches that it would have seen. Else the batches drawn are kept in memory and handed out again: the
    same objects, so a trial must not change them in place. Shuffling and augmentation after those go on with random
    numbers that were put back, and may differ from a run without a trial.

    Args:
        loader: a `DataLoader` or any other iterable; one that can be iterated only once ends with `StopIteration`.

    >>> batches = Batches([1, 2, 3])
    >>> with untouched(batches):
    ...     [next(batches) for _ in range(4)]
    [1, 2, 3, 1]
    >>> next(batches)
    1
    """

    def __init__(self, loader: Iterable[T]) -> None:
        self.loader = loader
        self._iterator: Iterator[T] | None = None
        self._again: deque[T] = deque()
        self._logs: list[list[T]] = []

    def __iter__(self) -> Batches[T]:
        return self

    def __next__(self) -> T:
        item = self._again.popleft() if self._again else self._draw()
        for log in self._logs:
            log.append(item)
        return item

    def keep(self) -> Callable[[], None]:
        """Note where this is; calling what is returned winds back to here."""
        log: list[T] = []
        outer = [(other, len(other)) for other in self._logs]
        afresh = self._iterator is None and not self._again and _starts_alike(self.loader)
        generators = [(generator, generator.get_state()) for generator in _generators(self.loader)]
        if not afresh:
            self._logs.append(log)

        def wind_back() -> None:
            self._logs = [other for other in self._logs if other is not log]
            for other, length in outer:  # for them it has not been drawn
                del other[length:]
            if afresh:
                self._iterator = None
                self._again.clear()
                for generator, state in generators:
                    generator.set_state(state)
            else:
                self._again.extendleft(reversed(log))

        return wind_back

    def _draw(self) -> T:
        if self._iterator is None:
            self._iterator = iter(self.loader)
        try:
            return next(self._iterator)
        except StopIteration:
            if isinstance(self.loader, Iterator):
                raise
            self._iterator = iter(self.loader)
        try:
            return next(self._iterator)
        except StopIteration:
            raise ValueError("Batches: the loader is empty") from None


def _starts_alike(loader: Any) -> bool:
    """Whether iterating anew gives what iterating gave before, random numbers aside; loaders with a position do not."""
    if type(loader) is DataLoader:
        return not loader.persistent_workers and not isinstance(loader.dataset, IterableDataset)
    return isinstance(loader, list | tuple | range)


def _generators(loader: Any) -> list[torch.Generator]:
    """The generators of its own that a DataLoader draws from."""
    holders = (
        loader,
        getattr(loader, "sampler", None),
        getattr(getattr(loader, "batch_sampler", None), "sampler", None),
    )
    found = [getattr(holder, "generator", None) for holder in holders]
    unique = {id(one): one for one in found if isinstance(one, torch.Generator)}
    return list(unique.values())
