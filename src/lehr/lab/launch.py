"""Runs of several processes each: they are started as `torchrun` starts them, and train together."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Final, NoReturn

import torch
import torch.distributed as dist

import lehr
from lehr.lab.comparison import Job
from lehr.lab.failures import told
from lehr.lab.placement import Placement
from lehr.lab.records import write_run
from lehr.lab.results import Setting
from lehr.lab.run import Settings
from lehr.lab.signals import end_with_parent, interrupts_ignored, interrupts_wait
from lehr.lab.workers import (
    InThisProcess,
    failed,
    no_process,
    other_data,
    pickled,
    run_of,
    unpickled,
    with_the_code,
    writing,
)

HERE: Final = "127.0.0.1"

PATIENCE: Final = 5.0
"""Seconds that a rank gets to end when it is asked to."""

LEFT: Final = 3
"""The exit code of a rank that has said why it cannot go on."""


@dataclass(frozen=True)
class InRanks:
    """Makes runs that are several processes each, which find the task by its name.

    A rank that is killed, or out of memory, ends its run, which is then marked as failed; an error of the user's code
    would come again and ends the comparison.

    Args:
        task: its name.
        data: the folder to look for data in.
        settings: how to train, and in how many processes.
        setting: what to write into the files.
        runs: how many at a time.
        threads: of torch in each process.
        places: the devices over which the processes are spread, in turn.
    """

    task: str
    data: str | None
    settings: Settings
    setting: Setting
    runs: int
    threads: int
    places: tuple[str, ...]

    @property
    def count(self) -> int:
        """The processes of a run."""
        return self.settings.placement.ranks

    def place(self, slot: int, rank: int) -> str:
        """The device of a rank of the run in that slot."""
        return self.places[(slot * self.count + rank) % len(self.places)]

    def __call__(self, jobs: Sequence[Job], runs: Path, watch: Callable[[list[tuple[Job, float]], int], None]) -> None:
        orders = [_Order(index, pickled(job), runs / job.file) for index, job in enumerate(jobs)]
        context: Any = _context()
        with interrupts_wait():  # or a process of multiprocessing's own would hear them
            progress = context.Array("d", len(jobs))
        data: dict[int, str] = {}
        groups = [_Group(self, slot, context, progress, data) for slot in range(min(self.runs, len(jobs)))]
        waiting, under_way, done = list(orders), dict[int, _Order](), 0
        try:
            while waiting or under_way:
                for group in groups:
                    if waiting and group.slot not in under_way:
                        under_way[group.slot] = waiting.pop(0)
                        group.give(under_way[group.slot])
                wait([one for group in groups for one in group.signs], timeout=0.1)
                for group in groups:
                    order = under_way.get(group.slot)
                    if order is not None and group.has_made(order, jobs[order.index]):
                        del under_way[group.slot]
                        done += 1
                watch([(jobs[order.index], progress[order.index]) for order in under_way.values()], done)
            for group in groups:
                group.dismiss()
        except BaseException:
            with interrupts_ignored():
                for group in groups:
                    group.end()
            raise


@dataclass(frozen=True)
class _Order:
    """What ranks are told to make: a pickled job, its number, and the file of its run."""

    index: int
    sent: bytes
    path: Path


@dataclass(frozen=True)
class _Data:
    """What a rank says of its data."""

    hash: str


@dataclass(frozen=True)
class _Made:
    """What a rank says at the end of a run."""


@dataclass(frozen=True)
class _Leave:
    """What a rank says that cannot go on: why, whether that would come again, and when."""

    why: str
    again: bool
    time: float


class _Group:
    """The processes that train together, run after run; after one that failed they are started anew.

    Args:
        maker: says what is trained.
        slot: the place among runs that are made at a time.
        context: how processes are started.
        progress: of every run, shared with the ranks.
        data: the hashes of what each rank has in all groups.
    """

    def __init__(self, maker: InRanks, slot: int, context: Any, progress: Any, data: dict[int, str]) -> None:
        self.slot = slot
        self._maker = maker
        self._context = context
        self._progress = progress
        self._data = data
        self._processes: list[Any] = []
        self._pipes: list[Any] = []
        self._made: set[int] = set()
        self._left: dict[int, _Leave] = {}

    def _start(self) -> None:
        self._store = dist.TCPStore(HERE, 0, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
        method, port = multiprocessing.get_start_method(), self._store.port
        self._left.clear()
        try:
            for rank in range(self._maker.count):
                ours, theirs = self._context.Pipe()
                arguments = (self._maker, rank, self.slot, port, theirs, self._progress, method)
                process = self._context.Process(target=_rank, args=arguments)
                with interrupts_wait():  # new processes inherit that, so that Ctrl-C reaches this one alone
                    process.start()
                theirs.close()
                self._processes.append(process)
                self._pipes.append(ours)
        except OSError as error:
            raise ValueError(no_process(error)) from error

    @property
    def signs(self) -> list[Any]:
        """What shows that something has happened."""
        return [*self._pipes, *(process.sentinel for process in self._processes)]

    def give(self, order: _Order) -> None:
        """Have the ranks make a run."""
        if not self._processes:
            self._start()
        self._made.clear()
        for pipe in self._pipes:
            with suppress(OSError):  # of a rank that has died, which shows at once
                pipe.send(order)

    def has_made(self, order: _Order, job: Job) -> bool:
        """Whether the run's file is there; a rank that ends takes the others with it.

        Raises:
            ValueError: if the user's code failed, or ranks have other data than those of another group.
        """
        codes = [process.exitcode for process in self._processes]
        self._hear()
        if codes.count(None) == len(codes):
            return len(self._made) == len(codes)
        self.end()
        if not order.path.exists():
            with writing(order.path):
                write_run(order.path, failed(job, self._failure(codes)), self._maker.setting)
        return True

    def _hear(self) -> None:
        for rank, pipe in enumerate(self._pipes):
            with suppress(EOFError, OSError):  # it has ended
                while pipe.poll():
                    said = pipe.recv()
                    if isinstance(said, _Made):
                        self._made.add(rank)
                    elif isinstance(said, _Leave):
                        self._left[rank] = said
                    elif self._data.setdefault(rank, said.hash) != said.hash:
                        raise ValueError(other_data(self._maker.task))

    def _failure(self, codes: Sequence[int | None]) -> str:
        """Why the first rank that could not go on did not; the others end too, for want of it.

        Raises:
            ValueError: if that would come again.
        """
        of = f"of {self._maker.count}"
        for rank, code in enumerate(codes):
            if code is not None and code < 0 and code != -signal.SIGABRT:  # as a collective that lacks a rank may end
                return f"rank {rank} {of} was killed ({_name(-code)}), as for want of memory"
        for rank, word in sorted(self._left.items(), key=lambda item: item[1].time):
            if word.again:
                raise ValueError(word.why)
            return f"rank {rank} {of}: {word.why}"
        rank, code = next((rank, code) for rank, code in enumerate(codes) if code is not None)
        return f"rank {rank} {of} ended with exit code {code}"

    def dismiss(self) -> None:
        """Let the ranks come to their end."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(PATIENCE)
        self.end()

    def end(self) -> None:
        """End the ranks, whatever they do."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join(PATIENCE)
            if process.exitcode is None:
                process.kill()
                process.join()
        for pipe in self._pipes:
            pipe.close()
        self._processes.clear()
        self._pipes.clear()


@contextmanager
def group_of_one(placement: Placement) -> Iterator[None]:
    """A context in which a training that is made for several processes finds itself alone, as under `torchrun`.

    Args:
        placement: where it is to be.

    Raises:
        ValueError: if this process is one of several already.
    """
    if dist.is_initialized():
        raise ValueError(
            "processes_per_run starts the processes of a run itself, but this one is in a process group already; call "
            "lehr.compare outside of torchrun"
        )
    names = _environment(0, 0, 1, 29_500)
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    try:
        alone = dist.HashStore()  # type: ignore[attr-defined]
        dist.init_process_group(_backend(placement.at), store=alone, rank=0, world_size=1)
        yield
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


def _context() -> Any:
    """How ranks are started: forked from a process that has imported everything, where that can be had."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _environment(rank: int, local: int, count: int, port: int) -> dict[str, str]:
    """What `torchrun` tells a process on one machine."""
    return {
        "RANK": str(rank), "LOCAL_RANK": str(local), "GROUP_RANK": "0", "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": HERE, "MASTER_PORT": str(port),
    }  # fmt: skip


