"""Linear against step decay at six budgets, with every schedule at its own best rate: the runs that are missing.

    python on_cuda.py cifar10            # or fashion-mnist

Runs are made many at a time in one process, each update a replayed CUDA graph on a stream of its own that reads its
rate from a tensor; on a CPU (`--updates 20`, to try it) plainly. Killed at any time, the same command goes on.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

import lehr
from lehr import lab
from lehr.lab.files import write_json
from lehr.lab.records import environment
from lehr.lab.tensors import TensorWorkload

HERE = Path(__file__).parent
METHODS: dict[str, lehr.Schedule] = {
    "linear": lehr.Linear(),
    "step 30/60": lehr.Steps(at=(0.3, 0.6)),
    "step 60/90": lehr.Steps(at=(0.6, 0.9)),
    "cosine": lehr.Cosine(),
    "knee": lehr.knee(),
    "rex": lehr.Rex(),
}
UPDATES, BATCH = {"cifar10": 3_510, "fashion-mnist": 3_900}, 128
GRID = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
SHARES = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0)
SEEDS, SEARCH = 5, (1_000_003, 1_000_004)
WARM, AT_ONCE = 3, 36


class Job(NamedTuple):
    task: str
    method: str
    seed: int
    share: float
    lr: float

    @property
    def file(self) -> Path:
        name = self.method.replace(" ", "-").replace("/", "-")
        rate = f"_lr-{self.lr:g}" if self.seed in SEARCH else ""
        return HERE / "runs" / f"{self.task}_{name}_share-{self.share:g}{rate}_seed-{self.seed}.json"


@cache
def workload(task: str) -> TensorWorkload:
    known = lab.load_task(task).workload()
    assert isinstance(known, TensorWorkload)
    return known


@cache
def data_on(task: str, device: str) -> dict[str, tuple[Tensor, Tensor]]:
    data = workload(task).data
    return {name: tuple(one.to(device) for one in getattr(data, name)) for name in ("train", "validation", "test")}


class Replay:
    """A run whose update is captured once and replayed: indices, rate and loss are tensors that stay where they are."""

    def __init__(self, job: Job, updates: int, device: str) -> None:
        self.job, self.cuda = job, device.startswith("cuda")
        self.updates = max(1, round(job.share * updates))
        self.inputs, self.labels = data_on(job.task, device)["train"]
        self.model = workload(job.task).loop(job.seed).model.to(device)
        self.rate = torch.tensor(job.lr, device=device)
        self.optimizer = torch.optim.SGD(self.model.parameters(), self.rate, 0.9, weight_decay=5e-4, fused=self.cuda)
        self.batches = len(self.inputs) // BATCH
        self.order = torch.zeros(len(self.inputs), dtype=torch.long, device=device)
        self.place = torch.zeros((), dtype=torch.long, device=device)
        self.within = torch.arange(BATCH, device=device)
        self.stream = torch.cuda.Stream() if self.cuda else None
        with self.on_stream():
            self.update = self._captured() if self.cuda else self._update
        # the hooks of an optimizer do not run in a replay, so calls are counted
        self.scheduler = lehr.Scheduler(
            self.optimizer, METHODS[job.method], lehr.Budget(steps=self.updates), count="calls"
        )
        if self.cuda:
            torch.cuda.synchronize()

    def on_stream(self) -> torch.cuda.StreamContext | nullcontext[None]:
        return torch.cuda.stream(self.stream) if self.stream is not None else nullcontext()

    def _update(self) -> None:
        chosen = self.order[self.place * BATCH + self.within]
        inputs = self.inputs[chosen].contiguous(memory_format=torch.channels_last)
        self.optimizer.zero_grad(set_to_none=False)
        torch.nn.functional.cross_entropy(self.model(inputs), self.labels[chosen]).backward()
        self.optimizer.step()
        self.place += 1

    def _captured(self) -> object:
        start = [one.detach().clone() for one in (*self.model.parameters(), *self.model.buffers())]
        for _ in range(WARM):
            self._update()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self.stream):
            self._update()
        with torch.no_grad():
            for one, value in zip((*self.model.parameters(), *self.model.buffers()), start, strict=True):
                one.copy_(value)
        for parameter in self.model.parameters():
            self.optimizer.state[parameter]["momentum_buffer"].zero_()
        self.place.zero_()
        return graph.replay

    def step(self) -> None:
        """One update, on its own stream."""
        epoch, batch = divmod(self.scheduler.updates, self.batches)
        with self.on_stream():
            if batch == 0:
                generator = torch.Generator().manual_seed(10_000 * self.job.seed + epoch)
                self.order.copy_(torch.randperm(len(self.inputs), generator=generator))
                self.place.zero_()
            self.update()
            self.scheduler.step()

    @torch.no_grad()
    def accuracy(self, part: str) -> float:
        inputs, labels = data_on(self.job.task, str(self.rate.device))[part]
        self.model.eval()
        with self.on_stream():
            right = sum(
                int((self.model(x).argmax(1) == y).sum())
                for x, y in zip(inputs.split(1_000), labels.split(1_000), strict=True)
            )
        return right / len(inputs)

    def write(self) -> str:
        test = None if self.job.seed in SEARCH else self.accuracy("test")
        validation = self.accuracy("validation")
        device = torch.cuda.get_device_name() if self.cuda else "cpu"
        write_json(
            self.job.file,
            {**self.job._asdict(), "updates": self.updates, "validation": validation, "test": test, "device": device,
             "environment": environment()},
            indent=None,
        )  # fmt: skip
        return f"{self.job.file.name}: {validation:.2%}"


def best_rate(task: str, method: str) -> float:
    """The rate that is best on validation at the whole budget, in the mean over the seeds of the search."""

    def score(lr: float) -> float:
        found = [json.loads(Job(task, method, seed, 1.0, lr).file.read_text())["validation"] for seed in SEARCH]
        return math.fsum(found)

    return max(GRID, key=score)


def train(jobs: list[Job], updates: int, device: str) -> None:
    """Make these runs, some at a time, an update of each in turn; short ones make room for the next."""
    waiting = sorted((job for job in jobs if not job.file.exists()), key=lambda job: -job.share)
    runs: list[Replay] = []
    began, made = time.monotonic(), 0
    while waiting or runs:
        while waiting and len(runs) < AT_ONCE:
            runs.append(Replay(waiting.pop(0), updates, device))
        for run in runs:
            run.step()
        made += len(runs)
        for run in [run for run in runs if run.scheduler.finished]:
            print(f"{run.write()} after {time.monotonic() - began:.0f} s, {made:,} updates", flush=True)
            runs.remove(run)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("task", choices=UPDATES)
    parser.add_argument("--updates", type=int, default=0)
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cudnn.benchmark = True
    updates = arguments.updates or UPDATES[arguments.task]
    train(
        [Job(arguments.task, method, seed, 1.0, lr) for method in METHODS for seed in SEARCH for lr in GRID],
        updates,
        device,
    )
    rates = {method: best_rate(arguments.task, method) for method in METHODS}
    train(
        [Job(arguments.task, method, seed, share, rates[method])
         for seed in range(SEEDS) for method in METHODS for share in SHARES],
        updates, device,
    )  # fmt: skip
    print(rates)


if __name__ == "__main__":
    main()
