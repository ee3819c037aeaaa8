"""What the processes of a run tell each other when one of them stops, so that the others can say which, and why."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from weakref import WeakSet

import torch.distributed as dist

PATIENCE: Final = 5.0
"""Seconds to wait for word of the others, once a collective has failed."""

LONGEST: Final = 300
"""Characters of an error that are passed on."""

_present: WeakSet[Any] = WeakSet()
"""Process groups in which this process has said where it runs."""

_told: WeakSet[Any] = WeakSet()
"""Process groups in which it has said why it stops."""


class NoAgreementError(RuntimeError):
    """Another rank has stopped, which is why this one cannot go on."""


def arrive() -> None:
    """Say once where this process runs, and take back an earlier word, since it goes on."""
    if not _several():
        return
    group = dist.group.WORLD
    if group in _present and group not in _told:
        return
    with suppress(RuntimeError, AttributeError):  # a store that is gone is no reason to stop
        store, rank = _store(), dist.get_rank()
        store.set(f"lehr/runs/{rank}", f"{os.getpid()} {_machine()}")
        store.set(f"lehr/stops/{rank}", "")
    _present.add(group)
    _told.discard(group)


@contextmanager
def telling() -> Iterator[None]:
    """A context whose errors the other ranks hear of."""
    try:
        yield
    except BaseException as error:
        tell(error)
        raise


def tell(error: BaseException) -> None:
    """Leave word for the other ranks why this one stops."""
    if isinstance(error, NoAgreementError | GeneratorExit) or not _several():
        return
    with suppress(Exception):  # of an error that cannot say itself, or a store that is gone: the error matters more
        what = str(error) or (type(error).__doc__ or "").partition("\n")[0]
        said = " ".join(f"{type(error).__name__}: {what}".split())[:LONGEST]
        _store().set(f"lehr/stops/{dist.get_rank()}", said)
    _told.add(dist.group.WORLD)


def of_others() -> str:
    """Which rank has stopped and why, as far as that can be found out; empty if it cannot."""
    with suppress(RuntimeError, AttributeError):
        store, others = _store(), [rank for rank in range(dist.get_world_size()) if rank != dist.get_rank()]
        store.set(f"lehr/waits/{dist.get_rank()}", "")
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            if found := [said for rank in others if (said := _word(store, rank))]:
                return "; ".join(found)
            if all(store.check([f"lehr/waits/{rank}"]) for rank in others):
                return ""  # nobody has stopped: they were elsewhere
            time.sleep(0.05)
        silent = [str(rank) for rank in others if not store.check([f"lehr/waits/{rank}"])]
        return f"no word came from rank {', '.join(silent)}"
    return ""


def _word(store: Any, rank: int) -> str:
    """What is known of a rank that has stopped; empty if it may still run."""
    said = _get(store, f"lehr/stops/{rank}")
    if said:
        return f"rank {rank} stopped with {said}"
    if store.check([f"lehr/waits/{rank}"]):  # it failed for want of another, and may have ended since
        return ""
    process, _, host = _get(store, f"lehr/runs/{rank}").partition(" ")
    if process and host == _machine() and not _runs(int(process)):
        return f"rank {rank} is gone: its process {process} was killed, or has come to its end"
    return ""


def _machine() -> str:
    """Where process numbers mean the same: the machine, and the container where it numbers its own."""
    with suppress(OSError):
        return f"{socket.gethostname()} {Path('/proc/self/ns/pid').readlink()}"
    return socket.gethostname()


def _get(store: Any, key: str) -> str:
    return store.get(key).decode() if store.check([key]) else ""


def _runs(process: int) -> bool:
    """Whether a process of this machine is alive."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    with suppress(OSError, IndexError):  # one that nobody has waited for yet is dead all the same
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return True


def _several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _store() -> Any:
    """The store through which the processes met."""
    return dist.distributed_c10d._get_default_store()
