"""The front door: a comparison in one call, from a script or a notebook."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from inspect import unwrap
from pathlib import Path
from types import FunctionType

from lehr._arguments import whole_argument
from lehr._numbers import floats, shown
from lehr.lab.claims import Claim, load_claims
from lehr.lab.comparison import Comparison
from lehr.lab.failures import told
from lehr.lab.loop import Trainable
from lehr.lab.methods import Competitor, load_methods
from lehr.lab.on_ray import RayCluster
from lehr.lab.placement import Placement, Precision, devices
from lehr.lab.report import write_report
from lehr.lab.results import Results
from lehr.lab.run import Settings
from lehr.lab.suite import elsewhere, run_comparison
from lehr.lab.workers import Watcher


def compare(
    task: Trainable | str | Callable[[], Trainable],
    methods: str | Sequence[Competitor] = ("linear", "cosine", "step", "one_cycle", "rex", "constant"),
    *,
    budget: str = "",
    seeds: int = 3,
    lr_grid: Sequence[float] = (),
    lr: float | None = None,
    shares: Sequence[float] = (),
    search_seeds: int = 1,
    claims: Claim | str | Iterable[Claim | str] = (),
    evaluations: int = 20,
    device: str | Sequence[str] = "auto",
    precision: Precision = "fp32",
    compile: bool = False,  # noqa: A002 - as torch calls it
    accumulate: int = 1,
    processes_per_run: int = 1,
    data: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    processes: int | None = None,
    threads: int = 1,
    on: RayCluster | None = None,
    watch: Watcher = lambda under_way, done, total: None,
) -> Results:
    """Train every method with every seed under the same budget, and say which won and how sure that is.

    Args:
        task: a `Task` or `TrainingTask`; or a function that makes one; or a name: one of `TASKS`, or
            `path/to/file.py:function`.
        methods: the competitors: names, expressions, schedules, policies or methods.
        budget: what each run may spend, such as "500steps", "10ep" or "90s"; empty for what the task says.
        seeds: runs of each method, at least 1.
        lr_grid: peak rates, above 0, of which each method gets the one best on validation.
        lr: peak rate of all methods where there is no grid; None leaves them at the task's.
        shares: shares of the budget, below 1, at which every method runs as well.
        search_seeds: runs of each rate of the grid, at least 1.
        claims: what is to be shown, such as "knee > linear"; they are written down in `out` before the runs, and the
            report says of each whether it holds.
        evaluations: how often a run is validated, at least 1.
        device: "cpu", or an accelerator such as "cuda:1", or several such, over which processes are spread; "auto" for
            the accelerator of this machine, or where a `TrainingTask` makes its training.
        precision: "fp32", or "bf16" or "fp16" for mixed precision, the latter with a gradient scaler.
        compile: whether networks are compiled.
        accumulate: batches whose gradients make one update, at least 1.
        processes_per_run: processes that train a run together, at least 1, started as by `torchrun`. They find the task
            by its name, or the function in its file; a `Task` shares out its batches, and a `TrainingTask` does in
            `make_training` what it would do under `torchrun`.
        data: the folder to look for data in.
        out: a folder for the runs, `results.json` and `report.html`, where the same call goes on if it was interrupted;
            None keeps nothing.
        processes: how many runs to make at a time, in processes of their own that find the task by its name, or the
            function in its file; None makes them one after the other in this one, the only way for an object.
        threads: how many threads each process of a run gets.
        on: the Ray on which to make the runs, on this machine or a cluster; it finds the task by its name too.
        watch: is given the progress.

    Raises:
        ValueError: if an argument makes no sense.
        TypeError: if `task` or `methods` is of another type.

    >>> import lehr
    >>> results = lehr.compare("digits", ["linear", lehr.Constant()], budget="20steps", seeds=2)
    >>> sorted(results.names), results.total.runs
    (['Constant()', 'linear'], 4)
    """
    places = devices(",".join(_texts("device", device)))
    _check(data, out, on, watch)
    stated = tuple(load_claims(claims))
    rates, parts = _numbers("lr_grid", lr_grid), _numbers("shares", shares)
    processes_per_run = whole_argument("processes_per_run", processes_per_run)
    comparison = Comparison(
        task=_task(task, elsewhere(processes, processes_per_run, on)),
        methods=load_methods(methods),
        settings=Settings(budget, evaluations, Placement(places[0], precision, compile, accumulate, processes_per_run)),
        seeds=seeds,
        lr_grid=rates,
        lr=lr,
        data=None if data is None else os.fspath(data),
        shares=tuple((share, seeds) for share in parts),
        search_seeds=search_seeds,
        claims=stated,
    )
    names = [method.name for method in comparison.methods]
    arguments: list[tuple[str, object, object]] = [  # name, value, usual value
        ("methods", names, None), ("budget", budget, ""), ("seeds", comparison.seeds, None),
        ("lr_grid", rates, ()), ("lr", comparison.lr, None), ("shares", parts, ()),
        ("search_seeds", comparison.search_seeds, 1), ("claims", [str(claim) for claim in stated], []),
        ("evaluations", comparison.settings.evaluations, 20),
        ("device", ",".join(places), "auto"), ("precision", precision, "fp32"),
        ("compile", compile, False), ("accumulate", comparison.settings.placement.accumulate, 1),
        ("processes_per_run", processes_per_run, 1),
        ("data", comparison.data, None),
    ]  # fmt: skip
    said = ", ".join(f"{name}={value!r}" for name, value, usual in arguments if value != usual)
    command = f"lehr.compare({comparison.title!r}, {said})"

    def made(folder: Path) -> Results:
        return run_comparison(
            comparison, folder, command=command, processes=processes, threads=threads, places=places, on=on, watch=watch
        )

    if out is None:
        with tempfile.TemporaryDirectory(prefix="lehr-") as folder:
            return made(Path(folder))
    found = made(Path(out))
    write_report(Path(out))
    return found


def _numbers(name: str, given: object) -> tuple[float, ...]:
    """Those of a list, each once, from the smallest on."""
    numbers = floats(given)
    if numbers is None:
        raise ValueError(f"{name} must be a list of numbers; got {shown(given)}")
    return tuple(sorted(set(numbers)))


def _texts(name: str, given: object) -> list[str]:
    """A text alone, or a list of such."""
    several = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    texts = [text for text in several if isinstance(text, str)]
    if len(texts) < len(several):
        raise TypeError(f"{name} must be a text or a list of such; got {shown(given)}")
    return texts


def _check(data: object, out: object, on: object, watch: object) -> None:
    for name, folder in (("data", data), ("out", out)):
        if folder is not None and not isinstance(folder, str | os.PathLike):
            raise TypeError(f"{name} must name a folder, or be None; got {shown(folder)}")
    if on is not None and not isinstance(on, RayCluster):
        raise TypeError(f"on must be a lehr.lab.RayCluster, or None for this machine; got {shown(on)}")
    if not callable(watch):
        raise TypeError(f"watch must be a function of the runs under way, done and in all; got {shown(watch)}")


def _task(given: Trainable | str | Callable[[], Trainable], what: str) -> Trainable | str:
    """The task, or the name by which other processes find the function that makes it.

    Args:
        given: by the user.
        what: the argument for which there are other processes; empty if there are none.
    """
    if isinstance(given, str | Trainable) or not callable(given):
        return given
    if not what:
        return told(f"{getattr(given, '__name__', 'the task')}()", given)
    function = unwrap(given)
    if not isinstance(function, FunctionType) or "<" in function.__qualname__ or "." in function.__qualname__:
        raise ValueError(
            f"{what} needs a function that other processes can find, on the top level of a file; leave "
            f"{what.partition('=')[0]} out, and the task is trained in this process"
        )
    return f"{function.__code__.co_filename}:{function.__qualname__}"
