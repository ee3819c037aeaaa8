"""What lehr's own loops cost beside the one that everybody writes, and what a preview of a long run costs.

All ways make the same updates of the same network on the same batches. They take turns within one run, and a ratio is
the median over the rounds. Times are CPU seconds of one thread, so that other programs on the machine matter less.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import platform
import statistics
import time
import warnings
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import lehr
from lehr.lab import models

GOALS = {"training.step": 1.02, "fit, with progress": 1.03, "range test": 1.03}
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "MLP, 256 wide": (lambda: nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)), (256,), 200),
    "CNN with batch norm": (lambda: models.small_cnn(3, 32), (3, 32, 32), 30),
}
BATCH, BATCHES = 64, 10
Pair = tuple[Tensor, Tensor]


def loss_of(model: nn.Module, batch: Pair) -> Tensor:
    return cross_entropy(model(batch[0]), batch[1])


class Bench:
    """One network, and the ways to train it for so many updates.

    The steps of a rate of 1e-9 hardly move the weights, so every way works on the same numbers.
    """

    def __init__(self, make: Callable[[], nn.Module], shape: tuple[int, ...], updates: int) -> None:
        torch.manual_seed(0)
        self.model = make()
        self.updates = updates
        self.batches = [(torch.randn(BATCH, *shape), torch.randint(0, 10, (BATCH,))) for _ in range(BATCHES)]
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-9, momentum=0.9)
        self.training = lehr.Training(self.model, self.optimizer, self.batches, loss_of)

    def scheduler(self) -> lehr.Scheduler:
        return lehr.Scheduler(self.training, lehr.Linear(), lehr.Budget(steps=self.updates))

    def by_hand(self) -> None:
        scheduler = self.scheduler()
        for inputs, targets in itertools.islice(itertools.cycle(self.batches), self.updates):
            self.optimizer.zero_grad()
            loss = cross_entropy(self.model(inputs), targets)
            loss.backward()
            self.optimizer.step()
            scheduler.step()

    def by_step(self) -> None:
        scheduler = self.scheduler()
        for _ in range(self.updates):
            self.training.step(scheduler)

    def by_fit(self) -> None:
        with contextlib.redirect_stderr(io.StringIO()):
            lehr.fit(self.training, f"{self.updates}steps", lehr.Linear())

    def read_losses(self) -> None:
        for _ in range(self.updates):
            self.training.step().item()

    def range_test(self) -> None:
        lehr.range_test(self.training, low=1e-10, high=1e-9, steps=self.updates)

    def ways(self) -> dict[str, tuple[Callable[[], None], Callable[[], None]]]:
        """Each way, and what it is set beside."""
        return {
            "training.step": (self.by_step, self.by_hand),
            "fit, with progress": (self.by_fit, self.by_hand),
            "range test": (self.range_test, self.read_losses),
        }


def seconds(work: Callable[[], None]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def ratio(way: Callable[[], None], plain: Callable[[], None], rounds: int) -> tuple[float, float]:
    """The median ratio, and the seconds of the plain loop; each is first as often as second."""
    ratios, took = [], []
    seconds(way), seconds(plain)
    for number in range(rounds):
        if number % 2:
            ours, theirs = seconds(way), seconds(plain)
        else:
            theirs, ours = seconds(plain), seconds(way)
        ratios.append(ours / theirs)
        took.append(theirs)
    return statistics.median(ratios), statistics.median(took)


def preview(updates: int) -> tuple[float, float]:
    """Milliseconds for a preview and for printing it."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = lehr.Scheduler(optimizer, lehr.Linear().after_warmup(0.05), lehr.Budget(steps=updates))
    scheduler.preview()
    return 1e3 * seconds(lambda: scheduler.preview() and None), 1e3 * seconds(lambda: str(scheduler.preview()) and None)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", lehr.BudgetWarning)
    console = Console()
    table = Table("network", "way", "ms an update by hand", "ratio", "goal", title="Loops, beside the same by hand")
    for name, (make, shape, updates) in NETWORKS.items():
        bench = Bench(make, shape, updates)
        for way, (ours, plain) in bench.ways().items():
            found, took = ratio(ours, plain, rounds)
            table.add_row(name, way, f"{1e3 * took / updates:.2f}", f"{found:.3f}", f"at most {GOALS[way]}")
    console.print(table)
    table = Table("updates", "preview(), ms", "printing it, ms", title="Previews")
    for updates in (10**5, 10**7):
        table.add_row(f"{updates:,}", *(f"{took:.3f}" for took in preview(updates)))
    console.print(table)
    console.print(f"torch {torch.__version__}, Python {platform.python_version()}, {platform.machine()}, 1 thread")


if __name__ == "__main__":
    main()
