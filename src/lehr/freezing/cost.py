"""What each layer of a model costs: operations of its forward pass, of its backward pass, and memory kept for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lehr.freezing.layers import Layers
from lehr.freezing.trace import call, differentiable
from lehr.state import untouched


@dataclass(frozen=True)
class LayerCost:
    """What one layer costs in an update on the example.

    Args:
        name: of the layer.
        size: how many numbers its parameters hold.
        forward: floating-point operations of its forward pass.
        backward: those that the backward pass saves once it is frozen, and all layers before it are.
        kept: bytes kept from the forward for the backward pass that are saved likewise.
    """

    name: str
    size: int
    forward: float
    backward: float
    kept: float


def layer_costs(layers: Layers, example: Any) -> tuple[list[LayerCost], LayerCost]:
    """Each layer's cost, and that of the whole model, counted by running forward and backward passes.

    What a frozen layer saves is seen by freezing it: one layer more at each pass, in their order. The model is put
    back as it was.

    Raises:
        ValueError: if no operations were counted.
    """
    model = layers.model
    with untouched(model), torch.compiler.set_stance("force_eager"):
        model.eval()  # no statistics are learned from the example, and one example is enough for batch norm
        with torch.no_grad(), _by_layer(layers) as forward:
            call(model, example)
        passes = [_pass(model, example)]
        for layer in layers[:-1]:
            for parameter in layer.parameters:
                parameter.requires_grad_(False)
            passes.append(_pass(model, example))
    passes.append((0.0, 0.0))  # with the last layer frozen there is no backward pass
    costs = [
        LayerCost(layer.name, layer.size, own, max(0.0, before[0] - after[0]), max(0.0, before[1] - after[1]))
        for layer, own, before, after in zip(layers, forward[:-1], passes, passes[1:], strict=False)
    ]
    if not passes[0][0]:
        raise ValueError("freeze_savings: torch counts no operations in this model's backward pass")
    whole = LayerCost("all", sum(layer.size for layer in layers), forward[-1], *passes[0])
    return costs, whole


def _pass(model: nn.Module, example: Any) -> tuple[float, float]:
    """Operations of a backward pass, and bytes kept for it."""
    kept = _Kept(model)
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda saved: saved):
        outputs = call(model, example)
    loss = torch.stack([output.float().sum() for output in differentiable(outputs)]).sum()
    with FlopCounterMode(display=False) as counter:
        loss.backward()  # type: ignore[no-untyped-call]
    model.zero_grad()
    return float(counter.get_total_flops()), float(kept.bytes)


class _Kept:
    """Counts the memory that the graph keeps, each piece once and the weights not at all."""

    def __init__(self, model: nn.Module) -> None:
        self.bytes = 0
        self._held: list[Tensor] = []  # so that no address is used again
        self._seen = {_memory(tensor) for tensor in (*model.parameters(), *model.buffers())}

    def pack(self, tensor: Tensor) -> Tensor:
        if _memory(tensor) not in self._seen:
            self._seen.add(_memory(tensor))
            self._held.append(tensor.detach())
            self.bytes += tensor.untyped_storage().nbytes()
        return tensor


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


@contextmanager
def _by_layer(layers: Layers) -> Iterator[list[float]]:
    """The forward operations of each layer, and of the whole model as the last entry."""
    counted = [0.0] * (len(layers) + 1)
    began: list[int] = []
    handles = []
    with FlopCounterMode(display=False) as counter:

        def enter(module: nn.Module, inputs: Any) -> None:
            began.append(counter.get_total_flops())

        for index, layer in enumerate(layers):

            def leave(module: nn.Module, inputs: Any, outputs: Any, *, index: int = index) -> None:
                counted[index] += counter.get_total_flops() - began.pop()

            outer = [m for m in layer.modules if not any(m is not o and m in set(o.modules()) for o in layer.modules)]
            for module in outer:
                handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
        try:
            yield counted
        finally:
            for handle in handles:
                handle.remove()
    counted[-1] = float(counter.get_total_flops())
