"""The outputs of frozen layers, remembered."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lehr._arguments import whole_argument
from lehr.freezing.modes import is_still


class FrozenPrefix(nn.Module):
    """A `Sequential` that runs its frozen layers once an example: their outputs are remembered and used again.

    Frozen layers do the same with the same input at every epoch, so where inputs repeat exactly (no augmentation)
    their forward pass can be left out too. It pays where an epoch or more passes between two freezes, since each
    freeze makes the memory start anew, and where the outputs fit into memory: `samples` times what one example has
    after the frozen layers. Evaluation, and examples without a number, run the whole model.

    Args:
        model: the model; its children run one after the other. Those count as frozen, from the front on, that are in
            evaluation mode while the model trains and have no parameters that do, as `FreezeOut` leaves them.
        samples: how many training examples there are, at least 1.

    Raises:
        TypeError: if `model` is not a `Sequential`.
        ValueError: if `samples` is not a whole number above 0.

    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Linear(8, 1))
    >>> remembering = FrozenPrefix(model, samples=100)
    >>> remembering(torch.ones(4, 2), torch.tensor([17, 3, 8, 99])).shape  # numbers of the examples
    torch.Size([4, 1])
    """

    def __init__(self, model: nn.Module, samples: int) -> None:
        super().__init__()
        if not isinstance(model, nn.Sequential):
            raise TypeError(f"FrozenPrefix: model must be an nn.Sequential; got {type(model).__name__}")
        self.model = model
        self.samples = samples = whole_argument("FrozenPrefix: samples", samples)
        self.reused = 0
        self._of: tuple[int, ...] = ()
        self._known = torch.zeros(samples, dtype=torch.bool)
        self._outputs: Tensor | None = None

    def forward(self, inputs: Tensor, numbers: Tensor | None = None) -> Any:
        """The model's outputs for examples with these numbers (shape `[batch]`, from 0, each its own input)."""
        if numbers is None or not self.training:
            return self.model(inputs)
        frozen = self._frozen_children()
        version = (frozen, *(tensor._version for tensor in _tensors(self.model[:frozen])))
        if version != self._of:  # other layers, or other weights in them
            self._of, self._outputs = version, None
            self._known.zero_()
        if not frozen:
            return self.model(inputs)
        return self.model[frozen:](self._prefix(frozen, inputs, numbers.cpu()))

    def _prefix(self, frozen: int, inputs: Tensor, numbers: Tensor) -> Tensor:
        if len(numbers) != len(inputs) or int(numbers.min()) < 0 or int(numbers.max()) >= self.samples:
            raise ValueError(
                f"FrozenPrefix: numbers must give each of the {len(inputs)} inputs its own, from 0 to "
                f"{self.samples - 1}; got {len(numbers)} from {int(numbers.min())} to {int(numbers.max())}"
            )
        with torch.no_grad():
            if self._outputs is None or not bool(self._known[numbers].all()):
                outputs: Tensor = self.model[:frozen](inputs)
                if self._outputs is None:
                    self._outputs = outputs.new_empty(self.samples, *outputs.shape[1:])
                self._outputs[numbers.to(outputs.device)] = outputs
                self._known[numbers] = True
                return outputs
            self.reused += len(numbers)
            return self._outputs[numbers.to(self._outputs.device)]

    def _frozen_children(self) -> int:
        for index, child in enumerate(self.model.children()):
            if any(p.requires_grad for p in child.parameters()) or not is_still(child):
                return index
        return len(self.model)


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]
