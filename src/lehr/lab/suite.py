"""The suite: makes the runs of a comparison in parallel processes, and only those that are not there yet."""

from __future__ import annotations

import multiprocessing
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch

import lehr
from lehr.lab.comparison import Comparison, Job, choose_rates, results
from lehr.lab.data import Data
from lehr.lab.failures import told
from lehr.lab.files import write_json
from lehr.lab.methods import load_methods
from lehr.lab.records import read_run, write_run
from lehr.lab.task import Task
from lehr.lab.tasks import load_task
from lehr.lab.train import Run, Settings, budget_for, train

Watcher = Callable[[list[tuple[Job, float]], int, int], None]
"""Told now and then: the jobs under way with their progress, how many runs are there, and how many there will be."""


def run_comparison(
    comparison: Comparison,
    out: Path,
    *,
    command: str,
    processes: int = 1,
    threads: int = 1,
    watch: Watcher = lambda under_way, done, total: None,
) -> dict[str, Any]:
    """Make every run that `out` does not hold yet, and write `results.json`.

    Args:
        comparison: what competes.
        out: the folder for the runs, made if need be.
        command: how to do it again, for the report.
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
    write_json(out / ".writable", {})
    (out / ".writable").unlink()
    task = load_task(comparison.task, comparison.data)
    data = told(
        f"loading the data of {comparison.task}", task.load
    )  # here, before processes start: errors once, caches full
    budget_for(task, data, comparison.settings.budget)
    metric = task.metric
    final_count = comparison.seeds * len(comparison.methods)
    total = len(comparison.search()) + final_count

    def make(jobs: Sequence[Job], before: int) -> list[Run]:
        made = {job: read_run(runs / job.file, setting) for job in jobs if (runs / job.file).exists()}
        missing = [job for job in jobs if job not in made]
        if missing:
            _in_processes(comparison, missing, runs, processes, threads, watch, before + len(made), total)
            made |= {job: read_run(runs / job.file, setting) for job in missing}
        return [made[job] for job in jobs]

    setting = comparison.setting()
    searched = make(comparison.search(), 0)
    final = make(comparison.final(choose_rates(searched, metric)), len(searched))
    found = results(comparison, metric, final, searched, command)
    write_json(out / "results.json", found)
    return found


def _in_processes(
    comparison: Comparison,
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
    work = partial(_work, comparison.task, comparison.data, comparison.settings, comparison.setting())
    waiting = list(enumerate(jobs))
    pool = ProcessPoolExecutor(
        min(processes, len(jobs)), mp_context=context, initializer=_start_worker, initargs=(progress, threads)
    )
    futures: dict[Future[None], tuple[int, Job]] = {}
    try:
        while waiting or futures:
            while waiting and len(futures) < processes:  # no queue ahead, so that an interrupt finds nothing to cancel
                index, job = waiting.pop(0)
                future = pool.submit(work, job.method.name, job.lr, job.seed, runs / job.file, index)
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
    # a diverged run ends early and says so in its file
    warnings.simplefilter("ignore", lehr.BudgetWarning)


@lru_cache(maxsize=1)
def _loaded(name: str, data: str | None) -> tuple[Task, Data]:
    task = load_task(name, data)
    return task, task.load()


def _work(
    task_name: str,
    folder: str | None,
    settings: Settings,
    setting: dict[str, Any],
    method_name: str,
    lr: float | None,
    seed: int,
    path: Path,
    index: int,
) -> None:
    def report(progress: float) -> None:
        _progress[index] = progress

    def make() -> Run:
        task, data = _loaded(task_name, folder)
        return train(task, data, job.method, settings, seed, lr, look_at_test=not job.searches, report=report)

    job = Job(load_methods(method_name)[0], lr, seed)
    write_run(path, told(f"training {task_name} with {method_name}", make), setting)
