"""Smith's CIFAR-10 experiment with Caffe's quick net: makes the runs that are missing, two at a time.

    python run.py --scale 1 --seeds 1 --methods fixed,triangular,linear
    python run.py --scale 5 --seeds 3

`--scale 5` divides every number of iterations by five, `--scale 1` is the published protocol. Killed at any time, the
same command goes on from each run's last checkpoint.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy

import lehr
from lehr.lab import models
from lehr.lab.datasets import cifar10_pixels
from lehr.lab.files import write_json
from lehr.lab.records import environment

HERE = Path(__file__).parent
BATCH, ALL, SHORT, STEP = 100, 70_000, 20_000, 2_000
LOW, HIGH, GAMMA = 0.0025, 0.01, 0.99994


@dataclass(frozen=True)
class Method:
    schedule: lehr.Schedule
    peak: float
    iterations: int
    source: str


CYCLES = SHORT // (2 * STEP)
METHODS = {
    "fixed": Method(lehr.Steps(at=(6 / 7, 13 / 14), gamma=0.1), 0.001, ALL, "0.001 for 60k, 0.0001 and 0.00001 for 5k"),
    "triangular": Method(lehr.Triangular(CYCLES, LOW / HIGH), HIGH, SHORT, "step_size 2000"),
    "linear": Method(lehr.Linear(), HIGH, SHORT, "to zero, from CLR's highest rate"),
    "triangular2": Method(lehr.schedules.triangular2(CYCLES, LOW / HIGH), HIGH, SHORT, "step_size 2000"),
    "exp_range": Method(
        lehr.schedules.exp_range(CYCLES, LOW / HIGH, GAMMA**SHORT), HIGH, SHORT, "both bounds, gamma 0.99994"
    ),
    "exp": Method(lehr.Exponential(end=GAMMA**SHORT), HIGH, SHORT, "gamma 0.99994"),
    "decay": Method(
        lehr.schedules.clr_decay(LOW / HIGH, 2 * STEP / SHORT), HIGH, SHORT, "straight down in 4000, then held"
    ),
}


@cache
def data() -> tuple[torch.Tensor, ...]:
    """All 50,000 training images and the 10,000 of the test, less the mean image: nothing else, as published."""
    (train, labels), (test, answers) = (cifar10_pixels(part, None) for part in ("train", "test"))
    train, test = train.float() / 255, test.float() / 255
    mean = train.mean(0, keepdim=True)
    return train - mean, labels, test - mean, answers


class Order:
    """Shuffled batches, whose order depends on seed and epoch alone."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor, seed: int) -> None:
        self.images, self.labels, self.seed, self.drawn = images, labels, seed, 0
        self.epoch = -1

    def next(self) -> tuple[torch.Tensor, torch.Tensor]:
        each = len(self.images) // BATCH
        epoch, batch = divmod(self.drawn, each)
        if epoch != self.epoch:
            generator = torch.Generator().manual_seed(1_000 * self.seed + epoch)
            self.epoch, self.order = epoch, torch.randperm(len(self.images), generator=generator)
        chosen = self.order[batch * BATCH : (batch + 1) * BATCH]
        self.drawn += 1
        return self.images[chosen].contiguous(memory_format=torch.channels_last), self.labels[chosen]

    def state_dict(self) -> dict[str, int]:
        return {"drawn": self.drawn}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.drawn = state["drawn"]


class Curve:
    """Test accuracy at the ends of cycles, and seconds spent, kept with the checkpoint."""

    def __init__(self) -> None:
        self.rows: list[list[float]] = []
        self.seconds = 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "seconds": self.seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rows, self.seconds = state["rows"], state["seconds"]


@torch.no_grad()
def accuracy(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    right = 0
    for start in range(0, len(images), 1_000):
        part = images[start : start + 1_000].contiguous(memory_format=torch.channels_last)
        right += int((model(part).argmax(1) == labels[start : start + 1_000]).sum())
    return right / len(images)


def train(job: tuple[str, int, int]) -> str:
    name, seed, scale = job
    method = METHODS[name]
    out = HERE / "runs" / f"scale-{scale}_{name}_seed-{seed}.json"
    if out.exists():
        return f"{out.name}: there already"
    torch.set_num_threads(1)
    images, labels, test, answers = data()
    torch.manual_seed(seed)
    model = models.caffe_quick().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=method.peak, momentum=0.9, weight_decay=0.004)
    iterations = method.iterations // scale
    scheduler = lehr.Scheduler(optimizer, method.schedule, lehr.Budget(steps=iterations))
    order, curve = Order(images, labels, seed), Curve()
    folder = HERE / "checkpoints" / out.stem
    checkpoints = lehr.Checkpoints(
        folder, model=model, optimizer=optimizer, scheduler=scheduler, order=order, curve=curve
    )
    checkpoints.resume()
    every = 2 * STEP // scale
    began = time.monotonic() - curve.seconds
    while not scheduler.finished:
        x, y = order.next()
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        scheduler.step()
        if scheduler.last_epoch % every == 0 or scheduler.finished:
            curve.rows.append([scheduler.last_epoch, accuracy(model, test, answers), loss.item()])
        if scheduler.last_epoch % 500 == 0:
            curve.seconds = time.monotonic() - began
            checkpoints.save(scheduler.last_epoch)
    write_json(
        out,
        {
            "method": name, "schedule": repr(method.schedule), "peak": method.peak, "what": method.source, "seed": seed,
            "scale": scale, "iterations": iterations, "forward_passes": iterations, "evaluations": len(curve.rows),
            "seconds": time.monotonic() - began, "test": curve.rows[-1][1], "curve": curve.rows,
            "environment": environment(),
        },
        indent=None,
    )  # fmt: skip
    shutil.rmtree(folder, ignore_errors=True)
    return f"{out.name}: {curve.rows[-1][1]:.2%}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", default=",".join(METHODS))
    arguments = parser.parse_args()
    jobs = [(name, seed, arguments.scale) for seed in range(arguments.seeds) for name in arguments.methods.split(",")]
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        for said in pool.map(train, jobs):
            print(said, flush=True)


if __name__ == "__main__":
    main()
