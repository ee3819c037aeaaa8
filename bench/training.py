"""What lehr's own loops cost beside the one that everybody writes, and what a preview of a long run costs.

Two networks that start alike take turns, update by update, on the same batches: one is trained by lehr, the other by
hand. The loader of lehr's is where the other one's update is made and the clock is read, so an update of lehr's lasts
from one batch to the next, with all that its loop does in between. A ratio is the median over tens of updates. Times
are CPU seconds of one thread, so that other programs on the machine matter less.
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
from collections.abc import Callable, Iterator

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import lehr
from lehr.lab import models

NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "MLP, 256 wide": (lambda: nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)), (256,), 3_000),
    "CNN with batch norm": (lambda: models.small_cnn(3, 32), (3, 32, 32), 150),
}
BATCH, BATCHES, TOGETHER = 64, 10, 10
USUAL = 200
"""Updates of a range test."""
Pair = tuple[Tensor, Tensor]


def loss_of(model: nn.Module, batch: Pair) -> Tensor:
    return cross_entropy(model(batch[0]), batch[1])


class Network:
    """A network, an optimizer that hardly moves it, and a scheduler."""

    def __init__(self, make: Callable[[], nn.Module]) -> None:
        torch.manual_seed(0)
        self.model = make()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-9, momentum=0.9)

    def schedule(self, updates: int) -> None:
        self.scheduler = lehr.Scheduler(self.optimizer, lehr.Linear(), lehr.Budget(steps=updates))

    def update(self, batch: Pair) -> Tensor:
        inputs, targets = batch
        self.optimizer.zero_grad()
        loss = cross_entropy(self.model(inputs), targets)
        loss.backward()
        self.optimizer.step()
        return loss

    def scheduled_update(self, batch: Pair) -> None:
        self.update(batch)
        self.scheduler.step()

    def read_update(self, batch: Pair) -> None:
        self.update(batch).item()


class Turns:
    """Batches for lehr, between which somebody else makes an update of his own."""

    def __init__(self, batches: list[Pair], other: Callable[[Pair], None]) -> None:
        self.batches = batches
        self.other = other
        self.ours: list[float] = []
        self.others: list[float] = []

    def __call__(self) -> Iterator[Pair]:
        began = None
        for batch in itertools.cycle(self.batches):
            now = time.process_time()
            if began is not None:
                self.ours.append(now - began)
            before = time.process_time()
            self.other(batch)
            self.others.append(time.process_time() - before)
            began = time.process_time()
            yield batch

    def ratio(self) -> float:
        """The median over tens of updates, the first ten left out."""
        pairs = list(zip(_together(self.ours), _together(self.others), strict=False))[1:]
        return statistics.median(ours / other for ours, other in pairs)

    def milliseconds(self) -> float:
        """An update of the other's."""
        return 1e3 * statistics.median(self.others)


def _together(times: list[float]) -> list[float]:
    return [sum(times[i : i + TOGETHER]) for i in range(0, len(times) - TOGETHER + 1, TOGETHER)]


def by_hand(training: lehr.Training, updates: int) -> None:
    """The same loop on both sides, which shows how far the ratios can be trusted."""
    (model,), (optimizer,) = training.modules, training.optimizers
    scheduler = lehr.Scheduler(training, lehr.Linear(), lehr.Budget(steps=updates))
    for _ in range(updates):
        inputs, targets = next(training.batches)
        optimizer.zero_grad()
        loss = cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()
        scheduler.step()


def by_step(training: lehr.Training, updates: int) -> None:
    scheduler = lehr.Scheduler(training, lehr.Linear(), lehr.Budget(steps=updates))
    while not scheduler.finished:
        training.step(scheduler)


def by_fit(training: lehr.Training, updates: int) -> None:
    with contextlib.redirect_stderr(io.StringIO()):
        lehr.fit(training, f"{updates}steps", lehr.Linear(), progress=True)


def by_range_test(training: lehr.Training, updates: int) -> None:
    for _ in range(max(1, updates // USUAL)):
        lehr.range_test(training, low=1e-10, high=1e-9, steps=min(USUAL, updates))


Way = tuple[Callable[[lehr.Training, int], None], Callable[[Network], Callable[[Pair], None]], float | None]
WAYS: dict[str, Way] = {
    "hand": (by_hand, lambda network: network.scheduled_update, None),
    "training.step": (by_step, lambda network: network.scheduled_update, 1.02),
    "fit": (by_fit, lambda network: network.scheduled_update, 1.03),
    "range test": (by_range_test, lambda network: network.read_update, 1.03),
}


def measure(name: str, way: str, share: float) -> Turns:
    make, shape, updates = NETWORKS[name]
    updates = max(5 * TOGETHER, round(share * updates))
    torch.manual_seed(0)
    batches = [(torch.randn(BATCH, *shape), torch.randint(0, 10, (BATCH,))) for _ in range(BATCHES)]
    one, two = Network(make), Network(make)
    two.schedule(updates + 1)
    run, other, _ = WAYS[way]
    turns = Turns(batches, other(two))
    run(lehr.Training(one.model, one.optimizer, turns, loss_of), updates)
    return turns


def preview(updates: int) -> tuple[float, float]:
    """Milliseconds for a preview, and for one that is printed."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = lehr.Scheduler(optimizer, lehr.Linear().after_warmup(0.05), lehr.Budget(steps=updates))
    str(scheduler.preview())
    began = time.process_time()
    made = scheduler.preview()
    between = time.process_time()
    str(made)
    return 1e3 * (between - began), 1e3 * (time.process_time() - began)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--share", type=float, default=1.0, help="of the updates, for a quick look")
    share = parser.parse_args().share
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", lehr.BudgetWarning)
    console = Console()
    table = Table("network", "by", "by hand, ms", "ratio", "goal", title="An update, beside the same by hand")
    for name in NETWORKS:
        for way, (_, _, goal) in WAYS.items():
            turns = measure(name, way, share)
            table.add_row(
                name,
                way,
                f"{turns.milliseconds():.2f}",
                f"{turns.ratio():.3f}",
                "-" if goal is None else f"at most {goal}",
            )
    console.print(table)
    table = Table("updates", "preview(), ms", "printed, ms", title="Previews")
    for updates in (10**5, 10**7):
        table.add_row(f"{updates:,}", *(f"{took:.3f}" for took in preview(updates)))
    console.print(table)
    console.print(f"torch {torch.__version__}, Python {platform.python_version()}, {platform.machine()}, 1 thread")


if __name__ == "__main__":
    main()
