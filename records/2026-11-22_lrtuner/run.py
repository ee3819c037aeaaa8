"""LRTuner from starts over four decades, beside schedules at their tuned peaks and rules that move the rate.

    python run.py [task ...]

For each task: the peak rate of every schedule is chosen on validation, with a seed of its own; then all are run with
three seeds. Killed at any time, the same command goes on.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch

from lehr import lab
from lehr.lab.files import write_json
from lehr.lab.loop import Workload
from lehr.lab.records import environment

HERE = Path(__file__).parent
SEEDS, SEARCH = 3, 1_000_003
SGD, ADAMW = (0.01, 0.03, 0.1, 0.3, 1.0), (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
TASKS = {  # budget and rates to search
    "digits": ("20epochs", SGD),
    "fashion-mnist": ("500steps", SGD),
    "tinyshakespeare": ("400steps", ADAMW),
    "cifar10": ("500steps", SGD),
}
SCHEDULES = ("linear", "warmup_linear", "knee", "cosine", "constant")
STARTS = (1e-4, 5e-3, 0.3)
ALL_STARTS = (1e-4, 7e-4, 5e-3, 0.04, 0.3, 1.0)
RIVALS = ("plateau", "gen", "lqa")
RIVALS_STARTS = (0.01, 1.0)
SHARES = (0.25, 0.5, 0.75)


class Job(NamedTuple):
    task: str
    method: str
    seed: int
    lr: float
    share: float = 1.0
    start: float | None = None

    @property
    def file(self) -> Path:
        start = "" if self.start is None else f"_start-{self.start:g}"
        share = "" if self.share == 1.0 else f"_share-{self.share:g}"
        return HERE / "runs" / f"{self.task}_{self.method}_lr-{self.lr:.4g}{start}{share}_seed-{self.seed}.json"


@cache
def workload(name: str) -> Workload:
    return lab.load_task(name).workload()


def train(job: Job) -> dict[str, object]:
    if not job.file.exists():
        search = job.seed >= SEARCH
        run = lab.train(
            workload(job.task), lab.load_methods(job.method)[0],
            lab.Settings(TASKS[job.task][0], evaluations=1 if search else 8), job.seed, job.lr,
            share=job.share, look_at_test=not search,
        )  # fmt: skip
        write_json(job.file, {"job": job._asdict(), "run": asdict(run), "environment": environment()}, indent=None)
        print(f"{job.file.stem}: {run.validation}, {run.seconds:.0f} s", flush=True)
    run_made: dict[str, object] = json.loads(job.file.read_text())["run"]
    return run_made


def best(name: str, method: str) -> float:
    """The peak rate of that schedule that is best on validation.

    For linear the whole grid; for the others linear's best and its neighbours, and on while the best is at an end.
    """
    sign = 1.0 if workload(name).criterion.higher_is_better else -1.0
    grid = TASKS[name][1]

    def score(lr: float) -> float:
        found = train(Job(name, method, SEARCH, lr))["validation"]
        return sign * float(found) if isinstance(found, float) else float("-inf")

    if method == "linear":
        return max(grid, key=score)
    middle = grid.index(best(name, "linear"))
    low, high = max(0, middle - 1), min(len(grid) - 1, middle + 1)
    while True:
        found = max(grid[low : high + 1], key=score)
        if found == grid[low] and low > 0:
            low -= 1
        elif found == grid[high] and high < len(grid) - 1:
            high += 1
        else:
            return found


def jobs(name: str) -> Iterator[Job]:
    peak = best(name, "linear")
    for seed in range(SEEDS):
        for start in ALL_STARTS if name == "digits" else STARTS:
            yield Job(name, "lrtuner", seed, peak * start, start=start)
        for method in SCHEDULES:
            yield Job(name, method, seed, best(name, method))
    for seed in range(SEEDS):
        for share in SHARES:
            yield Job(name, "warmup_linear", seed, best(name, "warmup_linear"), share)
    for seed in range(SEEDS):
        for method in (*RIVALS, "qlabgrad") if name == "digits" else RIVALS:
            for start in RIVALS_STARTS if name == "digits" else RIVALS_STARTS[:1]:
                yield Job(name, method, seed, peak * start, start=start)


def main() -> None:
    torch.set_num_threads(1)
    for name in sys.argv[1:] or TASKS:
        for job in jobs(name):
            train(job)


if __name__ == "__main__":
    main()
