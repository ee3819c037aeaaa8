"""A gradient of zeros for an optimizer that has nothing left to train."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle


class ZeroGradient:
    """One frozen parameter's gradient of zeros, there from each backward pass to the optimizer's update.

    `GradScaler.step` insists that its optimizer has a gradient to check for overflow. The optimizer itself never sees
    this one: it is gone before the update, so that nothing moves and no state comes.

    Args:
        parameter: a frozen one, best a small one.
        optimizer: all of whose parameters are frozen.
    """

    def __init__(self, parameter: nn.Parameter, optimizer: Optimizer) -> None:
        self._parameter = parameter
        self._sources: set[int] = set()
        self._handles: list[RemovableHandle] = [optimizer.register_step_pre_hook(self._before_update)]

    def attach(self, parameters: Iterable[nn.Parameter]) -> None:
        """Put the gradient there whenever one of these parameters gets its own; those that train now are enough."""
        for parameter in parameters:
            if parameter.requires_grad and id(parameter) not in self._sources:
                self._sources.add(id(parameter))
                handle: RemovableHandle = parameter.register_post_accumulate_grad_hook(self._after_backward)  # type: ignore[no-untyped-call]
                self._handles.append(handle)

    def clear(self, optimizer: Optimizer) -> None:
        """Take the gradient away, and what a compiled update may have made of it."""
        if not self._parameter.requires_grad:
            self._parameter.grad = None
            optimizer.state.pop(self._parameter, None)

    def remove(self) -> None:
        """Stop, since layers train again."""
        if not self._parameter.requires_grad:
            self._parameter.grad = None
        for handle in self._handles:
            handle.remove()

    def _after_backward(self, _: Tensor) -> None:
        if self._parameter.grad is None and not self._parameter.requires_grad:
            self._parameter.grad = torch.zeros_like(self._parameter)

    def _before_update(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if not torch.compiler.is_compiling():
            self.clear(optimizer)
