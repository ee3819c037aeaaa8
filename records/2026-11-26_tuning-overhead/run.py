"""What looking costs by the clock: seconds of whole runs with LRTuner, with the learned schedule, and with neither.

    python run.py digits            # and resnet, tinyshakespeare; alone on a core, one thread
    python run.py --table           # what the files say

Rounds that are there are kept, so the same command goes on.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from time import perf_counter
from typing import Any

import torch
from scipy import stats

import lehr
from lehr import lab
from lehr.lab import models
from lehr.lab.files import write_json
from lehr.lab.loop import Loop, Workload
from lehr.lab.records import environment
from lehr.lab.statistics import LEVEL, holm

HERE = Path(__file__).parent
ROUNDS, BOUND = 5, 0.05
PLAIN, LOOKING = "linear", ("lrtuner", "learned")


@dataclass(frozen=True)
class Network:
    """What is trained for how many updates, and at which rate the line and the tuner start."""

    task: str
    updates: int
    lr: float


NETWORKS = {
    "digits": Network("digits", 2_000, 0.1),
    "resnet": Network("cifar10", 500, 0.1),
    "tinyshakespeare": Network("tinyshakespeare", 500, 1e-3),
}
TOLD = 1e-6
"""The rate that the tuner is told."""


def workload(name: str) -> Workload:
    task = lab.load_task(NETWORKS[name].task)
    if name == "resnet":
        task = replace(
            task, model=partial(models.small_resnet, blocks=2, width=8), batch_size=64,
            optimizer=lambda model: torch.optim.SGD(
                model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4
            ),
        )  # fmt: skip
    return task.workload()


def training_of(name: str, task: Workload, method: str, updates: int) -> tuple[Loop, Iterator[float]]:
    """A training at its start, and its updates."""
    loop = task.loop(0)
    loop.set_peak(TOLD if method == "lrtuner" else NETWORKS[name].lr)
    policy = lab.METHODS[method].policy(loop)
    assert isinstance(policy, lehr.Policy | lehr.Schedule)
    return loop, iter(loop.run(lehr.Scheduler(loop.training, policy, lehr.Budget(steps=updates))))


def seconds_of(name: str, task: Workload, updates: int, number: int) -> dict[str, dict[str, float]]:
    """Seconds and probe passes of each method; every update is made by all of them, in an order that changes."""
    methods = [PLAIN, *LOOKING]
    trainings = {method: training_of(name, task, method, updates) for method in methods}
    seconds = dict.fromkeys(methods, 0.0)
    chance = random.Random(number)  # noqa: S311 - no secret
    for _ in range(updates):
        chance.shuffle(methods)
        for method in methods:
            begun = perf_counter()
            next(trainings[method][1])
            seconds[method] += perf_counter() - begun
    return {
        method: {"seconds": seconds[method], "probe_passes": loop.probe_passes}
        for method, (loop, _) in trainings.items()
    }


def measure(name: str) -> None:
    torch.set_num_threads(1)
    task, updates = workload(name), NETWORKS[name].updates
    seconds_of(name, task, 20, 0)  # whatever comes up at first
    for number in range(ROUNDS):
        file = HERE / "runs" / f"{name}_round-{number}.json"
        if file.exists():
            continue
        found = seconds_of(name, task, updates, number)
        write_json(file, {"network": name, "updates": updates, **found, "environment": environment()}, indent=None)
        longer = {method: found[method]["seconds"] / found[PLAIN]["seconds"] - 1.0 for method in LOOKING}
        print(name, number, {method: f"{share:+.1%}" for method, share in longer.items()}, flush=True)


def table() -> None:
    tests: dict[str, tuple[float, float]] = {}
    rows: dict[str, tuple[list[float], float, float]] = {}
    for name in NETWORKS:
        rounds = [json.loads(file.read_text()) for file in sorted((HERE / "runs").glob(f"{name}_round-*.json"))]
        for method in LOOKING:
            longer = [one[method]["seconds"] / one[PLAIN]["seconds"] - 1.0 for one in rounds]
            passes = fmean(one[method]["probe_passes"] / 3.0 / one["updates"] for one in rounds)
            plain = fmean(one[PLAIN]["seconds"] / one["updates"] for one in rounds)
            rows[f"{name}, {method}"] = (longer, passes, plain)
            tests[f"{name}, {method}"] = (
                float(stats.ttest_1samp(longer, BOUND, alternative="less").pvalue),
                float(stats.ttest_1samp(longer, BOUND, alternative="greater").pvalue),
            )
    within, beyond = (holm({key: both[side] for key, both in tests.items()}) for side in (0, 1))
    print("| network, method | an update of the line (ms) | longer (%) | by its passes (%) | p, within 5 % | verdict |")
    print("|---|---:|---:|---:|---:|---|")
    summary: dict[str, Any] = {}
    for key, (longer, passes, plain) in rows.items():
        verdict = "holds" if within[key] < LEVEL else "contradicted" if beyond[key] < LEVEL else "cannot tell"
        spread = f"{100.0 * fmean(longer):+.1f} ± {100.0 * stdev(longer):.1f}"
        print(f"| {key} | {1e3 * plain:.1f} | {spread} | {100.0 * passes:.1f} | {within[key]:.3f} | **{verdict}** |")
        summary[key] = {
            "longer": {"n": len(longer), "mean": 100.0 * fmean(longer), "sd": 100.0 * stdev(longer)},
            "by_passes": 100.0 * passes, "milliseconds": 1e3 * plain, "p_within": within[key], "verdict": verdict,
        }  # fmt: skip
    write_json(HERE / "summary.json", summary, indent=1)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("network", nargs="?", choices=NETWORKS)
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    if arguments.network:
        measure(arguments.network)
    if arguments.table:
        table()


if __name__ == "__main__":
    main()
