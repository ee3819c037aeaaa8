"""The suite: makes the runs of a comparison, and only those that are not there yet."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Final

from lehr._arguments import whole_argument
from lehr.lab.comparison import Comparison, Job, choose_rates, results
from lehr.lab.failures import told
from lehr.lab.files import write_text
from lehr.lab.folder import alone_in
from lehr.lab.launch import InRanks, group_of_one, spread_over
from lehr.lab.loop import Trainable, Workload
from lehr.lab.on_ray import OnRay, Order, RayCluster
from lehr.lab.records import read_run
from lehr.lab.results import Results
from lehr.lab.run import Run, Settings
from lehr.lab.statements import state
from lehr.lab.tasks import code_of, file_of, load_task, with_file
from lehr.lab.workers import InProcesses, InThisProcess, Maker, Watcher, cores, undisturbed

MOST_PROCESSES: Final = 512
MOST_THREADS: Final = 1024


def run_comparison(
    comparison: Comparison,
    out: str | Path,
    *,
    command: str = "",
    task: Trainable | None = None,
    processes: int | None = None,
    threads: int = 1,
    places: Sequence[str] = (),
    on: RayCluster | None = None,
    watch: Watcher = lambda under_way, done, total: None,
) -> Results:
    """Make every run that `out` does not hold yet, and write `results.json`, and `claims.json` if there are claims.

    Args:
        comparison: what competes.
        out: the folder for the runs, made if need be.
        command: how to do it again, for the report.
        task: an object to train, whatever `comparison.task` names; it is then only what the report calls it.
        processes: how many runs to make at a time, each in a process of its own that finds the task by its name, from 1
            to 512; None makes them one after the other in this process, with the same results, which is the only way
            for an object. Runs of several processes each are made in those, one after the other for None.
        threads: how many threads a run gets, from 1 to 1,024.
        places: the devices over which the processes are spread, of one kind, the first being that of the settings;
            empty for that one alone.
        on: the Ray on which to make the runs instead, which finds the task by its name too; there `processes` is how
            many it makes at a time where it is started for them, and None as many as there are cores.
        watch: is given the progress.

    Raises:
        ValueError: if the task cannot be loaded, `out` holds damaged runs or those of another comparison, or other
            processes could not find the task.
        OSError: if `out` cannot be written.

    >>> import tempfile
    >>> from lehr import lab
    >>> comparison = lab.Comparison("digits", lab.load_methods("linear"), lab.Settings("4steps"), seeds=1)
    >>> run_comparison(comparison, tempfile.mkdtemp()).total.updates
    4
    """
    given = task if task is not None else None if isinstance(comparison.task, str) else comparison.task
    processes = None if processes is None else whole_argument("processes", processes, most=MOST_PROCESSES)
    threads = whole_argument("threads", threads, most=MOST_THREADS)
    ranks = comparison.settings.placement.ranks
    if given is not None and (what := elsewhere(processes, ranks, on)):
        raise ValueError(
            f"{what} needs a task that other processes can find, a name such as 'mine.py:make_task'; "
            f"leave {what.partition('=')[0]} out, and the object is trained in this process"
        )
    places = tuple(places)
    _check_places(places, ranks, processes, on)
    out, name = Path(out).absolute(), _absolute(comparison.title)
    # here, before processes start: errors are told once, and caches are full
    chosen = given if given is not None else load_task(comparison.title, comparison.data)
    with undisturbed(threads), group_of_one(comparison.settings.placement) if ranks > 1 else nullcontext():
        workload = told(f"loading the data of {comparison.title}", chosen.workload)
        settings = told(f"the settings of {comparison.title}", lambda: _settings(comparison, workload, on))
        accumulate = settings.placement.accumulate
        told(f"the budget of {comparison.title}", lambda: workload.budget_of(settings.budget, accumulate))
        code = code_of(comparison.title) if given is None else told("the task", workload.likeness)
        data = told(f"the data of {comparison.title}", workload.fingerprint)
    for place in places if on is None else ():
        settings.placement.on(place).check()
    setting = comparison.setting(code, data, settings)
    folder = comparison.data and str(Path(comparison.data).absolute())
    maker: AbstractContextManager[Maker]
    if on is not None:
        maker = nullcontext(OnRay(Order.here(name, folder, settings, setting, threads), on, processes or cores()))
    elif ranks > 1:
        spread = spread_over(places, comparison.settings.placement, settings.placement)
        maker = nullcontext(InRanks(name, folder, settings, setting, processes or 1, threads, spread))
    elif processes is None:
        maker = nullcontext(InThisProcess(workload, settings, setting, threads))
    else:
        spread = tuple(places) if len(places) > 1 else (settings.placement.device,)
        maker = InProcesses(name, folder, settings, setting, processes, threads, spread).opened(comparison.runs)
    with alone_in(out) as runs, maker as make:

        def every(jobs: Sequence[Job], before: int) -> list[Run]:
            made = {job.file: read_run(runs / job.file, setting, job) for job in jobs if (runs / job.file).exists()}
            missing = [job for job in jobs if job.file not in made]
            if missing:
                there = before + len(made)
                make(missing, runs, lambda under_way, done: watch(under_way, there + done, comparison.runs))
                made |= {job.file: read_run(runs / job.file, setting, job) for job in missing}
            return [made[job.file] for job in jobs]

        searched = every(comparison.search(), 0)
        jobs = comparison.final(choose_rates(searched, chosen.criterion))
        # the search has not looked at the test set
        state(out, comparison.claims, comparison.seeds, [job.method.name for job in jobs if (runs / job.file).exists()])
        final = every(jobs, len(searched))
        found = results(comparison, setting, chosen.criterion, final, searched, command)
        write_text(out / "results.json", found.to_json())
        return found


def elsewhere(processes: int | None, ranks: int, on: RayCluster | None) -> str:
    """The argument for which runs are made in other processes; empty if they are made in this one."""
    if on is not None:
        return f"on={on}"
    if processes is not None:
        return f"processes={processes}"
    return "" if ranks == 1 else f"processes_per_run={ranks}"


def _settings(comparison: Comparison, workload: Workload, on: RayCluster | None) -> Settings:
    """How the runs are made; whether a node of a cluster has the device shows there."""
    given = comparison.settings
    if on is None:
        return given.for_task(workload)
    there = on.place(given.placement)
    found = replace(given, placement=given.placement.on("cpu")).for_task(workload)
    return replace(found, placement=found.placement.on(there))


def _absolute(name: str) -> str:
    """A task's name that means the same to a process in another folder."""
    file = file_of(name)
    return name if file is None else with_file(name, file.absolute())


def _check_places(places: Sequence[str], ranks: int, processes: int | None, on: RayCluster | None) -> None:
    devices = f"device={', '.join(places)}"
    if len(places) > 1 and on is not None:
        raise ValueError(
            f"{devices} is for processes of this machine; on Ray give one kind, such as cuda, and the cluster gpus"
        )
    if ranks > 1 and on is not None:
        raise ValueError(f"processes_per_run={ranks} is for processes of this machine; on Ray a run is one process")
    if len(places) > 1 and processes is None and ranks == 1:
        raise ValueError(f"{devices} needs processes, in which runs are made on them; give processes=")
