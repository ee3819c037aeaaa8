"""Cyclical rates on CIFAR-10 at the published length, as coxy1989/clr has it: makes the runs that are missing.

    LEHR_DATA=... python run.py [--processes 2] [--methods fixed,triangular] [--seeds 3]

Each run is a process of one thread and becomes one file in `runs/`. Killed at any time, the same command goes on from
each run's last checkpoint, to the same weights. `--updates 50` times that many updates of each method instead, and
writes nothing.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import lehr
from lehr.lab.datasets import cifar10_pixels
from lehr.lab.files import write_json
from lehr.lab.records import environment

HERE = Path(__file__).parent
BATCH, LONG, SHORT, STEP_SIZE = 100, 70_000, 20_000, 2_000
LOW, HIGH, GAMMA = 0.0025, 0.01, 0.99994
CYCLES = SHORT // (2 * STEP_SIZE)
LOOK, SAVE = 1_000, 250


@dataclass(frozen=True)
class Method:
    """A way through the run: the rate of the first update is `peak` times the schedule's first factor.

    Args:
        schedule: over the whole run.
        peak: the base rate.
        updates: how many.
        anew: after how many updates the optimizer is made anew, as the port does between the phases of `fixed`.
    """

    schedule: lehr.Schedule
    peak: float
    updates: int
    anew: tuple[int, ...] = ()


METHODS = {
    "fixed": Method(lehr.Steps(at=(6 / 7, 13 / 14), gamma=0.1), 0.001, LONG, anew=(60_000, 65_000)),
    "triangular": Method(lehr.Triangular(CYCLES, LOW / HIGH), HIGH, SHORT),
    "linear": Method(lehr.Linear(), HIGH, SHORT),
    "exp": Method(lehr.Exponential(end=GAMMA**SHORT), HIGH, SHORT),
    "triangular2": Method(lehr.schedules.triangular2(CYCLES, LOW / HIGH), HIGH, SHORT),
    "exp_range": Method(lehr.schedules.exp_range(CYCLES, LOW / HIGH, GAMMA**SHORT), HIGH, SHORT),
    "decay": Method(lehr.schedules.clr_decay(LOW / HIGH, 2 * STEP_SIZE / SHORT), HIGH, SHORT),
}


class Job(NamedTuple):
    """One run."""

    method: str
    seed: int

    @property
    def file(self) -> Path:
        return HERE / "runs" / f"{self.method}_seed-{self.seed}.json"


def network() -> nn.Sequential:
    """Caffe's quick network as the port has it, whose pooling rounds down: 32 becomes 15, 7 and 3."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 5, padding=2), nn.MaxPool2d(3, 2), nn.ReLU(),
        nn.Conv2d(32, 32, 5, padding=2), nn.ReLU(), nn.AvgPool2d(3, 2),
        nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.AvgPool2d(3, 2),
        nn.Flatten(), nn.Linear(64 * 3 * 3, 64), nn.Linear(64, 10),
    )  # fmt: skip


@cache
def data() -> tuple[Tensor, ...]:
    """All 50,000 training images and the 10,000 of the test, less the mean of each channel: nothing else."""
    (train, labels), (test, answers) = (cifar10_pixels(part, None) for part in ("train", "test"))
    train, test = train.float() / 255, test.float() / 255
    mean = train.mean((0, 2, 3), keepdim=True)
    return train - mean, labels, test - mean, answers


