"""Making runs: in parallel processes, or one after the other in this one, with the same results."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Protocol

import torch

import lehr
from lehr.lab.comparison import Job
from lehr.lab.failures import message, ran_out_of_memory, told
from lehr.lab.loop import Workload
from lehr.lab.records import write_run
from lehr.lab.results import Setting
from lehr.lab.run import Run, Settings, train
from lehr.lab.signals import end_with_parent, interrupts_ignored, interrupts_wait
from lehr.lab.tasks import code_of, load_task

Watcher = Callable[[list[tuple[Job, float]], int, int], None]
"""Is given now and then: the jobs under way with their progress, how many runs there are, and will be."""


def cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Maker(Protocol):
    """Makes runs and writes their files, telling `watch` the jobs under way and how many are done."""

    def __call__(
        self, jobs: Sequence[Job], runs: Path, watch: Callable[[list[tuple[Job, float]], int], None]
    ) -> None: ...


@dataclass(frozen=True)
class InThisProcess:
    """Makes runs one after the other in this process, and leaves its threads and random numbers as they were.

    Args:
        workload: what to train.
        settings: how.
        setting: what to write into the files.
        threads: of torch.
    """

    workload: Workload
    settings: Settings
    setting: Setting
    threads: int

    def __call__(self, jobs: Sequence[Job], runs: Path, watch: Callable[[list[tuple[Job, float]], int], None]) -> None:
        with undisturbed(self.threads):
            for done, job in enumerate(jobs):
                watch([(job, 0.0)], done)
                _make(self, job, runs / job.file, partial(_report, watch, job, done))
        watch([], len(jobs))


@dataclass(frozen=True)
class InProcesses:
    """Makes runs in parallel processes, which find the task by its name.

    Args:
        task: its name.
        data: the folder to look for data in.
        settings: how to train.
        setting: what to write into the files.
        processes: how many at a time.
        threads: of torch in each.
        places: the devices over which the processes are spread, in turn.
    """

    task: str
    data: str | None
    settings: Settings
    setting: Setting
    processes: int
    threads: int
    places: tuple[str, ...]

    @contextmanager
    def opened(self, most: int) -> Iterator[Maker]:
        """The maker of up to so many runs, whose processes start with the first and end with the context."""
        context = multiprocessing.get_context("spawn")
        try:
            with interrupts_wait():  # or a process of multiprocessing's own would hear them
                progress, started = context.Array("d", most), context.Value("i", 0)
            pool = ProcessPoolExecutor(
                min(self.processes, most),
                context,
                initializer=_start_worker,
                initargs=(progress, started, self.places, self.threads, multiprocessing.get_start_method()),
            )
        except OSError as error:
            raise ValueError(no_process(error)) from error
        try:
            yield partial(self._make, pool, progress)
        except BaseException:
            with interrupts_ignored():  # a second one must not find the workers half stopped
                for process in list((pool._processes or {}).values()):  # there is no public way before Python 3.14
                    process.terminate()
                pool.shutdown(wait=True, cancel_futures=True)
            raise
        pool.shutdown(wait=True)

    def _make(
        self,
        pool: ProcessPoolExecutor,
        progress: Any,
        jobs: Sequence[Job],
        runs: Path,
        watch: Callable[[list[tuple[Job, float]], int], None],
    ) -> None:
        sent = [pickled(job) for job in jobs]
        waiting, done = list(enumerate(jobs)), 0
        futures: dict[Future[None], tuple[int, Job]] = {}
        while waiting or futures:
            while waiting and len(futures) < self.processes:  # no queue ahead, so that an interrupt has none to cancel
                index, job = waiting.pop(0)
                progress[index] = 0.0
                futures[self._submit(pool, job, sent[index], runs / job.file, index)] = (index, job)
            finished, _ = wait(futures, timeout=0.1, return_when=FIRST_COMPLETED)
            for future in finished:
                _, job = futures.pop(future)
                try:
                    future.result()
                except BrokenProcessPool:
                    raise ValueError(_died(job)) from None
                done += 1
            watch([(job, progress[index]) for index, job in futures.values()], done)

    def _submit(self, pool: ProcessPoolExecutor, job: Job, sent: bytes, path: Path, index: int) -> Future[None]:
        try:
            with interrupts_wait():  # new processes inherit that, so that Ctrl-C reaches this one alone
                return pool.submit(_work, self, job.method.name, sent, path, index)
        except BrokenProcessPool:
            raise ValueError(_died(job)) from None
        except OSError as error:
            raise ValueError(no_process(error)) from error


def _report(watch: Callable[[list[tuple[Job, float]], int], None], job: Job, done: int, progress: float) -> None:
    watch([(job, progress)], done)


@contextmanager
def undisturbed(threads: int) -> Iterator[None]:
    """A context with that many threads in which runs are made as in a process of their own; then all is as before."""
    count, random = torch.get_num_threads(), lehr.RandomState()
    before = random.state_dict()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lehr.BudgetWarning)  # a diverged run ends early and says so in its file
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(count)
            random.load_state_dict(before)


def _make(maker: InThisProcess, job: Job, path: Path, report: Callable[[float], None]) -> None:
    run = run_of(maker, job, report)
    with writing(path):
        write_run(path, run, maker.setting)


def run_of(maker: InThisProcess, job: Job, report: Callable[[float], None]) -> Run:
    """What comes of a job, with errors of the task in one sentence."""

    def make() -> Run:
        try:
            return train(
                maker.workload, job.method, maker.settings, job.seed, job.lr,
                share=job.share, look_at_test=not job.searches, report=report,
            )  # fmt: skip
        except Exception as error:
            if isinstance(error, lehr.NoSuggestion):
                failure = message(error)
            elif ran_out_of_memory(error):
                failure = f"out of memory on {maker.settings.placement.at}: {message(error)}"
            else:
                raise
            return failed(job, failure)

    return told(f"training {maker.setting.task} with {job.method.name}", make)


def failed(job: Job, failure: str) -> Run:
    """The run of a job that could not be made."""
    return Run(
        job.method.name, job.method.code, job.seed, job.lr or 0.0, share=job.share, diverged_at=0, failure=failure
    )


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """A context that says in one sentence why a run's file cannot be written."""
    try:
        yield
    except OSError as error:
        raise ValueError(
            f"{path} cannot be written ({error.strerror or error}); the runs finished so far are kept, and the same "
            "command goes on from there"
        ) from None


