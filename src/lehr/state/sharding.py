"""Models whose parameters `fully_shard` has spread over processes."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def reshard(model: nn.Module) -> None:
    """Have every part of the model hold its shards, where a forward pass without a backward pass has left it whole.

    Optimizers update the shards, so that these are the parameters that count.
    """
    for part in _sharded_parts(model):
        part.reshard()


def copy_onto(targets: list[Tensor], sources: list[Tensor]) -> None:
    """Copy each source onto its target, at once where torch can: it cannot where they are spread over processes."""
    if all(type(one) in (Tensor, nn.Parameter) for one in targets):
        torch._foreach_copy_([one.detach() for one in targets], sources)
        return
    for target, source in zip(targets, sources, strict=True):
        target.detach().copy_(source)


def whole_number(value: Tensor) -> float:
    """A tensor of one number as that number, also where the processes hold parts of it that must be added up."""
    if is_distributed():
        from torch.distributed.tensor import DTensor

        if isinstance(value, DTensor):
            value = value.full_tensor()
    return float(value)


def is_joined(model: nn.Module) -> bool:
    """Whether a part of the model is in the older `FullyShardedDataParallel`, which joins parameters into one."""
    if not is_distributed():
        return False
    from torch.distributed.fsdp import FullyShardedDataParallel

    return any(isinstance(part, FullyShardedDataParallel) for part in model.modules())


def is_distributed() -> bool:
    """Whether there is a process group, without which nothing is sharded: the imports take a while."""
    return dist.is_available() and dist.is_initialized()


def _sharded_parts(model: nn.Module) -> list[Any]:
    if not is_distributed():
        return []
    from torch.distributed.fsdp import FSDPModule

    return [part for part in model.modules() if isinstance(part, FSDPModule)]
