"""A layer out of the backward pass, and in again."""

from __future__ import annotations

from types import MethodType

from torch import nn
from torch.optim import Optimizer

from lehr.freezing.layers import Layer


def freeze(layer: Layer, optimizer: Optimizer | None) -> None:
    """Stop the layer: no gradients, no optimizer state, no statistics, no dropout.

    Parameter groups stay as they are, so that checkpoints of the optimizer load before and after.
    """
    for parameter in layer.parameters:
        parameter.requires_grad_(False)
        parameter.grad = None  # an optimizer would still follow it
        if optimizer is not None:
            optimizer.state.pop(parameter, None)
    for module in layer.modules:
        module.eval()
        module.train = MethodType(train, module)  # type: ignore[method-assign]


def thaw(layer: Layer, model: nn.Module) -> None:
    """Let the layer train again, in the mode that its model is in."""
    for parameter in layer.parameters:
        parameter.requires_grad_(True)
    for module in layer.modules:
        if is_held(module):
            del module.train
            module.train(model.training)


def is_held(module: nn.Module) -> bool:
    """Whether the module stays in evaluation mode whatever it is told."""
    return getattr(vars(module).get("train"), "__func__", None) is train


def train(self: nn.Module, mode: bool = True) -> nn.Module:  # noqa: FBT001, FBT002 - as nn.Module has it
    """In the place of a frozen module's `train`, which `model.train()` calls on every part of the model."""
    del mode
    return self