class Batches:
    """Shuffled batches, an epoch after another; their order depends on the seed and the epoch alone."""

    def __init__(self, images: Tensor, labels: Tensor, seed: int) -> None:
        self.images, self.labels, self.seed = images, labels, seed
        self.drawn, self.epoch = 0, -1

    def next(self) -> tuple[Tensor, Tensor]:
        epoch, batch = divmod(self.drawn, len(self.images) // BATCH)
        if epoch != self.epoch:
            generator = torch.Generator().manual_seed(10_000 * self.seed + epoch)
            self.epoch, self.order = epoch, torch.randperm(len(self.images), generator=generator)
        chosen = self.order[batch * BATCH : (batch + 1) * BATCH]
        self.drawn += 1
        return self.images[chosen].contiguous(memory_format=torch.channels_last), self.labels[chosen]

    def state_dict(self) -> dict[str, int]:
        return {"drawn": self.drawn}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.drawn, self.epoch = state["drawn"], -1


@dataclass
class Course:
    """What a run has seen so far: updates, rate, training loss and test accuracy; and its seconds of training."""

    rows: list[list[float]] = field(default_factory=list)
    seconds: float = 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "seconds": self.seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rows, self.seconds = state["rows"], state["seconds"]


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    right = 0
    for inputs, targets in zip(images.split(1_000), labels.split(1_000), strict=True):
        right += int((model(inputs.contiguous(memory_format=torch.channels_last)).argmax(1) == targets).sum())
    return right / len(images)


class Run:
    """A run at its start, or where its last checkpoint has it."""

    def __init__(self, job: Job) -> None:
        torch.set_num_threads(1)
        self.job, self.method = job, METHODS[job.method]
        images, labels, self.test, self.answers = data()
        torch.manual_seed(job.seed)
        self.model = network().to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.SGD(self.model.parameters(), self.method.peak, 0.9, weight_decay=0.004)
        self.scheduler = lehr.Scheduler(self.optimizer, self.method.schedule, lehr.Budget(steps=self.method.updates))
        self.batches, self.course = Batches(images, labels, job.seed), Course()

    def update(self) -> Tensor:
        if self.scheduler.updates in self.method.anew:
            self.optimizer.state.clear()
        inputs, targets = self.batches.next()
        self.optimizer.zero_grad()
        loss = cross_entropy(self.model(inputs), targets)
        loss.backward()
        self.optimizer.step()
        self.scheduler.step()
        return loss.detach()

    def finish(self) -> float:
        """Train to the end from wherever it is; the test accuracy then."""
        folder = HERE / "checkpoints" / self.job.file.stem
        checkpoints = lehr.Checkpoints(
            folder, model=self.model, optimizer=self.optimizer, scheduler=self.scheduler, batches=self.batches,
            course=self.course,
        )  # fmt: skip
        checkpoints.resume()
        while not self.scheduler.finished:
            began, rate = time.monotonic(), self.scheduler.get_last_lr()[0]
            loss = self.update()
            self.course.seconds += time.monotonic() - began
            made = self.scheduler.updates
            if made % LOOK == 0 or self.scheduler.finished:
                found = accuracy(self.model, self.test, self.answers)
                self.course.rows.append([made, rate, loss.item(), found])
            if made % SAVE == 0:
                checkpoints.save(made)
        found = self.course.rows[-1][-1]
        write_json(
            self.job.file,
            {
                "method": self.job.method, "schedule": repr(self.method.schedule), "peak": self.method.peak,
                "seed": self.job.seed, "updates": self.method.updates, "seconds": self.course.seconds, "test": found,
                "course": self.course.rows, "environment": environment(),
            },
            indent=None,
        )  # fmt: skip
        shutil.rmtree(folder, ignore_errors=True)
        return found


def train(job: Job) -> str:
    return f"{job.file.name}: {'there already' if job.file.exists() else f'{Run(job).finish():.2%}'}"


def timed(job: Job, updates: int) -> str:
    run = Run(job)
    for _ in range(5):
        run.update()
    began, worked = time.monotonic(), time.process_time()
    for _ in range(updates):
        run.update()
    each, busy = (time.monotonic() - began) / updates, (time.process_time() - worked) / updates
    hours = busy * run.method.updates / 3600
    return f"{job.method}: {each:.3f} s an update, of which {busy:.3f} s of a core; {hours:.2f} h of a core a run"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--updates", type=int, default=0)
    arguments = parser.parse_args()
    names = arguments.methods.split(",")
    if arguments.updates:
        for name in names:
            print(timed(Job(name, 0), arguments.updates), flush=True)
        return
    jobs = [Job(name, seed) for seed in range(arguments.seeds) for name in names]  # seed by seed: pairs come early
    with ProcessPoolExecutor(arguments.processes, multiprocessing.get_context("spawn")) as pool:
        for said in pool.map(train, jobs):
            print(said, flush=True)


if __name__ == "__main__":
    main()
