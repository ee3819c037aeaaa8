"""Batches on the device that the model is on."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from copy import copy
from dataclasses import fields, is_dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn


@runtime_checkable
class Movable(Protocol):
    """What moves itself to a device, as a tensor, or the output of a tokenizer, does."""

    def to(self, device: torch.device) -> Any:
        """The same on that device."""


def device_of(model: nn.Module) -> torch.device:
    """Where the first parameter of the model is; the CPU if it has none."""
    first = next(iter(model.parameters()), None)
    return torch.device("cpu") if first is None else first.device


def placed(batch: Any, device: torch.device) -> Any:  # noqa: PLR0911 - one for each kind of batch
    """The batch on that device: tensors in tuples, lists, dictionaries and data classes, and what has `.to`.

    >>> placed({"ids": torch.ones(2), "names": ["a", "b"]}, torch.device("meta"))["ids"].device
    device(type='meta')
    """
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, Movable):  # before tuples, since packed sequences are such
        return batch.to(device)
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(placed(part, device) for part in batch))
    if isinstance(batch, tuple | list):
        return type(batch)(placed(part, device) for part in batch)
    if isinstance(batch, Mapping):
        parts = {key: placed(part, device) for key, part in batch.items()}
        if type(batch) is dict or not isinstance(batch, MutableMapping):
            return parts
        moved = copy(batch)  # whatever else it is made of
        moved.update(parts)
        return moved
    if is_dataclass(batch) and not isinstance(batch, type):
        return replace(
            batch, **{one.name: placed(getattr(batch, one.name), device) for one in fields(batch) if one.init}
        )
    return batch


def count_examples(batch: Any) -> int | None:
    """How many examples a batch has: the length of the first tensor in it; None if there is none.

    >>> count_examples({"ids": torch.ones(8, 3)})
    8
    """
    if isinstance(batch, Tensor):
        return len(batch) if batch.ndim else None
    if isinstance(batch, Mapping):
        batch = list(batch.values())
    if isinstance(batch, tuple | list):
        return next((count for part in batch if (count := count_examples(part)) is not None), None)
    if is_dataclass(batch) and not isinstance(batch, type):
        return count_examples([getattr(batch, one.name) for one in fields(batch)])
    return None
