"""What a step of the learned schedule costs: an observed loss and `scheduler.step()`, beside a step of `Linear`.

Processor time, on one thread. The kinds take turns in one run, so that a machine that speeds up or slows down does so
for all.
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

ROUNDS, CALLS = 25, 200
UPDATES = ROUNDS * CALLS
FLOAT, TENSOR = "Linear, float rate", "Linear, tensor rate"

Loss = Callable[[], float | torch.Tensor]


def scheduler(policy: lehr.Policy | lehr.Schedule, *, tensor: bool) -> lehr.Scheduler:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=torch.tensor(0.1) if tensor else 0.1)
    return lehr.Scheduler(optimizer, policy, lehr.Budget(steps=UPDATES))


def kinds(number: float, tensor: torch.Tensor) -> dict[str, tuple[lehr.Scheduler, Loss]]:
    """What is timed, and the loss that it is given; tensor rates keep the loss where it is."""
    learned = lehr.LearnedSchedule.pretrained
    return {
        FLOAT: (scheduler(lehr.Linear(), tensor=False), lambda: number),
        "learned, float loss, float rate": (scheduler(learned(), tensor=False), lambda: number),
        "learned, tensor loss, float rate": (scheduler(learned(), tensor=False), lambda: tensor),
        TENSOR: (scheduler(lehr.Linear(), tensor=True), lambda: number),
        "learned, tensor loss, tensor rate": (scheduler(learned(), tensor=True), lambda: tensor),
    }


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    subjects = kinds(2.3, torch.tensor(2.3))
    took: dict[str, list[float]] = {kind: [] for kind in subjects}
    for _ in range(ROUNDS):
        for kind, (subject, loss) in subjects.items():
            began = time.process_time()
            for _ in range(CALLS):
                subject.observe(loss=loss())
                subject._counters[0]._count = 1  # what the hooks of an update do, without paying for the update
                subject.step()
            took[kind].append((time.process_time() - began) / CALLS * 1e3)
    about = f"torch {torch.__version__}, {platform.machine()}"
    table = Table("policy", "ms a step", "of Linear's", title=f"observe() and step(), one thread, medians; {about}")
    for kind, values in took.items():
        base = took[FLOAT if "float rate" in kind else TENSOR]
        ratio = statistics.median(one / other for one, other in zip(values, base, strict=True))
        table.add_row(kind, f"{statistics.median(values):.4f}", f"{ratio:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
