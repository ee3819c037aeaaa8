"""What a scheduler has grown to after a million updates: the memory that it holds, and how long its step takes then.

The old one takes turns with one that has just begun, so that a machine that speeds up or slows down does so for both;
a ratio is that of the fastest rounds. Memory is what Python holds more than before the first update (`tracemalloc`), at
the most so far.
"""

from __future__ import annotations

import argparse
import platform
import time
import tracemalloc
import warnings
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table

import lehr

UPDATES = 10**6
ROUNDS, CALLS = 200, 50
GROUPS = 4


def looking() -> lehr.Policy:
    return lehr.LRTuner() * lehr.policy.Follow(*[lehr.Linear(1.0, k / GROUPS) for k in range(GROUPS)])


KINDS: dict[str, tuple[Callable[[], lehr.Policy | lehr.Schedule | list[lehr.Schedule]], bool]] = {
    "Linear, float rate": (lehr.Linear, False),
    "Linear, tensor rate": (lehr.Linear, True),
    "a schedule for each of 4 groups": (lambda: [lehr.Linear(1.0, k / GROUPS) for k in range(GROUPS)], False),
    "LearnedSchedule": (lehr.LearnedSchedule.pretrained, False),
    "LRTuner, factors of 4 groups": (looking, False),
}


class Run:
    """A scheduler whose updates cost nothing but its own step."""

    def __init__(self, kind: str, updates: int) -> None:
        policy, tensor = KINDS[kind]
        groups = [
            {"params": [torch.zeros(1, requires_grad=True)], "lr": torch.tensor(0.1) if tensor else 0.1}
            for _ in range(GROUPS)
        ]
        self.scheduler = lehr.Scheduler(torch.optim.SGD(groups), policy(), lehr.Budget(steps=updates))

    def advance(self, updates: int) -> None:
        scheduler = self.scheduler
        (counter,) = scheduler._counters
        for _ in range(updates):
            if scheduler.wants_loss:
                scheduler.observe(loss=2.3, loss_at=_bowl if scheduler.wants_look else None)
            counter._count = 1  # what the hooks of an update do, without paying for the update
            scheduler.step()

    def microseconds(self) -> float:
        began = time.perf_counter()
        self.advance(CALLS)
        return (time.perf_counter() - began) / CALLS * 1e6


def _bowl(factor: float) -> float:
    return (1.0 - factor) ** 2 + 1.0


def memory(kind: str, updates: int) -> list[float]:
    """The most megabytes held after a tenth of so many updates, after half, and after all."""
    run = Run(kind, updates)
    run.advance(1)
    tracemalloc.start()
    peaks = []
    for tenths in (1, 4, 5):
        run.advance(updates * tenths // 10)
        peaks.append(tracemalloc.get_traced_memory()[1] / 1e6)
    tracemalloc.stop()
    return peaks


def turns(kind: str, updates: int) -> tuple[float, float]:
    """Microseconds of a step at the end of so many updates, and at the beginning."""
    old, young = Run(kind, 2 * updates), Run(kind, 2 * updates)
    old.advance(updates)
    rounds = [(old.microseconds(), young.microseconds()) for _ in range(ROUNDS)]
    at_the_end, at_first = map(min, zip(*rounds, strict=True))
    return at_the_end, at_first


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--updates", type=int, default=UPDATES)
    updates = parser.parse_args().updates
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", lehr.BudgetWarning)
    table = Table(
        "policy",
        "MB at 10 %",
        "50 %",
        "100 %",
        "step at first, µs",
        "at the end",
        "ratio",
        title=f"{updates:,} updates",
    )
    for kind in KINDS:
        at_the_end, at_first = turns(kind, updates)
        table.add_row(
            kind, *(f"{peak:.1f}" for peak in memory(kind, updates)), f"{at_first:.2f}", f"{at_the_end:.2f}",
            f"{at_the_end / at_first:.2f}",
        )  # fmt: skip
    console = Console()
    console.print(table)
    console.print(f"torch {torch.__version__}, Python {platform.python_version()}, {platform.machine()}, 1 thread")


if __name__ == "__main__":
    main()
