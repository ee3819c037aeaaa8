"""Batches without end that can be wound back, so that a trial uses up no data, and found again after a restart."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Generic, Protocol, TypeVar, runtime_checkable

import torch
from torch.utils.data import DataLoader, IterableDataset

from lehr._arguments import whole_argument
from lehr.state.generators import try_numbers
from lehr.state.nested import Restore
from lehr.state.random_state import RandomNumbers
from lehr.state.reading import Fields, shown

T = TypeVar("T")

PARTS: Final = ("sampler", "batch_sampler", "dataset")
"""Where a loader keeps what may want to know the number of the epoch, or hold a generator."""

MOST_AHEAD: Final = 1_000_000
"""No trial draws more batches."""

_FILLED: Final = ("_again", "_starts")
"""What is filled in place."""


@runtime_checkable
class CountsEpochs(Protocol):
    """What shuffles by the number of the epoch, such as a `DistributedSampler`."""

    def set_epoch(self, epoch: int) -> Any:
        """Tell it the number."""


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A batch, and where in the data it is from."""

    epoch: int
    index: int
    item: Any


@dataclass(frozen=True, slots=True)
class _Start:
    """The random numbers with which an epoch began: all there are, and those of the loader's own generators."""

    random: RandomNumbers
    generators: tuple[torch.Tensor, ...]

    def as_dict(self) -> dict[str, Any]:
        return {"random": self.random.as_dict(), "generators": list(self.generators)}