def spread_over(places: Sequence[str], asked: Placement, placed: Placement) -> tuple[str, ...]:
    """The devices of the ranks, in turn.

    Args:
        places: those that were named.
        asked: the placement that was asked for.
        placed: the same as it is for the task.

    Raises:
        ValueError: if accelerators are fewer than a run's processes, which would wait for each other for ever.
    """
    if placed.at.type in ("cpu", "meta"):
        return tuple(places) if len(places) > 1 else (placed.device,)
    named = len(places) > 1 or (asked.device != "auto" and asked.at.index is not None)
    count = torch.accelerator.device_count()
    found = tuple(places) if named else tuple(f"{placed.at.type}:{number}" for number in range(count))
    if len(set(found)) < placed.ranks:
        raise ValueError(
            f"processes_per_run={placed.ranks} needs as many devices, and there are {len(set(found))} "
            f"({', '.join(found)}); name more, or have fewer processes"
        )
    return found


def _backend(device: torch.device) -> str:
    kind = device.type
    return "gloo" if kind == "cpu" else f"cpu:gloo,{kind}:{dist.get_default_backend_for_device(kind)}"


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


# -- in a rank ------------------------------------------------------------------------------------------------------


def _rank(maker: InRanks, rank: int, slot: int, port: int, pipe: Any, progress: Any, start_method: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_parent, daemon=True).start()
    warnings.simplefilter("ignore", lehr.BudgetWarning)
    multiprocessing.set_start_method(start_method, force=True)
    torch.set_num_threads(maker.threads)
    place = torch.device(maker.place(slot, rank))
    if place.index is not None and torch.accelerator.is_available():
        torch.accelerator.set_device_index(place.index)  # where a user's own "cuda" is
    os.environ.update(_environment(rank, rank if place.index is None else place.index, maker.count, port))
    with _last_words(pipe):
        told(f"starting {maker.count} processes", partial(_meet, rank, maker.count, port, place))
        workload = with_the_code(maker.task, maker.data, maker.setting)
        pipe.send(_Data(told(f"the data of {maker.task}", workload.fingerprint)))
        settings = replace(maker.settings, placement=maker.settings.placement.on(str(place)))
        here = InThisProcess(workload, settings, maker.setting, maker.threads)
        with suppress(EOFError):  # there is no more to do
            while True:
                _make(here, rank, pipe.recv(), pipe, progress)
    dist.destroy_process_group()


