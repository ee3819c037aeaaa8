"""Making runs on Ray, on this machine or on a cluster, with the same results. Needs `lehr[ray]`."""

from __future__ import annotations

import multiprocessing
import os
import platform
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch

import lehr
from lehr._arguments import number_argument, text_argument
from lehr._numbers import COUNTLESS, shown
from lehr.lab.comparison import Job
from lehr.lab.failures import told
from lehr.lab.files import write_text
from lehr.lab.placement import Placement, accelerator
from lehr.lab.records import text_of
from lehr.lab.results import Setting
from lehr.lab.run import Settings
from lehr.lab.tasks import file_of, with_file
from lehr.lab.workers import InThisProcess, loaded, pickled, run_of, unpickled, writing

RETRIES: Final = 3
"""How often a run is begun anew whose worker was lost."""

AHEAD: Final = 1_000
"""How many runs are handed out before the first of them is back: enough for a cluster to see that it must grow."""

SAYS_EVERY: Final = 0.5
"""Seconds between two reports of a run's progress, and before the first, so that short runs need none."""

WRITERS: Final = 8
"""How many files are written at a time, most of which is waiting for the disk."""


@dataclass(frozen=True)
class RayCluster:
    """Where Ray makes runs.

    Args:
        address: of the cluster, such as "auto" or "10.0.0.1:6379"; None for that of RAY_ADDRESS or, where that is not
            set, for a Ray that is started on this machine and ended with the comparison.
        gpus: how many GPUs a run gets, at least 0; with 0.25 four runs share one.

    Raises:
        ValueError: if `gpus` is no such number.

    >>> RayCluster(gpus=0.25).place(Placement(device="cuda")), RayCluster().place(Placement(device="auto"))
    ('cuda', 'cpu')
    """

    address: str | None = None
    gpus: float = 0.0

    def __post_init__(self) -> None:
        if self.address is not None:
            text_argument("RayCluster: address", self.address)
        given = number_argument("RayCluster: gpus", self.gpus, 0.0, COUNTLESS)
        object.__setattr__(self, "gpus", given)
        if given > 1.0 and given != int(given):
            raise ValueError(f"RayCluster: gpus must be a share of one GPU or a whole number; got {shown(given)}")

    def place(self, placement: Placement) -> str:
        """The device on which a run computes there; "auto" is an accelerator where runs get GPUs, else the CPU.

        Args:
            placement: of the settings.

        Raises:
            ValueError: if it names one of several, or a GPU where runs get none.
        """
        if placement.device == "auto":
            return "cpu" if not self.gpus else "cuda" if accelerator() == "cpu" else accelerator()
        if placement.kind.device != placement.device:
            raise ValueError(
                f"device={placement.device}: Ray says which GPU a run gets; give device={placement.kind.device}"
            )
        if placement.device == "cuda" and not self.gpus:
            raise ValueError("device=cuda: a run on Ray sees no GPU unless it gets one; give gpus, such as 1 or 0.25")
        return placement.device


