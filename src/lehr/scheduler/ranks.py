"""Agreement between the processes of a distributed run: one clock, one loss, one count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import ProcessGroup


def of_first(value: float) -> float:
    """Rank 0's value, on all ranks."""
    if not _several():
        return value
    shared = _shareable(value)
    dist.broadcast(shared, src=0)
    return float(shared)


def total(value: float, among: ProcessGroup | None = None) -> float:
    """The sum of the values of a group's ranks (None: all); not a number on all of them if it is on one."""
    if not _several():
        return value
    shared = _shareable(value)
    dist.all_reduce(shared, group=among)
    return float(shared)


def mean(value: Any, among: ProcessGroup | None = None) -> Any:
    """The mean of the values of a group's ranks (None: all): a number, or a tensor, which stays on its device."""
    if not _several():
        return value
    shared = value.detach().clone() if isinstance(value, torch.Tensor) else _shareable(value)
    dist.all_reduce(shared, group=among)
    shared = shared / dist.get_world_size(among)
    return shared if isinstance(value, torch.Tensor) else float(shared)


def mean_along(loss_at: Callable[[float], float], among: ProcessGroup | None = None) -> Callable[[float], float]:
    """`loss_at` with every loss averaged over a group's ranks; all of them must ask for the same."""
    return _MeanAlong(loss_at, among) if _several() else loss_at


class _MeanAlong:
    """A `loss_at`, or one that gives the loss of each batch, over ranks; everything else is the original's."""

    def __init__(self, loss_at: Any, among: ProcessGroup | None) -> None:
        self._loss_at = loss_at
        self._among = among
        if hasattr(loss_at, "losses"):
            self.losses = self._losses

    def __call__(self, factor: float) -> float:
        return float(mean(float(self._loss_at(factor)), self._among))

    def _losses(self, factor: float, **how: Any) -> list[float]:
        shared = mean(torch.stack([_shareable(loss) for loss in self._loss_at.losses(factor, **how)]), self._among)
        losses: list[float] = shared.tolist()
        return losses

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loss_at, name)


def _several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _shareable(value: float) -> torch.Tensor:
    backend = str(dist.get_backend())
    device = "cpu" if "gloo" in backend or "mpi" in backend else torch.accelerator.current_accelerator()
    return torch.tensor(float(value), dtype=torch.float64, device=device)