# -- in a worker ----------------------------------------------------------------------------------------------------

_progress: Any = None
_place = ""


def _start_worker(progress: Any, started: Any, places: Sequence[str], threads: int, start_method: str) -> None:
    global _progress, _place  # noqa: PLW0603 - an initializer has no other way to hand something to the work
    _progress = progress
    with started.get_lock():
        _place = places[started.value % len(places)]
        started.value += 1
    if (index := torch.device(_place).index) is not None and torch.accelerator.is_available():
        torch.accelerator.set_device_index(index)  # where a user's own "cuda" is
    torch.set_num_threads(threads)
    multiprocessing.set_start_method(start_method, force=True)  # for loaders' workers, which this process would spawn
    threading.Thread(target=end_with_parent, daemon=True).start()
    warnings.simplefilter("ignore", lehr.BudgetWarning)


@lru_cache(maxsize=1)
def loaded(name: str, data: str | None, setting: Setting) -> Workload:
    """The task as this process sees it, which must be as the others see it."""
    found = with_the_code(name, data, setting)
    if told(f"the data of {name}", found.fingerprint) != setting.data:
        raise ValueError(other_data(name))
    return found


def with_the_code(name: str, data: str | None, setting: Setting) -> Workload:
    """The task as this process sees it, whose code must be that of the setting."""
    task = load_task(name, data)
    found = told(f"loading the data of {name}", task.workload)
    if code_of(name) != setting.code:
        raise ValueError(f"the code of {name} changed while it was compared; give the command again with another --out")
    return found


def other_data(name: str) -> str:
    """What to say of a task whose data differ between processes."""
    return f"{name} makes other data in each process, so runs cannot be compared; give its random numbers a fixed seed"


def _work(order: InProcesses, method: str, sent: bytes, path: Path, index: int) -> None:
    def report(progress: float) -> None:
        _progress[index] = progress

    job = told(f"sending {method} to another process", partial(unpickled, sent))
    workload = loaded(order.task, order.data, order.setting)
    settings = replace(order.settings, placement=order.settings.placement.on(_place))
    _make(InThisProcess(workload, settings, order.setting, order.threads), job, path, report)


# -- jobs and sentences ----------------------------------------------------------------------------------------------


def pickled(job: Job) -> bytes:
    """The job as bytes for another process.

    Raises:
        ValueError: if its method cannot be sent.
    """
    try:
        return pickle.dumps(job)
    except Exception as error:
        raise ValueError(
            f"the method {job.method.name} cannot be sent to other processes ({error}); leave processes out, so that "
            "its runs are made in this one"
        ) from None


def unpickled(sent: bytes) -> Job:
    """The job that `pickled` sent."""
    job: Job = pickle.loads(sent)  # noqa: S301 - from the process that started this one
    return job


def _died(job: Job) -> str:
    return (
        f"a process died while training {job.method.name} (out of memory or of open files?); the runs finished so far "
        "are kept, and the same command, perhaps with fewer --processes, goes on from there"
    )


def no_process(error: OSError) -> str:
    """What to say where a process cannot be started."""
    return (
        f"no process can be started to make runs in ({error.strerror or error}); the runs finished so far are kept, "
        "and the same command with fewer --processes goes on from there"
    )
