"""Wrappers under which layers cannot freeze one by one."""

from __future__ import annotations

from torch import nn

from lehr.state.sharding import is_joined


def refuse_flat_parameters(model: nn.Module) -> None:
    """Refuse the older wrapper, which joins the parameters of several layers into one.

    Raises:
        ValueError: if a part of the model is in a `FullyShardedDataParallel`.
    """
    if is_joined(model):
        raise ValueError(
            "layers_of: model is in a FullyShardedDataParallel, which joins the parameters of several layers into one, "
            "so that they cannot freeze one by one; shard it with torch.distributed.fsdp.fully_shard instead"
        )
