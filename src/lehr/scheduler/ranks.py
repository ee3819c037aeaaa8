"""Agreement between the processes of a distributed run: one clock, one loss, one count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import ProcessGroup

from lehr._numbers import shown
from lehr.policy import Look
from lehr.scheduler import last_words
from lehr.scheduler.last_words import NoAgreementError


def is_first() -> bool:
    """Whether this process is the first, or the only one."""
    return not several() or dist.get_rank() == 0


def of_first(value: float) -> float:
    """Rank 0's value, on all ranks."""
    if not several():
        return value
    shared = _shareable(value)
    _together("the time", lambda: dist.broadcast(shared, src=0))
    return float(shared)


def check(among: Any) -> None:
    """Whether those that see different data are named as torch names them; also where there is one process only.

    Raises:
        TypeError: if not.
    """
    if among is not None and not isinstance(among, ProcessGroup):
        raise TypeError(
            f"data_parallel must be a torch.distributed.ProcessGroup, as a mesh's get_group() gives; got {shown(among)}"
        )


def total(value: float, among: ProcessGroup | None = None) -> float:
    """The sum of the values of a group's ranks (None: all); not a number on all of them if it is on one."""
    if not several():
        return value
    shared = _shareable(value)
    _together("how much was used", lambda: dist.all_reduce(shared, group=among))
    return float(shared)


def mean(value: Any, among: ProcessGroup | None = None) -> Any:
    """The mean of the values of a group's ranks (None: all), a number or a tensor on its device as this rank gave it.

    What is sent is the same kind of tensor on all ranks, so that some may give numbers and others tensors.
    """
    if not several():
        return value
    shared = _shareable(value)
    _together("the loss", lambda: dist.all_reduce(shared, group=among))
    shared /= dist.get_world_size(among)
    if not isinstance(value, torch.Tensor):
        return float(shared)
    dtype = value.dtype if value.is_floating_point() else torch.float32
    return shared.to(dtype).to(value.device).reshape(value.shape)


def mean_along(look: Look, among: ProcessGroup | None = None) -> Look:
    """`look` with every loss averaged over a group's ranks; all of them must ask for the same."""
    return _MeanAlong(look, among) if several() else look


class _MeanAlong:
    """A look whose losses are means over ranks."""

    def __init__(self, look: Look, among: ProcessGroup | None) -> None:
        self.batches = look.batches
        self._look = look
        self._among = among

    def __call__(self, factor: float) -> float:
        return float(mean(float(self._look(factor)), self._among))

    def losses(self, factor: float, batches: int | None = None) -> list[float]:
        shared = torch.stack([_shareable(loss) for loss in self._look.losses(factor, batches)])
        _together("the losses of a probe", lambda: dist.all_reduce(shared, group=self._among))
        losses: list[float] = (shared / dist.get_world_size(self._among)).tolist()
        return losses

    def slope(self) -> float:
        return float(mean(self._look.slope(), self._among))


def several() -> bool:
    """Whether the run has several processes."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _shareable(value: Any) -> torch.Tensor:
    """One number in double precision where the backend can send it from, whatever kind of number it is."""
    backend = str(dist.get_backend())
    device = "cpu" if "gloo" in backend or "mpi" in backend else torch.accelerator.current_accelerator()
    if not isinstance(value, torch.Tensor):
        return torch.tensor(float(value), dtype=torch.float64, device=device)
    if value.numel() != 1:
        raise ValueError(f"loss must be one number on every rank; rank {dist.get_rank()} got {tuple(value.shape)}")
    moved = value.detach().reshape(()).to(device)  # before the next step, since not every device has double precision
    return moved.to(torch.float64, copy=True)


def _together(what: str, collective: Callable[[], Any]) -> None:
    """Let all ranks take part in a collective; where one does not, say so in this library's words.

    Raises:
        RuntimeError: if another rank has stopped, or was elsewhere.
    """
    last_words.arrive()
    try:
        collective()
    except RuntimeError as error:
        reason = (str(error).splitlines() or [""])[0]
        known = last_words.of_others()
        advice = known or (
            "another rank has stopped, or did not call the scheduler here as this one did. Look for the first error in "
            "their output, and see that all of them call observe() and step() equally often with the same arguments"
        )
        raise NoAgreementError(
            f"rank {dist.get_rank()} of {dist.get_world_size()} could not agree with the others on {what}: {advice} "
            f"({reason})"
        ) from error
