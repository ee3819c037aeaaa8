"""What looking costs beside a plain update: a probe of LRTuner's, and a meta-update of MLR-SNet's.

Each network's plain updates, probes and meta-updates take turns; figures are medians, in plain updates.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

import lehr
from lehr.lab import models
from lehr.mlrsnet.network import MLRSNetwork
from lehr.mlrsnet.unroll import Student, meta_loss

ROUNDS = 15
NETWORKS: dict[str, tuple[Callable[[], nn.Module], Callable[[], torch.Tensor]]] = {
    "ResNet, 2 blocks a stage": (lambda: models.small_resnet(blocks=2, width=16), lambda: torch.randn(32, 3, 32, 32)),
    "MLP, 2 x 1,024": (
        lambda: nn.Sequential(
            nn.Linear(256, 1_024), nn.ReLU(), nn.Linear(1_024, 1_024), nn.ReLU(), nn.Linear(1_024, 10)
        ),
        lambda: torch.randn(64, 256),
    ),
}


class Bench:
    """One network, and the three things that are timed on it."""

    def __init__(self, make: Callable[[], nn.Module], inputs: Callable[[], torch.Tensor]) -> None:
        self.model, self.inputs = make(), inputs
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9)
        pairs = [self.pair() for _ in range(8)]
        self.training = lehr.Training(
            self.model, self.optimizer, pairs,
            lambda model, batch: nn.functional.cross_entropy(model(batch[0]), batch[1]),
        )  # fmt: skip
        self.probe = lehr.Probe(self.training, batches=3)
        self.network = MLRSNetwork()
        self.adam = torch.optim.Adam(self.network.parameters(), lr=1e-3)
        inner = lehr.mlrsnet.InnerSGD(momentum=0.9)
        params = {name: value.detach().clone() for name, value in self.model.named_parameters()}
        buffers = {name: value.clone() for name, value in self.model.named_buffers()}
        self.student = Student(
            params,
            buffers,
            inner.start(params),
            self.network.start(),
            0.1,
            self.model,
            nn.functional.cross_entropy,
            inner,
        )

    def pair(self) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.inputs()
        return x, torch.randint(10, (len(x),))

    def plain(self) -> None:
        self.training.step()

    def look(self) -> None:
        for step in (-1.0, 0.0, 1.0):
            self.probe.losses(step)

    def learn(self) -> None:
        judged = meta_loss(self.student, self.network, [self.pair()], self.pair())
        self.adam.zero_grad()
        grads = torch.autograd.grad(judged, list(self.network.parameters()))
        for parameter, grad in zip(self.network.parameters(), grads, strict=True):
            parameter.grad = grad
        self.adam.step()


def seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    torch.set_num_threads(1)
    table = Table("network", "update", "probe of 3 batches", "its 9 forward passes / 3", "meta-update")
    for name, (make, inputs) in NETWORKS.items():
        bench = Bench(make, inputs)
        times = {what: [] for what in ("plain", "look", "learn")}
        for round_ in range(ROUNDS + 2):
            for what, found in times.items():
                took = seconds(getattr(bench, what))
                if round_ >= 2:
                    found.append(took)
        plain, look, learn = (statistics.median(found) for found in times.values())
        table.add_row(name, f"{1e3 * plain:.0f} ms", f"{look / plain:.2f}", "3.00", f"{learn / plain:.2f}")
    Console().print(f"torch {torch.__version__}, one thread, {platform.processor() or platform.machine()}")
    Console().print(table)


if __name__ == "__main__":
    main()
