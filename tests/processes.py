"""Processes that train together: forked from one that has imported torch, so that a start takes milliseconds."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path

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
    """The same, where none may fail."""
    mp.start_processes(work, (str(folder),), nprocs=ranks, start_method="forkserver")  # type: ignore[no-untyped-call]
