"""Processes that train together: forked from one that has imported torch, so that a start takes milliseconds."""

from __future__ import annotations

import gc
import multiprocessing
from collections.abc import Callable
from pathlib import Path

import torch.distributed as dist
import torch.multiprocessing as mp

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["torch", "torch._dynamo", "lehr.lab.launch"])


def run_ranks(work: Callable[[int, str], None], folder: Path, ranks: int) -> None:
    """Call `work(rank, folder)` in so many processes, and wait until all have come to their end, or been killed."""
    started = mp.start_processes(  # type: ignore[no-untyped-call]
        work, (str(folder),), nprocs=ranks, join=False, start_method="forkserver"
    )
    for process in started.processes:
        process.join(300)


def run_all_ranks(work: Callable[[int, str], None], folder: Path, ranks: int) -> None:
    """The same, in a gloo group of all of them, where none may fail."""
    mp.start_processes(_in_group, (work, str(folder), ranks), nprocs=ranks, start_method="forkserver")  # type: ignore[no-untyped-call]


def _in_group(rank: int, work: Callable[[int, str], None], folder: str, ranks: int) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=ranks)
    work(rank, folder)
    gc.collect()  # a wrapped model that outlives its group can wait for it for good
    dist.destroy_process_group()
