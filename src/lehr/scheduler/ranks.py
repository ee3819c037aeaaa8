"""Agreement between the processes of a distributed run: one clock, one loss, one count."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import ProcessGroup

from lehr.policy import Look


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


def mean_along(look: Look, among: ProcessGroup | None = None) -> Look:
    """`look` with every loss averaged over a group's ranks; all of them must ask for the same."""
    return _MeanAlong(look, among) if _several() else look


class _MeanAlong:
    """A look whose losses are means over ranks."""

    def __init__(self, look: Look, among: ProcessGroup | None) -> None:
        self.batches = look.batches
        self._look = look
        self._among = among

    def __call__(self, factor: float) -> float:
        return float(mean(float(self._look(factor)), self._among))

    def losses(self, factor: float, batches: int | None = None) -> list[float]:
        shared = mean(torch.stack([_shareable(loss) for loss in self._look.losses(factor, batches)]), self._among)
        losses: list[float] = shared.tolist()
        return losses

    def slope(self) -> float:
        return float(mean(self._look.slope(), self._among))


def _several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _shareable(value: float) -> torch.Tensor:
    backend = str(dist.get_backend())
    device = "cpu" if "gloo" in backend or "mpi" in backend else torch.accelerator.current_accelerator()
    return torch.tensor(float(value), dtype=torch.float64, device=device)
