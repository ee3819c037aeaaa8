"""Models whose parameters `fully_shard` has spread over processes."""

from __future__ import annotations

from typing import Any

import torch.distributed as dist
from torch import nn


def reshard(model: nn.Module) -> None:
    """Have every part of the model hold its shards, where a forward pass without a backward pass has left it whole.

    Optimizers update the shards, so that these are the parameters that count.
    """
    for part in _sharded_parts(model):
        part.reshard()


def refuse_flat_parameters(model: nn.Module) -> None:
    """Refuse the older wrapper, which joins the parameters of several layers into one.

    Raises:
        ValueError: if a part of the model is in a `FullyShardedDataParallel`.
    """
    if not _is_distributed():
        return
    from torch.distributed.fsdp import FullyShardedDataParallel

    if any(isinstance(part, FullyShardedDataParallel) for part in model.modules()):
        raise ValueError(
            "layers_of: model is in a FullyShardedDataParallel, which joins the parameters of several layers into one, "
            "so that they cannot freeze one by one; shard it with torch.distributed.fsdp.fully_shard instead"
        )


def _sharded_parts(model: nn.Module) -> list[Any]:
    if not _is_distributed():
        return []
    from torch.distributed.fsdp import FSDPModule

    return [part for part in model.modules() if isinstance(part, FSDPModule)]


def _is_distributed() -> bool:
    """Whether there is a process group, without which nothing is sharded: the imports take a while."""
    return dist.is_available() and dist.is_initialized()
