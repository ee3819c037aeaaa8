"""FreezeOut where it saves a tenth of the time: makes the runs that are missing, or measures what is really saved.

    python run.py resnet --processes 3        # the runs
    python run.py resnet --measure            # the time of updates, alone on the machine

Killed at any time, the same command goes on.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

import lehr
from lehr import lab
from lehr.lab import models, networks
from lehr.lab.files import write_json
from lehr.lab.loop import Workload
from lehr.lab.records import environment

HERE = Path(__file__).parent
SAVED, SEEDS, SEARCH = 0.1, 3, 1_000_003
LONGER = 1.0 / (1.0 - SAVED)
PLAIN = "cosine"
STRATEGIES = {
    f"{how}, {'scaled' if scaled else 'unscaled'}": (how, scaled)
    for how in ("linear", "squared", "cubic")
    for scaled in (True, False)
}


@dataclass(frozen=True)
class Network:
    """What is trained, for how many updates, and from which peak rates the best is chosen for the plain cosine."""

    task: str
    updates: int
    grid: tuple[float, ...]
    measured: int


NETWORKS = {
    "resnet": Network("cifar10", 2_000, (0.03, 0.1, 0.3, 1.0), 400),
    "resnet18": Network("cifar10", 1_000, (0.1,), 150),
    "minilm": Network("minilm-polarity", 1_168, (1e-5, 3e-5, 1e-4, 3e-4), 200),
}


class Job(NamedTuple):
    network: str
    method: str
    seed: int
    share: float = 1.0
    lr: float | None = None

    @property
    def file(self) -> Path:
        name = self.method.replace(", ", "-")
        rate = f"_lr-{self.lr:g}" if self.lr is not None else ""
        return HERE / "runs" / f"{self.network}_{name}_share-{self.share:.3f}{rate}_seed-{self.seed}.json"


@cache
def workload(network: str) -> Workload:
    task = lab.load_task(NETWORKS[network].task)
    if network == "resnet":
        task = replace(
            task, model=partial(models.small_resnet, blocks=2, width=8), batch_size=64,
            optimizer=lambda model: torch.optim.SGD(
                model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4
            ),
        )  # fmt: skip
    elif network == "resnet18":
        task = replace(task, model=networks.network("resnet18", 3, 32, 10))
    return task.workload()


@cache
def plan_text(network: str, name: str) -> str:
    """The strategy as code, with the t0 that is predicted to save a tenth."""
    how, scaled = STRATEGIES[name]
    loop = workload(network).loop(0)
    plan = lehr.FreezeOut(lehr.layers_of(loop.model, loop.example()), how=how, scale_lr=scaled)
    t0 = lehr.freeze_savings(loop.model, loop.example(), plan).plan_for(SAVED).t0
    return f"FreezeOut(t0={t0:.6f}, how='{how}', scale_lr={scaled})"


def code(network: str, method: str) -> str:
    return "cosine" if method == PLAIN else plan_text(network, method)


def make(network: str, method: str, updates: int, seed: int, lr: float, share: float, *, test: bool) -> dict[str, Any]:
    torch.set_num_threads(1)
    text = code(network, method)
    settings = lab.Settings(f"{updates}steps", evaluations=4)
    run = lab.train(workload(network), lab.load_methods(text)[0], settings, seed, lr, share=share, look_at_test=test)
    kept = {name: value for name, value in asdict(run).items() if name not in ("rates", "decisions", "curve")}
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return {"network": network, "method": method, "plan": text, "run": kept, "device": device}


def train(job: Job) -> str:
    if job.file.exists():
        return f"{job.file.name}: there already"
    lr = job.lr if job.lr is not None else best_rate(job.network)
    updates = NETWORKS[job.network].updates
    made = make(job.network, job.method, updates, job.seed, lr, job.share, test=job.seed < SEARCH)
    write_json(job.file, {**made, "environment": environment()}, indent=None)
    return f"{job.file.name}: {made['run']['validation']}, {made['run']['seconds']:.0f} s"


def best_rate(network: str) -> float:
    """The peak rate that is best on validation, for the plain cosine."""
    found = {
        lr: json.loads(Job(network, PLAIN, SEARCH, lr=lr).file.read_text())["run"]["validation"] or 0.0
        for lr in NETWORKS[network].grid
    }
    return max(found, key=lambda lr: found[lr])


def run_all(network: str, processes: int) -> None:
    search = [Job(network, PLAIN, SEARCH, lr=lr) for lr in NETWORKS[network].grid]
    final = [
        Job(network, method, seed, share)
        for seed in range(SEEDS)
        for method, shares in ((PLAIN, (1.0, 1.0 - SAVED)), *((name, (1.0, LONGER)) for name in STRATEGIES))
        for share in shares
    ]
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        for jobs in (search, final):
            for said in pool.map(train, jobs):
                print(said, flush=True)


def measure(network: str, rounds: int = 3) -> None:
    """Seconds of a short run by each strategy and by none, in turn."""
    updates = NETWORKS[network].measured
    make(network, PLAIN, 30, 0, 1e-3, 1.0, test=False)
    rows = []
    for turn in range(rounds):
        for method in (PLAIN, *STRATEGIES):
            made = make(network, method, updates, 0, 1e-3, 1.0, test=False)
            rows.append({"round": turn, "method": method, "plan": made["plan"], "seconds": made["run"]["seconds"]})
    plain = [row["seconds"] for row in rows if row["method"] == PLAIN]
    for method in STRATEGIES:
        own = [row["seconds"] for row in rows if row["method"] == method]
        saved = [1.0 - mine / whole for mine, whole in zip(own, plain, strict=True)]
        print(
            f"{network}, {method}: {sum(saved) / rounds:.1%} saved, {' '.join(f'{one:.1%}' for one in saved)}",
            flush=True,
        )
    where = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.cuda.get_device_name() if where == "cuda" else "cpu"
    write_json(
        HERE / f"measured_{network}_{where}.json",
        {"network": network, "updates": updates, "device": device, "rows": rows, "environment": environment()},
        indent=None,
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--measure", action="store_true")
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.network)
    else:
        run_all(arguments.network, arguments.processes)


if __name__ == "__main__":
    main()
