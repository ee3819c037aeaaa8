"""Weights and optimizer state to go back to, which fit into a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class Snapshot:
    """A copy of what an optimizer updates, of its state, and of a model's buffers.

    Args:
        optimizer: whose parameters and state.
        model: whose buffers; None if it is not known.

    >>> weight = torch.nn.Parameter(torch.ones(1))
    >>> optimizer = torch.optim.SGD([weight], lr=1.0)
    >>> snapshot = Snapshot(optimizer)
    >>> with torch.no_grad(): weight.fill_(5.0)
    Parameter containing:
    tensor([5.], requires_grad=True)
    >>> snapshot.put_back(optimizer); weight.item()
    1.0
    """

    def __init__(self, optimizer: Optimizer, model: nn.Module | None = None) -> None:
        parameters = _parameters(optimizer)
        self.parameters = [parameter.detach().clone() for parameter in parameters]
        self.state = [_copied(optimizer.state.get(parameter, {})) for parameter in parameters]
        self.buffers = [] if model is None else [buffer.clone() for buffer in model.buffers()]

    @torch.no_grad()
    def put_back(self, optimizer: Optimizer, model: nn.Module | None = None) -> None:
        """Fill everything in place; gradients, which belong to the weights that are given up, become zero."""
        parameters = _parameters(optimizer)[: len(self.parameters)]  # others have joined since
        for parameter, copy, state in zip(parameters, self.parameters, self.state, strict=True):
            parameter.copy_(copy)
            _fill(optimizer, parameter, state)
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad.zero_()
        for buffer, copy in zip([] if model is None else model.buffers(), self.buffers, strict=False):
            buffer.copy_(copy)

    def state_dict(self) -> dict[str, Any]:
        """The copies themselves, in lists."""
        return dict(vars(self))

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> Snapshot:
        """The snapshot that `state_dict` came from."""
        snapshot = cls.__new__(cls)
        vars(snapshot).update(state)
        return snapshot


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _copied(state: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value.clone() if isinstance(value, Tensor) else deepcopy(value) for key, value in state.items()}


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
            now[key] = value.to(parameter.device, copy=True) if isinstance(value, Tensor) else value