def _meet(rank: int, count: int, port: int, place: torch.device) -> None:
    met = dist.TCPStore(HERE, port, is_master=False)  # type: ignore[attr-defined]
    store = dist.PrefixStore("ranks", met)  # type: ignore[attr-defined]
    dist.init_process_group(_backend(place), store=store, rank=rank, world_size=count)


def _make(here: InThisProcess, rank: int, order: _Order, pipe: Any, progress: Any) -> None:
    def report(part: float) -> None:
        if rank == 0:
            progress[order.index] = part

    job = told("sending a method to another process", partial(unpickled, order.sent))
    run = run_of(here, job, report)
    if run.failure is not None:
        _leave(pipe, run.failure, again=False)
    dist.barrier()  # a run is made when all have come to its end
    if rank == 0:
        with writing(order.path):
            write_run(order.path, run, here.setting)
    pipe.send(_Made())


@contextmanager
def _last_words(pipe: Any) -> Iterator[None]:
    """A context whose errors, which are sentences, are sent before this process ends."""
    try:
        yield
    except ValueError as error:
        _leave(pipe, str(error), again=True)


def _leave(pipe: Any, why: str, *, again: bool) -> NoReturn:
    """Say why this rank ends, and end, whatever else of it may still wait for the others."""
    pipe.send(_Leave(why, again, time.time()))
    os._exit(LEFT)
