"""The outputs of frozen layers, remembered."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lehr.freezing.freeze import is_held
from lehr.freezing.freezeout import FreezeOut


class FrozenPrefix(nn.Module):
    """A `Sequential` that runs its frozen layers once an example: their outputs are remembered and used again.

    Frozen layers do the same with the same input at every epoch, so where inputs repeat exactly (no augmentation)
    their forward pass can be left out too. It pays where an epoch or more passes between two freezes, since each
    freeze makes the memory start anew, and where the outputs fit into memory: `samples` times what one example has
    after the frozen layers. Evaluation, and examples without a number, run the whole model.

    Args:
        model: the model; its children run one after the other.
        plan: which freezes its layers.
        samples: how many training examples there are.

    Raises:
        TypeError: if `model` is not a `Sequential`.

    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Linear(8, 1))
    >>> remembering = FrozenPrefix(model, FreezeOut(layers_of(model)), samples=100)
    >>> remembering(torch.ones(4, 2), torch.tensor([17, 3, 8, 99])).shape  # numbers of the examples
    torch.Size([4, 1])
    """

    def __init__(self, model: nn.Module, plan: FreezeOut, samples: int) -> None:
        super().__init__()
        if type(model) is not nn.Sequential:
            raise TypeError(f"FrozenPrefix: model must be an nn.Sequential; got {type(model).__name__}")
        self.model = model
        self.plan = plan
        self.samples = samples
        self.reused = 0
        self._length = 0
        self._known = torch.zeros(samples, dtype=torch.bool)
        self._outputs: Tensor | None = None

    def forward(self, inputs: Tensor, numbers: Tensor | None = None) -> Any:
        """The model's outputs for examples with these numbers (shape `[batch]`, from 0, each its own input)."""
        if numbers is None or not self.training:
            return self.model(inputs)
        length = self._frozen_children()
        if length != self._length:
            self._length, self._outputs = length, None
            self._known.zero_()
        if not length:
            return self.model(inputs)
        return self.model[length:](self._prefix(inputs, numbers.cpu()))

    def _prefix(self, inputs: Tensor, numbers: Tensor) -> Tensor:
        with torch.no_grad():
            if self._outputs is None or not bool(self._known[numbers].all()):
                outputs: Tensor = self.model[: self._length](inputs)
                if self._outputs is None:
                    self._outputs = outputs.new_empty(self.samples, *outputs.shape[1:])
                self._outputs[numbers.to(outputs.device)] = outputs
                self._known[numbers] = True
                return outputs
            self.reused += len(numbers)
            return self._outputs[numbers.to(self._outputs.device)]

    def _frozen_children(self) -> int:
        """How many children from the front on are frozen, or do nothing that training changes."""
        for length, child in enumerate(self.model):
            trains = any(parameter.requires_grad for parameter in child.parameters())
            held = is_held(child) or (not any(True for _ in child.parameters()) and not child.training)
            if trains or not held:
                return length
        return len(self.model)
