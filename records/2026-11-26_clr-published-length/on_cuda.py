"""The runs of `run.py` on one CUDA device: all at once, each update a replayed graph on a stream of its own.

    LEHR_DATA=... python on_cuda.py [--seeds 10] [--methods fixed,triangular] [--out runs]

Weights, order of batches and rates are those of `run.py`; float32, and TF32 in convolutions, as torch has it on CUDA. A
run becomes one file when it ends; the first half of the seeds comes first. `--check 20` compares the first 20 updates
with those of `run.py` instead, on whatever device there is.
"""

from __future__ import annotations

import argparse
import math
import time
from contextlib import nullcontext
from functools import cache
from pathlib import Path

import torch
from run import BATCH, LOOK, METHODS, Job, Run, accuracy, data, network
from torch import Tensor
from torch.nn.functional import cross_entropy

import lehr
from lehr.lab.files import write_json
from lehr.lab.records import environment

WARM = 3


@cache
def data_on(device: str) -> tuple[Tensor, ...]:
    return tuple(part.to(device) for part in data())


class Replay:
    """A run whose update is captured once and replayed: indices, rate and loss are tensors that stay where they are."""

    def __init__(self, job: Job, device: str) -> None:
        self.job, self.method, self.device = job, METHODS[job.method], device
        self.cuda = device.startswith("cuda")
        self.images, self.labels, self.test, self.answers = data_on(device)
        torch.manual_seed(job.seed)
        self.model = network().to(device, memory_format=torch.channels_last)
        self.rate = torch.tensor(self.method.peak, device=device)
        self.optimizer = torch.optim.SGD(self.model.parameters(), self.rate, 0.9, weight_decay=0.004, fused=True)
        self.batches = len(self.images) // BATCH
        self.order = torch.zeros(len(self.images), dtype=torch.long, device=device)
        self.place = torch.zeros((), dtype=torch.long, device=device)
        self.within = torch.arange(BATCH, device=device)
        self.loss = torch.zeros((), device=device)
        self.stream = torch.cuda.Stream() if self.cuda else None
        self.rows: list[list[float]] = []
        with self.on_stream():
            self.update = self._captured() if self.cuda else self._update
            if not self.cuda:
                self.anew()
        # the hooks of an optimizer do not run in a replay, so calls are counted
        budget = lehr.Budget(steps=self.method.updates)
        self.scheduler = lehr.Scheduler(self.optimizer, self.method.schedule, budget, count="calls")
        if self.cuda:
            torch.cuda.synchronize()

    def on_stream(self) -> torch.cuda.StreamContext | nullcontext[None]:
        return torch.cuda.stream(self.stream) if self.stream is not None else nullcontext()

    def _update(self) -> None:
        chosen = self.order[self.place * BATCH + self.within]
        inputs = self.images[chosen].contiguous(memory_format=torch.channels_last)
        self.optimizer.zero_grad(set_to_none=False)
        loss = cross_entropy(self.model(inputs), self.labels[chosen])
        loss.backward()
        self.optimizer.step()
        self.loss.copy_(loss.detach())
        self.place += 1

    def _captured(self) -> object:
        start = [parameter.detach().clone() for parameter in self.model.parameters()]
        for _ in range(WARM):
            self._update()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self.stream):
            self._update()
        with torch.no_grad():
            for parameter, value in zip(self.model.parameters(), start, strict=True):
                parameter.copy_(value)
        self.anew()
        self.place.zero_()
        return graph.replay

    def anew(self) -> None:
        """Momentum from zero, which is where a new optimizer begins."""
        for parameter in self.model.parameters():
            state = self.optimizer.state[parameter]
            if state.get("momentum_buffer") is not None:
                state["momentum_buffer"].zero_()

    def step(self) -> None:
        """One update, on its own stream; nothing here waits for it but a look."""
        made = self.scheduler.updates
        with self.on_stream():
            epoch, batch = divmod(made, self.batches)
            if batch == 0:
                generator = torch.Generator().manual_seed(10_000 * self.job.seed + epoch)
                self.order.copy_(torch.randperm(len(self.images), generator=generator))
                self.place.zero_()
            if made in self.method.anew:
                self.anew()
            looks = (made + 1) % LOOK == 0 or made + 1 == self.method.updates
            rate = float(self.rate) if looks else math.nan
            self.update()
            self.scheduler.step()
            if looks:
                self.rows.append([made + 1, rate, self.loss.item(), accuracy(self.model, self.test, self.answers)])

    def write(self, folder: Path, seconds: float) -> None:
        write_json(
            folder / self.job.file.name,
            {
                "method": self.job.method, "schedule": repr(self.method.schedule), "peak": self.method.peak,
                "seed": self.job.seed, "updates": self.method.updates, "seconds_beside_others": seconds,
                "test": self.rows[-1][-1], "course": self.rows, "device": torch.cuda.get_device_name(),
                "environment": environment(),
            },
            indent=None,
        )  # fmt: skip


def check(updates: int, device: str) -> None:
    """The greatest difference of a weight from `run.py`'s after so many updates, and how far the weights went."""
    for name in METHODS:
        plain, replay = Run(Job(name, 0)), Replay(Job(name, 0), device)
        start = [parameter.detach().clone() for parameter in plain.model.parameters()]
        for _ in range(updates):
            plain.update()
            replay.step()
        pairs = list(zip(plain.model.parameters(), replay.model.parameters(), start, strict=True))
        off = max(float((one - other.cpu()).detach().abs().max()) for one, other, _ in pairs)
        far = max(float((one - old).detach().abs().max()) for one, _, old in pairs)
        print(f"{name}: {off:.2e} apart after {updates} updates, {far:.2e} from the start", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "runs")
    parser.add_argument("--check", type=int, default=0)
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cudnn.benchmark = True
    if arguments.check:
        check(arguments.check, device)
        return
    half = (arguments.seeds + 1) // 2
    for seeds in (range(half), range(half, arguments.seeds)):
        jobs = [Job(name, seed) for seed in seeds for name in arguments.methods.split(",")]
        train([job for job in jobs if not (arguments.out / job.file.name).exists()], device, arguments.out)


def train(jobs: list[Job], device: str, out: Path) -> None:
    """Make these runs, an update of each in turn."""
    began = time.monotonic()
    runs = [Replay(job, device) for job in jobs]
    print(f"{len(runs)} runs captured in {time.monotonic() - began:.1f} s", flush=True)
    began, made = time.monotonic(), 0
    while runs:
        for run in runs:
            run.step()
        made += len(runs)
        if made == 200 * len(jobs):
            print(f"{1e6 * (time.monotonic() - began) / made:.0f} microseconds an update", flush=True)
        for run in [run for run in runs if run.scheduler.finished]:
            run.write(out, time.monotonic() - began)
            print(f"{run.job.file.name}: {run.rows[-1][-1]:.2%} after {time.monotonic() - began:.0f} s", flush=True)
            runs.remove(run)
    print(f"{made:,} updates in {time.monotonic() - began:.1f} s", flush=True)


if __name__ == "__main__":
    main()
