"""A layer out of the backward pass, and in again."""

from __future__ import annotations

from types import MethodType
from typing import Any

from torch import nn
from torch.optim import Optimizer

from lehr.freezing.layers import Layer


class _Hold:
    """In the place of a frozen module's `train`, which `model.train()` calls on every part of the model.

    It remembers what was there. Copies of the module, as for averaged weights, are not held: nobody would let them go.
    """

    def __init__(self, module: nn.Module, model: nn.Module) -> None:
        self.module = module
        self.own = vars(module).get("train")
        # parts that somebody put into evaluation mode while the rest trained are to stay there
        self.resting = [part for part in module.modules() if not part.training] if model.training else []

    def __call__(self, mode: bool = True) -> nn.Module:  # noqa: FBT001, FBT002 - as nn.Module has it
        return self.module

    def release(self, *, training: bool) -> None:
        """Let the module follow its model again, which is in that mode."""
        if self.own is None:
            del self.module.train
        else:
            self.module.train = self.own  # type: ignore[method-assign]
        self.module.train(training)
        for part in self.resting:
            part.training = False

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        copied = memo.get(id(self.module), self.module)
        return MethodType(type(copied).train, copied)

    def __reduce__(self) -> Any:
        return getattr, (self.module, "train")  # which on loading is that of the class


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
        if not isinstance(vars(module).get("train"), _Hold):
            hold = _Hold(module, model)
            module.eval()
            module.train = hold  # type: ignore[method-assign]


def thaw(layer: Layer, model: nn.Module) -> None:
    """Let the layer train again, in the mode that its model is in."""
    for parameter in layer.parameters:
        parameter.requires_grad_(True)
    for module in layer.modules:
        hold = vars(module).get("train")
        if isinstance(hold, _Hold):
            hold.release(training=model.training)
