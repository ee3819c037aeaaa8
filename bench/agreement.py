"""What it costs that several processes agree on the time: `scheduler.step()` under a budget of seconds, two gloo ranks.

The kinds take turns in one run, so that a machine that speeds up or slows down does so for all.
"""

from __future__ import annotations

import statistics
import tempfile
import time
import warnings

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from rich.console import Console
from rich.table import Table

import lehr

RANKS, ROUNDS, CALLS = 2, 15, 400
KINDS = {
    "steps: nothing to agree on": (lehr.Budget(steps=10**9), 1),
    "seconds, every update": (lehr.Budget(seconds=10**6), 1),
    "seconds, every 10 updates": (lehr.Budget(seconds=10**6), 10),
    "seconds, every 100 updates": (lehr.Budget(seconds=10**6), 100),
}


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=RANKS)
    schedulers = {}
    for kind, (budget, every) in KINDS.items():
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        schedulers[kind] = lehr.Scheduler(optimizer, lehr.Linear(), budget, agree_every=every)
    took: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(ROUNDS):
        for kind, scheduler in schedulers.items():
            dist.barrier()
            began = time.perf_counter()
            for _ in range(CALLS):
                scheduler._counters[0].restore(1)  # what the hooks of an update do, without paying for the update
                scheduler.step()
            took[kind].append((time.perf_counter() - began) / CALLS * 1e6)
    if rank == 0:
        table = Table("budget", "µs an update", title=f"scheduler.step(), {RANKS} gloo ranks, medians")
        for kind, values in took.items():
            table.add_row(kind, f"{statistics.median(values):,.1f}")
        Console().print(table)
    dist.destroy_process_group()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        mp.start_processes(work, (folder,), nprocs=RANKS, start_method="spawn")
