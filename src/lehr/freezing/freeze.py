"""A layer out of the backward pass, and in again."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer

from lehr.freezing.layers import Layer
from lehr.freezing.modes import Hold, hold_of


def freeze(layer: Layer, model: nn.Module, optimizer: Optimizer | None) -> None:
    """Stop the layer: no gradients, no optimizer state, no statistics, no dropout; again and again if need be.

    Parameter groups stay as they are, so that checkpoints of the optimizer load before and after.
    """
    for parameter in layer.parameters:
        parameter.requires_grad_(False)
        parameter.grad = None  # an optimizer would still follow it
        if optimizer is not None:
            optimizer.state.pop(parameter, None)
    for module in layer.modules:
        hold = hold_of(module)
        if hold is None:
            Hold(module, model)
        else:
            hold.renew()


def thaw(layer: Layer, model: nn.Module) -> None:
    """Let the layer train again, in the mode that its model is in."""
    for parameter in layer.parameters:
        parameter.requires_grad_(True)
    for module in layer.modules:
        hold = hold_of(module)
        if hold is not None:
            hold.release(training=model.training)


def has_slipped(layer: Layer) -> bool:
    """Whether somebody has let a frozen layer train again, as `model.requires_grad_(True)` does."""
    holds = (hold for module in layer.modules if (hold := hold_of(module)) is not None)
    return any(parameter.requires_grad for parameter in layer.parameters) or any(hold.has_slipped for hold in holds)