@dataclass(frozen=True)
class Order:
    """How a process that knows a task by its name makes runs of it.

    Args:
        task: its name, with the whole path of a user's file.
        inside: the same name, with the path from the folder in which the comparison was started.
        data: the folder to look for data in.
        settings: how to train.
        setting: what to write into the files.
        threads: of torch.
        start_method: of the processes that loaders start.
        version: of lehr.
    """

    task: str
    inside: str
    data: str | None
    settings: Settings
    setting: Setting
    threads: int
    start_method: str | None
    version: str

    @classmethod
    def here(cls, task: str, data: str | None, settings: Settings, setting: Setting, threads: int) -> Order:
        """The order of a comparison that this process makes."""
        file, folder = file_of(task), Path.cwd()
        inside = with_file(task, file.relative_to(folder)) if file and file.is_relative_to(folder) else task
        return cls(task, inside, data, settings, setting, threads, multiprocessing.get_start_method(), lehr.__version__)

    def make(self, sent: bytes, report: Callable[[float], None]) -> str:
        """What the file of a job's run is to hold."""
        if lehr.__version__ != self.version:
            raise ValueError(
                f"{platform.node()} has lehr {lehr.__version__}, but the comparison was started with {self.version}; "
                "install the same version on all nodes"
            )
        name = self._name()
        torch.set_num_threads(self.threads)
        multiprocessing.set_start_method(self.start_method, force=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", lehr.BudgetWarning)
            job: Job = told(f"sending a method to {platform.node()}", partial(unpickled, sent))
            workload = loaded(name, self.data, self.setting)
            run = run_of(InThisProcess(workload, self.settings, self.setting, self.threads), job, report)
        return text_of(run, self.setting)

    def _name(self) -> str:
        for name in (self.task, self.inside):  # in a folder that all nodes share, or in the one that Ray has brought
            file = file_of(name)
            if file is None or file.is_file():
                return name
        raise ValueError(
            f"{platform.node()} has no file {file_of(self.task)}; start the comparison with `ray job submit "
            "--working-dir . -- lehr compare --on ray ...`, which brings the folder to all nodes, or keep the file in "
            "a folder that they share"
        )


@dataclass(frozen=True)
class OnRay:
    """Makes runs on Ray, each a task of its own, and writes their files here.

    A run whose worker is lost, with its process or its machine, is begun anew; an error of the user's code would come
    again and ends the comparison. The runs depend on their seeds alone, so they are those that processes would make.

    Args:
        order: what to make.
        cluster: where.
        processes: how many runs at a time in a Ray that is started for them; a cluster makes as many as it has room
            for.
    """

    order: Order
    cluster: RayCluster
    processes: int

    def __call__(self, jobs: Sequence[Job], runs: Path, watch: Callable[[list[tuple[Job, float]], int], None]) -> None:
        sent = [pickled(job) for job in jobs]
        with (
            connected(self.cluster, self.processes * self.order.threads) as ray,
            ThreadPoolExecutor(WRITERS) as writers,
        ):
            board = _board(ray)
            make = ray.remote(
                num_cpus=self.order.threads, num_gpus=self.cluster.gpus, max_retries=RETRIES, retry_exceptions=False
            )(_make)
            shared = ray.put((self.order, board))  # once, not with every run
            under_way: dict[Any, int] = {}
            begun, done = 0, 0
            progress: dict[int, float] = {}
            news = board.news.remote()
            try:
                while begun < len(jobs) or under_way:
                    while begun < len(jobs) and len(under_way) < AHEAD:
                        under_way[make.remote(shared, sent[begun], begun)] = begun
                        begun += 1
                    finished, _ = ray.wait(list(under_way), num_returns=len(under_way), timeout=0.1)
                    made = [(one, under_way.pop(one)) for one in finished]
                    written = [writers.submit(_write, ray, one, jobs[index], runs) for one, index in made]
                    wait(written)  # all of them, before one of them may say what went wrong
                    for one in written:
                        one.result()
                    for _, index in made:
                        progress.pop(index, None)
                    done += len(made)
                    news = _note(ray, board, progress, news)
                    ahead = set(under_way.values())
                    watch([(jobs[i], progress[i]) for i in sorted(ahead & progress.keys())], done)
            finally:
                for one in under_way:
                    ray.cancel(one, force=True)
                ray.kill(board)


@contextmanager
def connected(cluster: RayCluster, processors: int) -> Iterator[Any]:
    """A context with the module `ray`, connected to the cluster or to a Ray of this machine, which is ended after it.

    A connection that is there already is used, and left as it was.

    Raises:
        ValueError: if Ray is not installed, the cluster does not answer, or a Ray of this machine has too few GPUs.
    """
    try:
        import ray
    except ModuleNotFoundError:
        raise ValueError("making runs on Ray needs Ray: pip install 'lehr[ray]'") from None
    if ray.is_initialized():
        yield ray
        return
    address = cluster.address or os.environ.get("RAY_ADDRESS")
    local = address in (None, "local")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if local and cluster.gpus > (there := torch.accelerator.device_count()):
        raise ValueError(
            f"a run is to get {cluster.gpus:g} GPUs, but this machine has {there}; give fewer gpus, or the address of "
            "a cluster"
        )
    own: dict[str, Any] = {"num_cpus": processors, "include_dashboard": False} if local else {}
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level="error", **own)
    except Exception as error:  # Ray raises whatever it likes
        said = " ".join(str(error).split())[:300]
        raise ValueError(
            f"Ray cannot be started on this machine: {said}"
            if local
            else f"there is no Ray at {address}: {said}; give the address of a cluster that runs, or leave it out to "
            "start Ray on this machine"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _board(ray: Any) -> Any:
    """Where the runs under way say how far they are."""

    class Board:  # in here, so that it is sent whole: its process need not import torch
        def __init__(self) -> None:
            self.progress: dict[int, float] = {}

        def say(self, index: int, progress: float) -> None:
            self.progress[index] = progress

        def news(self) -> dict[int, float]:
            said, self.progress = self.progress, {}
            return said

    return ray.remote(num_cpus=0)(Board).remote()


def _note(ray: Any, board: Any, progress: dict[int, float], news: Any) -> Any:
    """Note the board's news, if it has answered; the next question. A board that was lost says nothing more."""
    answered, _ = ray.wait([news], timeout=0.0)
    if not answered:
        return news
    try:
        progress.update(ray.get(news))
    except ray.exceptions.RayError:
        return news
    return board.news.remote()


def _make(shared: tuple[Order, Any], sent: bytes, index: int) -> str:
    """In a worker of Ray: one run."""
    order, board = shared
    next_time = time.monotonic() + SAYS_EVERY

    def report(progress: float) -> None:
        nonlocal next_time
        if time.monotonic() >= next_time:
            next_time = time.monotonic() + SAYS_EVERY
            board.say.remote(index, progress)

    return order.make(sent, report)


def _write(ray: Any, one: Any, job: Job, runs: Path) -> None:
    """Write the file of a run that is made."""
    text = _result(ray, one, job)
    with writing(runs / job.file):
        write_text(runs / job.file, text)


def _result(ray: Any, one: Any, job: Job) -> str:
    try:
        text: str = ray.get(one)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        raise (cause if isinstance(cause, ValueError) else ValueError(f"{job.method.name}: {cause}")) from None
    except ray.exceptions.RayError as error:
        raise ValueError(
            f"training {job.method.name} on Ray failed {RETRIES + 1} times: {' '.join(str(error).split())[:500]}; the "
            "runs finished so far are kept, and the same command goes on from there"
        ) from None
    return text
