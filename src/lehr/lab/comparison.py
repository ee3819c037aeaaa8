"""The comparison: which runs it consists of, and what their results amount to."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any, Final

from lehr.lab.budgets import by_budget
from lehr.lab.methods import Method
from lehr.lab.records import environment
from lehr.lab.run import Run, Settings
from lehr.lab.statistics import compare, summarise
from lehr.lab.task import Metric

SEARCH_SEED: Final = 1_000_003
"""The first seed of runs that choose a learning rate; none of the seeds that are reported."""


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

    def expected(self) -> dict[str, Any]:
        """What its run must say of itself."""
        method = self.method
        return {"method": method.name, "policy": method.code, "seed": self.seed, "lr": self.lr, "share": self.share}


@dataclass(frozen=True)
class Comparison:
    """Which methods compete, on what, and how often.

    Args:
        task: name of the task, or `path/to/file.py:function`.
        methods: the competitors.
        settings: the budget and how runs are made.
        seeds: how many runs each method gets, at least 1.
        lr_grid: peak rates of which each method gets the one best on validation.
        lr: peak rate of all methods where there is no grid; None leaves them at the task's.
        data: the folder to look for data in.
        shares: shares of the budget, below 1, at which every method runs as well, and with how many seeds.
        search_seeds: how many runs each peak rate of the grid gets, at least 1; a rate at the edge of stability may
            pass with one seed and fail with the next.
    """

    task: str
    methods: Sequence[Method]
    settings: Settings
    seeds: int = 3
    lr_grid: tuple[float, ...] = ()
    lr: float | None = None
    data: str | None = None
    shares: tuple[tuple[float, int], ...] = ()
    search_seeds: int = 1

    def setting(self, code: str | None, data: str) -> dict[str, Any]:
        """What all runs of the comparison share; a run made under another is never taken for one of it.

        Args:
            code: a hash of the user's own code, if the task is theirs.
            data: a hash of the data.
        """
        file, _, function = self.task.rpartition(":")
        task = f"{Path(file).name}:{function}" if code else self.task
        return {"task": task, "code": code, "data": data, **asdict(self.settings)}

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


def choose_rates(searched: Iterable[Run], metric: Metric) -> dict[str, float]:
    """For each method the peak rate that is best on validation in the mean of its runs.

    A rate of which a run diverged loses; between equals the lower rate wins.
    """
    scores: dict[str, dict[float, list[float]]] = {}
    for run in searched:
        scores.setdefault(run.method, {}).setdefault(run.lr, []).append(_score(run, metric))
    return {method: max(sorted(rates), key=lambda lr: fmean(rates[lr])) for method, rates in scores.items()}


def results(
    comparison: Comparison,
    setting: dict[str, Any],
    metric: Metric,
    final: Sequence[Run],
    searched: Sequence[Run],
    command: str,
) -> dict[str, Any]:
    """Everything the report says, as plain data: the contents of `results.json`."""
    every, final = final, [run for run in final if run.share == 1.0]
    rows = [_row(method, final, searched, comparison) for method in comparison.methods]
    rows.sort(key=lambda row: _rank(row, metric))
    best = rows[0]["method"] if rows[0]["test"] and not rows[0]["diverged"] else None
    by_seed = {
        row["method"]: {r.seed: r.test for r in final if r.method == row["method"] and r.test is not None}
        for row in rows
    }
    pairings = compare(by_seed, best, higher_is_better=metric.higher_is_better) if best else {}
    target = _target(best, final)
    for row in rows:
        row["against_best"] = asdict(pairings[row["method"]]) if row["method"] in pairings else None
        row["to_target"] = _to_target(row["method"], final, target, metric)
    tied = [
        row["method"] for row in rows if row["against_best"] and row["against_best"]["tied"] and not row["diverged"]
    ]
    return {
        "command": command,
        "setting": setting,
        "seeds": comparison.seeds,
        "lr": comparison.lr,
        "lr_grid": list(comparison.lr_grid),
        "search_seeds": comparison.search_seeds,
        "metric": {"name": metric.name, "higher_is_better": metric.higher_is_better, "percent": metric.percent},
        "best": best,
        "tied_with_best": tied,
        "target": target,
        "methods": rows,
        "budgets": by_budget([row["method"] for row in rows], comparison.shares, every, metric),
        "environment": environment(),
        "runs": [asdict(run) for run in final],
        "smaller_runs": [asdict(run) for run in every if run.share != 1.0],
        "search_runs": [asdict(run) for run in searched],
    }


def _row(method: Method, final: Sequence[Run], searched: Sequence[Run], comparison: Comparison) -> dict[str, Any]:
    mine = [run for run in final if run.method == method.name]
    search = [run for run in searched if run.method == method.name]
    tests = [run.test for run in mine if run.test is not None]
    validations = [run.validation for run in mine if run.validation is not None]
    lr = median(run.lr for run in mine)  # the same, unless the method finds its own
    return {
        "method": method.name,
        "policy": mine[0].policy,
        "source": method.source,
        "lr": lr,
        "lr_at_edge": bool(search)
        and len(comparison.lr_grid) > 1
        and lr in (min(comparison.lr_grid), max(comparison.lr_grid)),
        "finds_peak": method.finds_peak,
        "diverged": [{"seed": run.seed, "update": run.diverged_at} for run in mine if run.diverged_at is not None],
        "test": asdict(summarise(tests)) if tests else None,
        "validation": asdict(summarise(validations)) if validations else None,
        "cost": _cost(mine),
        "search_cost": {**_cost(search), "diverged": sum(run.diverged_at is not None for run in search)},
    }


def _cost(runs: Sequence[Run]) -> dict[str, float]:
    return {
        "runs": len(runs),
        "updates": sum(run.updates for run in runs),
        "seconds": sum(run.seconds for run in runs),
        "forward_passes": sum(run.forward_passes for run in runs),
        "evaluation_passes": sum(run.evaluation_passes for run in runs),
    }


def _rank(row: dict[str, Any], metric: Metric) -> tuple[int, float]:
    """Methods without a diverged run first, then by mean test result."""
    if row["test"] is None:
        return len(row["diverged"]), math.inf
    return len(row["diverged"]), -row["test"]["mean"] if metric.higher_is_better else row["test"]["mean"]


def _score(run: Run, metric: Metric) -> float:
    if run.validation is None:
        return -math.inf
    return run.validation if metric.higher_is_better else -run.validation


def _target(best: str | None, final: Sequence[Run]) -> float | None:
    """The winner's mean result on validation, for the others to reach."""
    values = [run.validation for run in final if run.method == best and run.validation is not None]
    return sum(values) / len(values) if values else None


def _to_target(method: str, final: Sequence[Run], target: float | None, metric: Metric) -> dict[str, Any] | None:
    """How many runs came to the target on validation, and the median updates and seconds of those that did."""
    if target is None:
        return None
    sign = 1.0 if metric.higher_is_better else -1.0
    mine = [run for run in final if run.method == method]
    hits = [next((row for row in run.curve if sign * row["validation"] >= sign * target), None) for run in mine]
    reached = [row for row in hits if row is not None]
    return {
        "reached": len(reached),
        "of": len(mine),
        "updates": median(row["update"] for row in reached) if reached else None,
        "seconds": median(row["seconds"] for row in reached) if reached else None,
    }
