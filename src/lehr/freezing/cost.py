"""What each layer of a model costs: operations of its forward pass, of its backward pass, and memory for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lehr.freezing.layers import Layers
from lehr.freezing.operations import counter
from lehr.freezing.trace import call, differentiable
from lehr.freezing.watch import no_watches
from lehr.state import untouched


@dataclass(frozen=True)
class LayerCost:
    """What one layer costs in an update on the example.

    Args:
        name: of the layer.
        size: how many numbers its parameters hold.
        forward: floating-point operations of its forward pass.
        backward: those that the backward pass saves once it is frozen, and all layers before it are.
        memory: bytes that the forward pass keeps for the backward pass, saved likewise.
    """

    name: str
    size: int
    forward: float
    backward: float
    memory: float


def layer_costs(layers: Layers, example: Any) -> tuple[list[LayerCost], LayerCost]:
    """Each layer's cost, and that of the whole model, counted by running forward and backward passes.

    What a frozen layer saves is seen by freezing it: one layer more at each pass, in their order. The model is put
    back as it was.

    Raises:
        ValueError: if no operations were counted.
    """
    model = layers.model
    forward = [0.0] * len(layers)
    with untouched(model), no_watches(), torch.compiler.set_stance("force_eager"):
        model.eval()  # no statistics are learned from the example, and one example is enough for batch norm
        for parameter in (parameter for layer in layers for parameter in layer.parameters):
            parameter.requires_grad_(True)  # some may be frozen now
        whole_forward, *first = _pass(layers, example, forward)
        passes = [first]
        for layer in layers[:-1]:
            for parameter in layer.parameters:
                parameter.requires_grad_(False)
            passes.append(_pass(layers, example)[1:])
    if not passes[0][0]:
        raise ValueError("freeze_savings: torch counts no operations in this model's backward pass")
    passes.append([0.0, 0.0])  # with the last layer frozen there is no backward pass
    costs = [
        LayerCost(layer.name, layer.size, own, max(0.0, before[0] - after[0]), max(0.0, before[1] - after[1]))
        for layer, own, before, after in zip(layers, forward, passes, passes[1:], strict=False)
    ]
    return costs, LayerCost("all", sum(layer.size for layer in layers), whole_forward, *passes[0])


def _pass(layers: Layers, example: Any, by_layer: list[float] | None = None) -> list[float]:
    """Operations of a forward and a backward pass, and the bytes between them."""
    model = layers.model
    memory = _GraphMemory(model)
    with (
        torch.enable_grad(),
        torch.autograd.graph.saved_tensors_hooks(memory.pack, lambda tensor: tensor),
        counter() as forward,
        _count_by_layer(layers, forward, by_layer),
    ):
        outputs = call(model, example)
    loss = torch.stack([output.float().sum() for output in differentiable(outputs)]).sum()
    with counter() as backward:
        loss.backward()  # type: ignore[no-untyped-call]
    model.zero_grad()
    return [float(forward.get_total_flops()), float(backward.get_total_flops()), float(memory.bytes)]


class _GraphMemory:
    """Counts the memory that the graph keeps, each piece once and the weights not at all."""

    def __init__(self, model: nn.Module) -> None:
        self.bytes = 0
        self._pieces: list[Tensor] = []  # so that no address is used again
        self._seen = {_memory(tensor) for tensor in (*model.parameters(), *model.buffers())}

    def pack(self, tensor: Tensor) -> Tensor:
        if _memory(tensor) not in self._seen:
            self._seen.add(_memory(tensor))
            self._pieces.append(tensor.detach())
            self.bytes += tensor.untyped_storage().nbytes()
        return tensor


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


@contextmanager
def _count_by_layer(layers: Layers, counted: FlopCounterMode, by_layer: list[float] | None) -> Iterator[None]:
    """Add to `by_layer` the operations that are counted while the modules of each layer run."""
    began: list[int] = []
    handles = []

    def enter(module: nn.Module, inputs: Any) -> None:
        began.append(counted.get_total_flops())

    for index, layer in enumerate(layers if by_layer is not None else ()):

        def leave(module: nn.Module, inputs: Any, outputs: Any, *, index: int = index) -> None:
            assert by_layer is not None
            by_layer[index] += counted.get_total_flops() - began.pop()

        for module in layer.entrances:
            handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
