"""FreezeOut's claim on CIFAR-10: makes the runs that are missing, two at a time, a thread each.

    python run.py

For each network: the peak rate of a plain cosine is chosen on validation; then, with that rate, every strategy of
FreezeOut, and the plain cosine fitted to the full number of updates and to shares of it, which is the fair rival where
time counts. Killed at any time, the same command goes on.
"""

from __future__ import annotations

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import torch

import lehr
from lehr import lab
from lehr.lab import deep_models, models
from lehr.lab.files import write_json
from lehr.lab.loop import Workload
from lehr.lab.records import environment

HERE = Path(__file__).parent
UPDATES, BATCH, SEEDS = 1_000, 64, 3
GRID = (0.03, 0.1, 0.3, 1.0)
SHARES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
NETWORKS = {
    "densenet": partial(deep_models.densenet_bc, growth=8, depth=16),
    "resnet": partial(models.small_resnet, blocks=2, width=8),
}
STRATEGIES = [
    f"FreezeOut(t0={t0}, how='{how}', scale_lr={scaled})"
    for how in ("cubic", "linear", "squared")
    for scaled in (True, False)
    for t0 in (0.8, 0.5)
]
SEARCH = 1_000_003


class Job(NamedTuple):
    network: str
    method: str
    seed: int
    share: float = 1.0
    lr: float | None = None

    @property
    def file(self) -> Path:
        name = self.method.replace("'", "").replace("(", "_").replace(")", "").replace(", ", "_").replace("=", "-")
        rate = f"_lr-{self.lr}" if self.seed >= SEARCH else ""
        return HERE / "runs" / f"{self.network}_{name}_share-{self.share}{rate}_seed-{self.seed}.json"


@cache
def workload(network: str) -> Workload:
    known = lab.load_task("cifar10")
    return lab.Task(
        model=NETWORKS[network],
        data=known.load(),
        loss=known.loss,
        optimizer=lambda model: torch.optim.SGD(
            model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4
        ),
        batch_size=BATCH,
    ).workload()


def savings(network: str, method: str) -> float:
    """The share of time that the plan is predicted to save."""
    if method == "cosine":
        return 0.0
    loop = workload(network).loop(0)
    plan = lab.load_methods(method)[0].policy(loop)
    assert isinstance(plan, lehr.FreezeOut)
    return lehr.freeze_savings(loop.model, loop.example(), plan).time


def train(job: Job) -> str:
    if job.file.exists():
        return f"{job.file.name}: there already"
    torch.set_num_threads(1)
    method = lab.load_methods(job.method)[0]
    lr = job.lr if job.lr is not None else rates()[job.network]
    settings = lab.Settings(f"{UPDATES}steps", evaluations=4)
    run = lab.train(
        workload(job.network), method, settings, job.seed, lr, share=job.share, look_at_test=job.seed < SEARCH
    )
    write_json(
        job.file,
        {
            "network": job.network, "predicted_to_save": savings(job.network, job.method), "run": asdict(run),
            "environment": environment(),
        },
        indent=None,
    )  # fmt: skip
    return f"{job.file.name}: {run.validation}, {run.seconds:.0f} s"


def rates() -> dict[str, float]:
    """For each network the peak rate that is best on validation, for the plain cosine."""
    best = {}
    for network in NETWORKS:
        runs = {lr: json.loads(Job(network, "cosine", SEARCH, lr=lr).file.read_text())["run"] for lr in GRID}
        best[network] = max(GRID, key=lambda lr: runs[lr]["validation"] or 0.0)
    return best


def main() -> None:
    search = [Job(network, "cosine", SEARCH, lr=lr) for network in NETWORKS for lr in GRID]
    final = [
        job
        for seed in range(SEEDS)
        for network in NETWORKS
        for job in (
            *(Job(network, "cosine", seed, share) for share in reversed(SHARES)),
            *(Job(network, method, seed) for method in STRATEGIES),
        )
    ]
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        for jobs in (search, final):
            for said in pool.map(train, jobs):
                print(said, flush=True)
    print(rates())


if __name__ == "__main__":
    main()
