"""Weights and optimizer state to go back to when training breaks down, which fit into a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lehr.state.nested import copy_state
from lehr.state.reading import Fields

DEEPEST: Final = 8
"""No optimizer nests its state more deeply."""


class Fallback:
    """A copy of what optimizers update, of their state, and of the buffers of modules.

    Args:
        optimizers: whose parameters and state.
        modules: whose buffers.

    >>> weight = torch.nn.Parameter(torch.ones(1))
    >>> optimizer = torch.optim.SGD([weight], lr=1.0)
    >>> fallback = Fallback([optimizer])
    >>> with torch.no_grad(): weight.fill_(5.0)
    Parameter containing:
    tensor([5.], requires_grad=True)
    >>> fallback.put_back([optimizer]); weight.item()
    1.0
    """

    def __init__(self, optimizers: Sequence[Optimizer], modules: Sequence[nn.Module] = ()) -> None:
        pairs = _parameters(optimizers)
        self.parameters = [parameter.detach().clone() for _, parameter in pairs]
        self.state = [copy_state(dict(optimizer.state.get(parameter, {}))) for optimizer, parameter in pairs]
        self.buffers = [buffer.detach().clone() for buffer in _buffers(modules)]

    @torch.no_grad()
    def put_back(self, optimizers: Sequence[Optimizer], modules: Sequence[nn.Module] = ()) -> None:
        """Fill everything in place; gradients, which belong to the weights that are given up, become zero."""
        pairs = _parameters(optimizers)[: len(self.parameters)]  # others may have joined since
        for (optimizer, parameter), copy, state in zip(pairs, self.parameters, self.state, strict=True):
            parameter.copy_(copy)
            _fill(optimizer, parameter, state)
            if parameter.grad is not None:
                parameter.grad.zero_()
        for buffer, copy in zip(_buffers(modules), self.buffers, strict=False):
            buffer.copy_(copy)

    def state_dict(self) -> dict[str, Any]:
        """The copies themselves, in lists."""
        return dict(vars(self))

    @classmethod
    def read(cls, state: Mapping[str, Any], optimizers: Sequence[Optimizer], modules: Sequence[nn.Module]) -> Fallback:
        """The fallback that `state_dict` came from.

        Raises:
            ValueError: if it is of other weights than these.
        """
        fields = Fields("the checkpoint's fallback", state)
        pairs = _parameters(optimizers)
        copies = _tensors(fields, "parameters", [parameter for _, parameter in pairs])
        states = fields.any("state")
        if not isinstance(states, list | tuple) or len(states) != len(copies):
            raise fields.error("state", f"a list of {len(copies)} entries, one for each parameter", states)
        if not all(isinstance(one, Mapping) and all(isinstance(key, str) for key in one) for one in states):
            raise fields.error("state", "a list of dictionaries", states)
        for one, (optimizer, parameter) in zip(states, pairs, strict=False):
            _check_kept(fields, one, optimizer.state.get(parameter, {}))
        fallback = cls.__new__(cls)
        fallback.parameters, fallback.state = copies, [copy_state(dict(one)) for one in states]
        fallback.buffers = _tensors(fields, "buffers", _buffers(modules))
        return fallback


def _tensors(fields: Fields, name: str, like: Sequence[Tensor]) -> list[Tensor]:
    """Copies of tensors that fit the first of these."""
    given = fields.any(name)
    if not isinstance(given, list | tuple) or len(given) > len(like):
        raise fields.error(name, f"a list of at most {len(like)} tensors", given)
    for one, other in zip(given, like, strict=False):
        if not isinstance(one, Tensor) or one.shape != other.shape or one.dtype != other.dtype or not _is_whole(one):
            raise fields.error(name, "a list of tensors like those of the run", given)
        if one.is_floating_point() and not bool(torch.isfinite(one).all()):
            raise ValueError(f"{fields.where}: {name} must hold finite numbers")
    return [one.detach().clone() for one in given]


def _check_kept(fields: Fields, state: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Whether an optimizer's state of one parameter may be copied, and takes the place of the one that is there."""
    for key, value in state.items():
        if not _can_be_copied(value, DEEPEST):
            raise fields.error("state", f"tensors as large as their memory, at most {DEEPEST} deep", value)
        there = now.get(key)
        if isinstance(there, Tensor) and (not isinstance(value, Tensor) or value.shape != there.shape):
            raise fields.error("state", f"for {key!r} a tensor of the shape {tuple(there.shape)}", value)


def _can_be_copied(value: Any, depth: int) -> bool:
    if isinstance(value, Tensor):
        return _is_whole(value)
    if isinstance(value, Mapping | list | tuple | set):
        inside = value.values() if isinstance(value, Mapping) else value
        return depth > 0 and all(_can_be_copied(one, depth - 1) for one in inside)
    return True


def _is_whole(tensor: Tensor) -> bool:
    """Whether all numbers of a tensor are there, and none of them twice: then a copy takes no more memory than it."""
    if type(tensor) not in (Tensor, nn.Parameter):  # sharded and other kinds, which no file holds by itself
        return True
    if tensor.layout is not torch.strided or tensor.device.type == "meta":
        return False
    return tensor.nbytes <= tensor.untyped_storage().nbytes()


def _parameters(optimizers: Sequence[Optimizer]) -> list[tuple[Optimizer, Tensor]]:
    return [(one, parameter) for one in optimizers for group in one.param_groups for parameter in group["params"]]


def _buffers(modules: Sequence[nn.Module]) -> list[Tensor]:
    return list({id(buffer): buffer for module in modules for buffer in module.buffers()}.values())


def _fill(optimizer: Optimizer, parameter: Tensor, state: Mapping[str, Any]) -> None:
    """In place where there is a place, so that compiled steps find what they hold."""
    if not state:
        optimizer.state.pop(parameter, None)
        return
    now = optimizer.state[parameter]
    for key, value in state.items():
        if isinstance(value, Tensor) and isinstance(now.get(key), Tensor) and now[key].shape == value.shape:
            now[key].copy_(value)
        else:
            now[key] = value.to(parameter.device, copy=True) if isinstance(value, Tensor) else copy_state(value)
