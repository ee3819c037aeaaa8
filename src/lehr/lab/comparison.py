"""The comparison: which runs it consists of, and what their results amount to."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median
from typing import Any, Final

from lehr._arguments import number_argument, whole_argument
from lehr._numbers import LARGEST, SMALLEST, real, shown
from lehr.lab.budgets import by_budget
from lehr.lab.claims import Claim, load_claims
from lehr.lab.loop import Trainable
from lehr.lab.methods import Method
from lehr.lab.metric import Criterion
from lehr.lab.records import here
from lehr.lab.results import Cost, Divergence, MethodResult, Results, Setting, ToTarget
from lehr.lab.run import Evaluation, Run, Settings
from lehr.lab.statistics import compare, summarise
from lehr.lab.tasks import file_of, with_file

SEARCH_SEED: Final = 1_000_003
"""The first seed of runs that choose a learning rate; none of the seeds that are reported."""

MOST_RUNS: Final = 100_000
"""More would fill a folder that no file system likes."""


@dataclass(frozen=True)
class Job:
    """One run to make: a method at a peak rate (None: the task's), from a seed, on a share of the budget."""

    method: Method
    lr: float | None
    seed: int
    share: float = 1.0

    @property
    def searches(self) -> bool:
        """Whether the run only serves to choose a rate, and so must not look at the test set."""
        return self.seed >= SEARCH_SEED

    @property
    def file(self) -> str:
        """The name of its file, readable and unique."""
        name = self.method.name
        if not re.fullmatch(r"[\w-]+", name):
            name = (
                f"{re.sub(r'[^A-Za-z0-9]+', '-', name).strip('-')[:40]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
            )
        rate = "task" if self.lr is None else repr(self.lr)
        part = "" if self.share == 1.0 else f"_share-{self.share:g}"
        searches = "search" if self.seed == SEARCH_SEED else f"search-{self.seed - SEARCH_SEED}"
        return f"{name}_lr-{rate}_{searches if self.searches else f'seed-{self.seed}'}{part}.json"

    def unlike(self, run: Run) -> str:
        """What `run` says of itself that is not so of this job, as text; empty if it is its run."""
        method = self.method
        pairs = [
            ("method", run.method, method.name), ("policy", run.policy, method.code), ("seed", run.seed, self.seed),
            ("lr", run.lr, run.lr if self.lr is None else self.lr), ("share", run.share, self.share),
        ]  # fmt: skip
        return ", ".join(f"{name} {there!r} there, {here!r} here" for name, there, here in pairs if there != here)


@dataclass(frozen=True)
class Comparison:
    """Which methods compete, on what, and how often.

    Args:
        task: name of the task, `path/to/file.py:function`, or the `Task` or `TrainingTask` itself, which no other
            process can find again and which is therefore trained in this one.
        methods: the competitors.
        settings: the budget and how runs are made.
        seeds: how many runs each method gets, at least 1.
        lr_grid: peak rates of which each method gets the one best on validation.
        lr: peak rate of all methods where there is no grid; None leaves them at the task's.
        data: the folder to look for data in.
        shares: shares of the budget, below 1, at which every method runs as well, and with how many seeds.
        search_seeds: how many runs each peak rate of the grid gets, at least 1; a rate at the edge of stability may
            pass with one seed and fail with the next.
        claims: about its methods, stated before its runs.

    Raises:
        TypeError: if an argument is of the wrong kind.
        ValueError: if an argument makes no sense, or there would be more than 100,000 runs.

    >>> from lehr import lab
    >>> methods = lab.load_methods("linear, step")
    >>> Comparison("digits", methods, lab.Settings("20steps"), seeds=3, lr_grid=(0.1, 0.3)).runs
    10
    """

    task: str | Trainable
    methods: Sequence[Method]
    settings: Settings
    seeds: int = 3
    lr_grid: tuple[float, ...] = ()
    lr: float | None = None
    data: str | None = None
    shares: tuple[tuple[float, int], ...] = ()
    search_seeds: int = 1
    claims: tuple[Claim, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.task, str | Trainable):
            raise TypeError(
                f"Comparison: task must be a name, a lehr.lab.Task or a lehr.lab.TrainingTask; got {shown(self.task)}"
            )
        if not isinstance(self.settings, Settings):
            raise TypeError(f"Comparison: settings must be lehr.lab.Settings; got {shown(self.settings)}")
        object.__setattr__(self, "methods", _listed("methods", self.methods))
        if wrong := [method for method in self.methods if not isinstance(method, Method)]:
            raise TypeError(
                f"Comparison: methods must be a list of what lehr.lab.load_methods gives; got {shown(wrong[0])} in it"
            )
        names = [method.name for method in self.methods]
        if not names:
            raise ValueError("Comparison: methods is empty; give at least one")
        if len(set(names)) < len(names):
            raise ValueError(f"Comparison: methods has {next(n for n in names if names.count(n) > 1)} twice")
        object.__setattr__(self, "claims", tuple(load_claims(self.claims)))
        _check_claims(self.claims, names)
        if self.lr is not None:
            object.__setattr__(self, "lr", _rate("lr", self.lr))
        object.__setattr__(self, "lr_grid", tuple(_rate("lr_grid", rate) for rate in _listed("lr_grid", self.lr_grid)))
        if self.lr is not None and self.lr_grid:
            raise ValueError("Comparison: lr and lr_grid exclude each other")
        for name in ("seeds", "search_seeds"):
            object.__setattr__(self, name, whole_argument(f"Comparison: {name}", getattr(self, name)))
        object.__setattr__(self, "shares", tuple(_share(pair) for pair in _listed("shares", self.shares)))
        counts = {"seeds": self.seeds, "search_seeds": self.search_seeds}
        counts |= {f"the seeds of the share {share:g}": seeds for share, seeds in self.shares}
        if self.runs > MOST_RUNS:
            largest = max(counts, key=lambda name: counts[name])
            raise ValueError(
                f"{largest}={counts[largest]} makes {self.runs:,} runs; a comparison has at most {MOST_RUNS:,}"
            )

    @property
    def runs(self) -> int:
        """How many runs it consists of."""
        searching = sum(not method.finds_peak for method in self.methods)
        reported = self.seeds + sum(seeds for _, seeds in self.shares)
        return searching * len(self.lr_grid) * self.search_seeds + len(self.methods) * reported

    @property
    def title(self) -> str:
        """What the report calls the task."""
        return self.task if isinstance(self.task, str) else self.task.about or "a task"

    def setting(self, code: str | None, data: str, settings: Settings) -> Setting:
        """What all runs of the comparison share; a run made under another is never taken for one of it.

        Args:
            code: a hash of the user's own code, if the task is theirs.
            data: a hash of the data.
            settings: how its runs are made, as they are for the task.
        """
        file = file_of(self.title) if isinstance(self.task, str) else None
        name = self.title if file is None else with_file(self.title, Path(file.name))  # wherever its folder lies
        return Setting(name, code, data, settings.budget, settings.evaluations, settings.placement.kind)

    def search(self) -> list[Job]:
        """The runs that choose learning rates."""
        seeds = range(SEARCH_SEED, SEARCH_SEED + self.search_seeds)
        methods = [method for method in self.methods if not method.finds_peak]
        return [Job(method, lr, seed) for seed in seeds for method in methods for lr in self.lr_grid]

    def final(self, rates: dict[str, float]) -> list[Job]:
        """The runs that are reported, at the rates chosen; those with fewer seeds than others end earlier."""
        shares = (*self.shares, (1.0, self.seeds))
        return [
            Job(method, None if method.finds_peak else rates.get(method.name, self.lr), seed, share)
            for seed in range(max(seeds for _, seeds in shares))
            for share, seeds in reversed(shares)  # the long runs first, which packs them better
            if seed < seeds
            for method in self.methods
        ]


def _rate(name: str, given: object) -> float:
    return number_argument(f"Comparison: {name}", given, SMALLEST, LARGEST)


def _listed(name: str, given: object) -> tuple[Any, ...]:
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
        raise TypeError(f"Comparison: {name} must be a list; got {shown(given)}")
    return tuple(given)


def _share(pair: Any) -> tuple[float, int]:
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        raise TypeError(f"Comparison: shares must be a list of pairs, a share and its seeds; got {shown(pair)}")
    share, seeds = pair
    number = real(share)
    if number is None or not 0.0 < number < 1.0:
        raise ValueError(f"Comparison: shares must be above 0 and below 1; got {shown(share)}")
    return number, whole_argument(f"Comparison: seeds of the share {number:g}", seeds)


def _check_claims(claims: Sequence[Claim], names: Sequence[str]) -> None:
    for claim in claims:
        if unknown := [name for name in (claim.better, claim.worse) if name not in names]:
            raise ValueError(
                f'Comparison: the claim "{claim}" is about {unknown[0]!r}, which is not among the methods '
                f"{', '.join(names)}; name it there too"
            )


def choose_rates(searched: Iterable[Run], metric: Criterion) -> dict[str, float]:
    """For each method the peak rate that is best on validation in the mean of its runs.

    A rate of which a run diverged loses; between equals the lower rate wins.
    """
    scores: dict[str, dict[float, list[float]]] = {}
    for run in searched:
        scores.setdefault(run.method, {}).setdefault(run.lr, []).append(_score(run, metric))
    return {method: max(sorted(rates), key=lambda lr: fmean(rates[lr])) for method, rates in scores.items()}


def results(
    comparison: Comparison,
    setting: Setting,
    metric: Criterion,
    every: Sequence[Run],
    searched: Sequence[Run],
    command: str,
) -> Results:
    """What the runs amount to: everything the report says.

    Args:
        comparison: which methods competed.
        setting: what its runs share.
        metric: how the deciding number reads.
        every: the runs that are reported, at all shares of the budget.
        searched: the runs that chose rates.
        command: how to do it again.
    """
    final = [run for run in every if run.share == 1.0]
    rows = sorted((_row(method, final, searched, comparison) for method in comparison.methods), key=_rank(metric))
    best = rows[0].method if rows[0].test and not rows[0].diverged else None
    by_seed = {
        row.method: {run.seed: run.test for run in final if run.method == row.method and run.test is not None}
        for row in rows
    }
    pairings = compare(by_seed, best, higher_is_better=metric.higher_is_better) if best else {}
    target = _target(best, final)
    rows = [
        replace(row, against_best=pairings.get(row.method), to_target=_to_target(row.method, final, target, metric))
        for row in rows
    ]
    return Results(
        command=command,
        setting=setting,
        seeds=comparison.seeds,
        lr=comparison.lr,
        lr_grid=tuple(comparison.lr_grid),
        search_seeds=comparison.search_seeds,
        metric=metric,
        best=best,
        tied_with_best=tuple(
            row.method for row in rows if row.against_best and row.against_best.tied and not row.diverged
        ),
        target=target,
        methods=tuple(rows),
        budgets=by_budget([row.method for row in rows], comparison.shares, every, metric),
        environment=here(),
        runs=tuple(final),
        smaller_runs=tuple(run for run in every if run.share != 1.0),
        search_runs=tuple(searched),
    )


def _row(method: Method, final: Sequence[Run], searched: Sequence[Run], comparison: Comparison) -> MethodResult:
    mine = [run for run in final if run.method == method.name]
    search = [run for run in searched if run.method == method.name]
    tests = [run.test for run in mine if run.test is not None]
    validations = [run.validation for run in mine if run.validation is not None]
    rates, grid = [run.lr for run in mine if run.failure is None] or [run.lr for run in mine], comparison.lr_grid
    lr = median(rates)  # the same, unless the method finds its own
    return MethodResult(
        method=method.name,
        policy=mine[0].policy,
        source=method.source,
        lr=lr,
        lr_at_edge=bool(search) and len(grid) > 1 and lr in (min(grid), max(grid)),
        finds_peak=method.finds_peak,
        diverged=tuple(
            Divergence(run.seed, run.diverged_at, run.failure) for run in mine if run.diverged_at is not None
        ),
        test=summarise(tests) if tests else None,
        validation=summarise(validations) if validations else None,
        cost=Cost.of(mine),
        search_cost=Cost.of(search),
    )


def _rank(metric: Criterion) -> Callable[[MethodResult], tuple[int, float]]:
    """Methods without a diverged run first, then by mean test result."""
    return lambda row: (len(row.diverged), math.inf if row.test is None else -metric.sign * row.test.mean)


def _score(run: Run, metric: Criterion) -> float:
    return -math.inf if run.validation is None else metric.sign * run.validation


def _target(best: str | None, final: Sequence[Run]) -> float | None:
    """The winner's mean result on validation, for the others to reach."""
    values = [run.validation for run in final if run.method == best and run.validation is not None]
    return sum(values) / len(values) if values else None


def _to_target(method: str, final: Sequence[Run], target: float | None, metric: Criterion) -> ToTarget | None:
    """How many runs came to the target on validation, and the median updates and seconds of those that did."""
    if target is None:
        return None
    mine = [run for run in final if run.method == method]
    hits = [next((row for row in run.curve if _comes_to(target, row, metric)), None) for run in mine]
    reached = [row for row in hits if row is not None]
    return ToTarget(
        reached=len(reached),
        of=len(mine),
        updates=float(median(row.update for row in reached)) if reached else None,
        seconds=median(row.seconds for row in reached) if reached else None,
    )


def _comes_to(target: float, row: Evaluation, metric: Criterion) -> bool:
    return row.validation is not None and metric.sign * row.validation >= metric.sign * target