class Batches(Generic[T]):
    """Goes round a loader for ever, can be wound back by a trial, and goes on from a checkpoint where it was.

    What a trial (`untouched`, `range_test`, `plan`) draws from it comes again afterwards. A list, or a plain
    `DataLoader` from which nothing had been drawn before, is started afresh with its random numbers where they were, so
    that training sees the very batches that it would have seen. Else the batches drawn are remembered and given out
    again: the same objects, so a trial must not change them in place. Shuffling and augmentation after those go on with
    random numbers that were put back, and may differ from a run without a trial.

    At the start of each epoch, `set_epoch` is called where the loader, its sampler or its data set has it, so that
    ranks shuffle anew each time.

    A checkpoint holds the number of the epoch and of the batch in it, and the random numbers with which the epoch
    began: loading starts that epoch anew and passes over the batches that were used, which takes the time to load them.
    Batches that a trial has drawn ahead are drawn again.

    Args:
        loader: a `DataLoader` or any other iterable, or a function that returns an iterator for each epoch; an iterator
            ends with `StopIteration`.

    >>> batches = Batches([1, 2, 3])
    >>> with untouched(batches):
    ...     [next(batches) for _ in range(4)]
    [1, 2, 3, 1]
    >>> next(batches)
    1
    """

    def __init__(self, loader: Iterable[T] | Callable[[], Iterator[T]]) -> None:
        if not isinstance(loader, Iterable) and not callable(loader):
            raise TypeError(
                "Batches: loader must be iterable, such as a DataLoader, or a function that returns an iterator; got "
                f"{shown(loader)}"
            )
        self.loader = loader
        self._iterator: Iterator[T] | None = None
        self._epoch = 0
        self._index = 0
        self._starts: dict[int, _Start] = {}  # random numbers at the beginning of epochs that may be needed
        self._again: deque[_Drawn] = deque()
        self._logs: list[list[_Drawn]] = []

    def __iter__(self) -> Batches[T]:
        return self

    def __next__(self) -> T:
        if not self._again and not self._logs:  # as nearly always
            return self._draw()
        remembered = bool(self._again)
        drawn = self._again.popleft() if remembered else self._noted()
        if remembered and not drawn.index and not self._logs and isinstance(self.loader, DataLoader):
            # a trial began this epoch, and its random numbers were put back: the next epoch must not be the same again
            torch.empty((), dtype=torch.int64).random_()
        for log in self._logs:
            log.append(drawn)
        item: T = drawn.item
        return item

    def skip(self, count: int) -> None:
        """Draw so many batches and leave them be.

        Raises:
            ValueError: if `count` is no whole number, or below 0.
            StopIteration: if there are fewer.
        """
        for _ in range(whole_argument("Batches.skip: count", count, 0)):
            next(self)

    @property
    def epoch(self) -> int:
        """The number of the epoch that the next batch is from, counted from 0."""
        return self._again[0].epoch if self._again else self._epoch

    @property
    def per_epoch(self) -> int | None:
        """How many batches an epoch has; None if the loader does not say."""
        try:
            return len(self.loader)  # type: ignore[arg-type]
        except TypeError:
            return None

    def mark(self) -> Restore:
        """Note where this is; calling what is returned winds back to here."""
        log: list[_Drawn] = []
        outer = [(other, len(other)) for other in self._logs]
        afresh = self._iterator is None and not self._again and _starts_alike(self.loader)
        epoch = self._epoch
        generators = [(generator, generator.get_state()) for generator in _generators(self.loader)]
        if not afresh:
            self._logs.append(log)

        def wind_back() -> None:
            self._logs = [other for other in self._logs if other is not log]
            for other, length in outer:  # for them it has not been drawn
                del other[length:]
            if afresh:
                self._iterator = None
                self._epoch, self._index = epoch, 0
                self._again.clear()
                for generator, state in generators:
                    generator.set_state(state)
            else:
                self._again.extendleft(reversed(log))

        return wind_back

    def state_dict(self) -> dict[str, Any]:
        """The position: numbers of the epoch and of the batch, how many were drawn ahead, and how epochs began."""
        epoch, index = (self._again[0].epoch, self._again[0].index) if self._again else (self._epoch, self._index)
        starts = {number: start.as_dict() for number, start in self._starts.items() if number >= epoch}
        return {"epoch": epoch, "index": index, "ahead": len(self._again), "starts": starts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to the position of `state_dict`; the global random numbers stay as they are.

        Raises:
            ValueError: if it is no such state, or the loader has fewer batches than were used; nothing has then
                changed, except that an iterator has moved on.
        """
        fields = Fields("the checkpoint's batches", state)
        epoch, index, ahead = fields.whole("epoch"), fields.whole("index"), fields.whole("ahead", high=MOST_AHEAD)
        starts = _starts(fields)
        if index > (length := self.per_epoch if self.per_epoch is not None else index):
            raise _too_few(index, length)
        before = {name: copy(value) if name in _FILLED else value for name, value in vars(self).items()}
        generators = [(generator, generator.get_state()) for generator in _generators(self.loader)]
        random = RandomNumbers.now()
        try:
            self._go_to(epoch, index, ahead, starts)
        except BaseException:
            vars(self).update(before)
            for generator, numbers in generators:
                generator.set_state(numbers)
            self._tell_epoch()
            raise
        finally:
            random.go_on()

    def _go_to(self, epoch: int, index: int, ahead: int, starts: dict[int, _Start]) -> None:
        self._again.clear()
        self._iterator, self._epoch, self._index, self._starts = None, epoch, 0, starts
        if not index and not ahead:
            return
        passed = sum(1 for _ in islice(self._begin(again=True), index))
        if passed < index:
            raise _too_few(index, passed)
        self._index = passed
        # a trial had drawn these, perhaps from the epoch after, which has begun with random numbers of that time
        self._again.extend([self._noted(again=True) for _ in range(ahead)])

    def _noted(self, *, again: bool = False) -> _Drawn:
        item = self._draw(again=again)
        return _Drawn(self._epoch, self._index - 1, item)

    def _draw(self, *, again: bool = False) -> T:
        try:
            item = next(self._begin(again=again) if self._iterator is None else self._iterator)
        except StopIteration:
            if isinstance(self.loader, Iterator):
                raise
            if not self._index:
                raise ValueError("Batches: the loader is empty") from None
            self._epoch, self._index = self._epoch + 1, 0
            self._begin(again=again)
            return self._draw()
        self._index += 1
        return item

    def _begin(self, *, again: bool = False) -> Iterator[T]:
        """Start the epoch; again, with the random numbers that it began with."""
        start = self._starts.get(self._epoch) if again else None
        if start is not None:
            start.random.go_on()
            for generator, numbers in zip(_generators(self.loader), start.generators, strict=False):
                generator.set_state(numbers)
        wanted = {self._epoch, *(drawn.epoch for drawn in self._again), *(d.epoch for log in self._logs for d in log)}
        self._starts = {epoch: start for epoch, start in self._starts.items() if epoch in wanted}
        generators = tuple(generator.get_state() for generator in _generators(self.loader))
        self._starts[self._epoch] = _Start(RandomNumbers.now(), generators)
        self._tell_epoch()
        self._iterator = iter(self.loader) if isinstance(self.loader, Iterable) else iter(self.loader())
        return self._iterator

    def _tell_epoch(self) -> None:
        for part in _parts(self.loader):
            if isinstance(part, CountsEpochs):
                part.set_epoch(self._epoch)


def _starts(fields: Fields) -> dict[int, _Start]:
    starts: dict[int, _Start] = {}
    table: Mapping[Any, Any] = fields.table("starts")
    for number, given in table.items():
        if isinstance(number, bool) or not isinstance(number, int):
            raise fields.error("starts", "a dictionary by the numbers of epochs", number)
        where = f"{fields.where}: the start of epoch {shown(number)}"
        start = Fields(where, given)
        generators = start.any("generators")
        if not isinstance(generators, list | tuple):
            raise start.error("generators", "a list of their numbers", generators)
        for numbers in generators:
            try_numbers(start, "generators", numbers, torch.Generator())
        starts[number] = _Start(RandomNumbers.read(f"{where}: random", start.any("random")), tuple(generators))
    return starts


def _too_few(index: int, length: int) -> ValueError:
    return ValueError(
        f"the checkpoint had used {index} batches of its epoch, but the loader has only {length}; resume with the data "
        "that the run had"
    )


def _parts(loader: Any) -> list[Any]:
    """The loader, its samplers and its data set, each once."""
    batch_sampler = getattr(loader, "batch_sampler", None)
    parts = [loader, *(getattr(loader, name, None) for name in PARTS), getattr(batch_sampler, "sampler", None)]
    return list({id(part): part for part in parts if part is not None}.values())


def _starts_alike(loader: Any) -> bool:
    """Whether iterating anew gives what iterating gave before, random numbers aside; loaders with a position do not."""
    if type(loader) is DataLoader:
        return not loader.persistent_workers and not isinstance(loader.dataset, IterableDataset)
    return isinstance(loader, list | tuple | range)


def _generators(loader: Any) -> list[torch.Generator]:
    """The generators of its own that a loader draws from."""
    owners = [getattr(part, "generator", None) for part in _parts(loader)]
    return list({id(one): one for one in owners if isinstance(one, torch.Generator)}.values())
