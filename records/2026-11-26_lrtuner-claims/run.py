"""LRTuner's published claims on the tasks that they were made for: makes the runs that are missing.

    python run.py resnet18 --processes 4
    python run.py minilm --processes 3

Killed at any time, the same command goes on; seeds come one after the other.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch

from lehr import lab
from lehr.lab.files import write_json
from lehr.lab.loop import Workload
from lehr.lab.networks import network
from lehr.lab.records import environment

HERE = Path(__file__).parent
SEEDS, SEARCH, FEWER = 5, 1_000_003, 0.71
UNTUNED = ("lrtuner", "autopilot", "learned")
START = 1e-6
"""The rate that the untuned methods are given, which says nothing."""


@dataclass(frozen=True)
class Setting:
    """A task, its budget, and the schedules that are tuned on it by which rates."""

    task: str
    network: str | None
    updates: int
    tuned: tuple[str, ...]
    grid: tuple[float, ...]
    precision: str


SETTINGS = {
    "resnet18": Setting("cifar10", "resnet18", 1_755, ("warmup_linear", "knee"), (0.01, 0.03, 0.1, 0.3), "bf16"),
    "minilm": Setting("minilm-polarity", None, 1_168, ("warmup_linear",), (1e-5, 3e-5, 1e-4, 3e-4), "fp32"),
}


class Job(NamedTuple):
    setting: str
    method: str
    seed: int
    share: float = 1.0
    lr: float | None = None

    @property
    def file(self) -> Path:
        rate = f"_lr-{self.lr:g}" if self.lr is not None else ""
        return HERE / "runs" / f"{self.setting}_{self.method}_share-{self.share:.2f}{rate}_seed-{self.seed}.json"


@cache
def workload(setting: str) -> Workload:
    said = SETTINGS[setting]
    task = lab.load_task(said.task)
    assert isinstance(task, lab.Task)
    return (replace(task, model=network(said.network, 3, 32, 10)) if said.network else task).workload()


def best_rate(setting: str, method: str) -> float:
    """The peak rate that is best on validation, by a seed of its own."""
    found = {
        lr: json.loads(Job(setting, method, SEARCH, lr=lr).file.read_text())["run"]["validation"] or 0.0
        for lr in SETTINGS[setting].grid
    }
    return max(found, key=lambda lr: found[lr])


def train(job: Job) -> str:
    if job.file.exists():
        return f"{job.file.name}: there already"
    torch.set_num_threads(1)
    said = SETTINGS[job.setting]
    lr = job.lr or (START if job.method in UNTUNED else best_rate(job.setting, job.method))
    # bfloat16 is for accelerators; a CPU computes in float32
    precision = said.precision if torch.cuda.is_available() else "fp32"
    placement = lab.Placement(precision=precision)
    settings = lab.Settings(f"{said.updates}steps", evaluations=8, placement=placement)
    method = lab.load_methods(job.method)[0]
    run = lab.train(
        workload(job.setting), method, settings, job.seed, lr, share=job.share, look_at_test=job.seed < SEARCH
    )
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    write_json(
        job.file,
        {"setting": job.setting, "precision": precision, "run": asdict(run), "device": device,
         "environment": environment()},
        indent=None,
    )  # fmt: skip
    return f"{job.file.name}: {run.validation}, {run.seconds:.0f} s"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("setting", choices=SETTINGS)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    said = SETTINGS[arguments.setting]
    search = [Job(arguments.setting, method, SEARCH, lr=lr) for method in said.tuned for lr in said.grid]
    final = [
        job
        for seed in range(SEEDS)
        for job in (
            *(Job(arguments.setting, method, seed) for method in (*said.tuned, *UNTUNED)),
            Job(arguments.setting, "lrtuner", seed, FEWER),
        )
    ]
    with ProcessPoolExecutor(arguments.processes, multiprocessing.get_context("spawn")) as pool:
        for jobs in (search, final):
            for told in pool.map(train, jobs):
                print(told, flush=True)


if __name__ == "__main__":
    main()
