"""What one `scheduler.step()` costs, against torch's CosineAnnealingLR in the same run.

Ours and torch's take turns, so that a machine that speeds up or slows down does so for both; the ratio is the median
over the rounds. Ours includes counting the optimizer's updates and keeping the history.
"""

from __future__ import annotations

import platform
import statistics
import time
import warnings
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table

import lehr

ROUNDS = 25
TARGETS = {
    (1, False): 1.0, (100, False): 0.3, (1000, False): 0.3, (1, True): None, (100, True): 0.1, (1000, True): 0.1,
}  # fmt: skip


def optimizer(groups: int, tensor: bool) -> torch.optim.SGD:
    made = [
        {"params": [torch.zeros(1, requires_grad=True)], "lr": torch.tensor(0.1) if tensor else 0.1}
        for _ in range(groups)
    ]
    return torch.optim.SGD(made, momentum=0.9)


def ours(groups: int, tensor: bool) -> Callable[[], None]:
    scheduler = lehr.Scheduler(optimizer(groups, tensor), lehr.Cosine(), lehr.Budget(steps=10**7))
    (counter,) = scheduler._counters

    def step() -> None:
        counter._count = 1  # what the hooks of an update do, without paying for the update
        scheduler.step()

    return step


def theirs(groups: int, tensor: bool) -> Callable[[], None]:
    made = optimizer(groups, tensor)
    made.step()
    return torch.optim.lr_scheduler.CosineAnnealingLR(made, T_max=10**7).step


def microseconds(step: Callable[[], None], calls: int) -> float:
    began = time.perf_counter()
    for _ in range(calls):
        step()
    return (time.perf_counter() - began) / calls * 1e6


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    table = Table("groups", "rate", "lehr, µs", "torch, µs", "ratio", "target", title="scheduler.step(), medians")
    for (groups, tensor), target in TARGETS.items():
        one, two = ours(groups, tensor), theirs(groups, tensor)
        calls = max(3, 2_000 // groups)
        microseconds(one, calls), microseconds(two, calls)
        rounds = [(microseconds(one, calls), microseconds(two, calls)) for _ in range(ROUNDS)]
        a, b = (statistics.median(column) for column in zip(*rounds, strict=True))
        ratio = statistics.median(x / y for x, y in rounds)
        table.add_row(
            str(groups), "tensor" if tensor else "float", f"{a:,.2f}", f"{b:,.2f}", f"{ratio:.3f}",
            "-" if target is None else f"at most {target}",
        )  # fmt: skip
    console = Console()
    console.print(table)
    console.print(f"torch {torch.__version__}, Python {platform.python_version()}, {platform.machine()}, 1 thread")


if __name__ == "__main__":
    main()
