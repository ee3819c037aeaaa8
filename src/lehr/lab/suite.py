"""The suite: makes the runs of a comparison in parallel processes, and only those that are not there yet."""

from __future__ import annotations

import multiprocessing
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

import lehr
from lehr.lab.comparison import Comparison, Job, choose_rates, results
from lehr.lab.data import Data, fingerprint
from lehr.lab.failures import told
from lehr.lab.files import write_json
from lehr.lab.methods import load_methods
from lehr.lab.records import read_run, write_run
from lehr.lab.run import Run, Settings, budget_for, train
from lehr.lab.task import Task
from lehr.lab.tasks import load_task, sources

Watcher = Callable[[list[tuple[Job, float]], int, int], None]
"""Told now and then: the jobs under way with their progress, how many runs are there, and how many there will be."""


def run_comparison(
    comparison: Comparison,
    out: Path,
    *,
    command: str,
    task: Task | None = None,
    processes: int = 1,
    threads: int = 1,
    watch: Watcher = lambda under_way, done, total: None,
) -> dict[str, Any]:
    """Make every run that `out` does not hold yet, and write `results.json`.

    Args:
        comparison: what competes.
        out: the folder for the runs, made if need be.
        command: how to do it again, for the report.
        task: the comparison's task, if it is at hand; else it is loaded by its name.
        processes: how many runs to make at a time.
        threads: how many threads a run gets.
        watch: told of the progress.

    Returns:
        What `results.json` holds.

    Raises:
        ValueError: if the task cannot be loaded, or `out` holds damaged runs or those of another comparison.
        OSError: if `out` cannot be written.
    """
    runs = out / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    with _alone_in(out):
        for part in runs.glob(".*.json.*"):  # left by a process that was killed while it wrote
            part.unlink()
        task = task or load_task(comparison.task, comparison.data)
        # here, before processes start: errors are told once, and caches are full
        data = told(f"loading the data of {comparison.task}", task.load)
        budget_for(task, data, comparison.settings.budget)
        setting = comparison.setting(sources(comparison.task), fingerprint(data))
        total = len(comparison.search()) + len(comparison.final({}))

        def make(jobs: Sequence[Job], before: int) -> list[Run]:
            made = {job: _read(runs, job, setting) for job in jobs if (runs / job.file).exists()}
            missing = [job for job in jobs if job not in made]
            if missing:
                work = partial(_work, comparison.task, comparison.data, comparison.settings, setting)
                _in_processes(
                    work, missing, runs, min(processes, len(missing)), threads, watch, before + len(made), total
                )
                made |= {job: _read(runs, job, setting) for job in missing}
            return [made[job] for job in jobs]

        searched = make(comparison.search(), 0)
        final = make(comparison.final(choose_rates(searched, task.metric)), len(searched))
        found = results(comparison, setting, task.metric, final, searched, command)
        write_json(out / "results.json", found)
        return found


def _read(runs: Path, job: Job, setting: dict[str, Any]) -> Run:
    return read_run(runs / job.file, setting, job.expected())


@contextmanager
def _alone_in(out: Path) -> Iterator[None]:
    """Two comparisons in one folder would make every run twice."""
    lock = FileLock(out / ".lock", timeout=0)
    try:
        with lock:
            yield
    except Timeout:
        raise ValueError(f"another lehr compare is working in {out}; wait for it, or choose another --out") from None
    (out / ".lock").unlink(missing_ok=True)


def _in_processes(
    work: Callable[..., None],
    jobs: Sequence[Job],
    runs: Path,
    processes: int,
    threads: int,
    watch: Watcher,
    done: int,
    total: int,
) -> None:
    context = multiprocessing.get_context("spawn")
    progress = context.Array("d", len(jobs))
    waiting = list(enumerate(jobs))
    pool = ProcessPoolExecutor(processes, context, initializer=_start_worker, initargs=(progress, threads))
    futures: dict[Future[None], tuple[int, Job]] = {}
    try:
        while waiting or futures:
            while waiting and len(futures) < processes:  # no queue ahead, so that an interrupt finds nothing to cancel
                index, job = waiting.pop(0)
                future = pool.submit(work, job.method.name, job.lr, job.seed, job.share, runs / job.file, index)
                futures[future] = (index, job)
            finished, _ = wait(futures, timeout=0.1, return_when=FIRST_COMPLETED)
            for future in finished:
                _, job = futures.pop(future)
                try:
                    future.result()
                except BrokenProcessPool:
                    raise ValueError(
                        f"a process died while training {job.method.name} (out of memory?); the runs finished so far "
                        "are kept, and the same command, perhaps with fewer --processes, goes on from there"
                    ) from None
                done += 1
            watch([(job, progress[index]) for index, job in futures.values()], done, total)
    except BaseException:
        for process in list((pool._processes or {}).values()):  # there is no public way before Python 3.14
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_progress: Any = None


def _start_worker(progress: Any, threads: int) -> None:
    global _progress  # noqa: PLW0603 - an initializer has no other way to hand a shared array to the work
    _progress = progress
    torch.set_num_threads(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # a diverged run ends early and says so in its file
    warnings.simplefilter("ignore", lehr.BudgetWarning)


def _end_with_parent() -> None:
    """A worker whose parent was killed would otherwise wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@lru_cache(maxsize=1)
def _loaded(name: str, data: str | None, code: str | None, numbers: str) -> tuple[Task, Data]:
    """The task as this process sees it, which must be as the others see it."""
    task = load_task(name, data)
    loaded = task.load()
    if sources(name) != code:
        raise ValueError(f"the code of {name} changed while it was compared; give the command again with another --out")
    if fingerprint(loaded) != numbers:
        raise ValueError(
            f"{name} makes other data in each process, so runs cannot be compared; give its random numbers a fixed seed"
        )
    return task, loaded


def _work(
    task_name: str,
    folder: str | None,
    settings: Settings,
    setting: dict[str, Any],
    method_name: str,
    lr: float | None,
    seed: int,
    share: float,
    path: Path,
    index: int,
) -> None:
    def report(progress: float) -> None:
        _progress[index] = progress

    def make() -> Run:
        task, data = _loaded(task_name, folder, setting["code"], setting["data"])
        return train(
            task, data, job.method, settings, seed, lr, share=share, look_at_test=not job.searches, report=report
        )

    job = Job(load_methods(method_name)[0], lr, seed, share)
    write_run(path, told(f"training {task_name} with {method_name}", make), setting)
