"""When a model uses its parameters: one forward pass, read from the graph that it leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from lehr.state import untouched
from lehr.state.sharding import reshard

NEVER: Final = -1
"""The moment of what does not happen."""


@dataclass(frozen=True)
class Trace:
    """At which moments modules were entered and parameters used last; moments count operations.

    Args:
        entries: id of a module -> the moments at which its forward began.
        uses: id of a parameter -> the moment of its last use.
        leaves: the model's modules without children.
    """

    entries: Mapping[int, Sequence[int]]
    uses: Mapping[int, int]
    leaves: Sequence[nn.Module]

    def last_entry(self, module: nn.Module) -> int:
        """The moment at which the module ran last."""
        return max(self.entries[id(module)], default=NEVER)

    def last_use(self, parameter: nn.Parameter) -> int:
        """The moment at which the parameter was used last, `NEVER` if it was not."""
        return self.uses.get(id(parameter), NEVER)


def trace(model: nn.Module, example: Any, modules: Sequence[nn.Module]) -> Trace:
    """Run the model once, in evaluation mode so that no statistics are learned, and note when things happen.

    A `Sequential` needs no example: its order is known.
    """
    if example is None:
        if not isinstance(model, nn.Sequential) or not _in_lists(model, modules):
            raise ValueError(
                "layers_of: give example_input, what the model is called with, to see the order it runs in"
            )
        return _list_order(model, modules)
    leaves = [module for module in model.modules() if not any(True for _ in module.children())]
    entries: dict[int, list[int]] = {id(module): [] for module in (*modules, *leaves)}
    places: dict[int, tuple[nn.Module, str]] = {}  # of parameters, which while a sharded part runs are other ones

    def enter(module: nn.Module, inputs: Any) -> None:
        if id(module) in entries:
            entries[id(module)].append(_now())
        for part in module.modules():
            places.update({id(parameter): (part, name) for name, parameter in part._parameters.items()})

    handles = [module.register_forward_pre_hook(enter) for module in model.modules()]
    try:
        with untouched(model), torch.enable_grad(), torch.compiler.set_stance("force_eager"):
            model.eval()
            uses = _uses(differentiable(call(model, example)))
    finally:
        for handle in handles:
            handle.remove()
        reshard(model)
    for key, (module, name) in places.items():
        if key in uses:
            uses[id(module._parameters[name])] = uses[key]
    for module in modules:  # one that is used without being called runs when its parameters are used
        if not entries[id(module)]:
            entries[id(module)] = [min((uses[id(p)][0] for p in module.parameters() if id(p) in uses), default=NEVER)]
    return Trace(entries, {key: last for key, (_, last) in uses.items()}, leaves)


def call(model: nn.Module, example: Any) -> Any:
    """The model's outputs for a tensor, a tuple of arguments or a dict of named ones."""
    if isinstance(example, Mapping):
        return model(**example)
    return model(*example) if isinstance(example, tuple) else model(example)


def differentiable(outputs: Any) -> list[Tensor]:
    """The outputs from which gradients flow: the loss if the model gives one, or else all of them.

    Raises:
        ValueError: if there are none.
    """
    loss = getattr(outputs, "loss", None)
    leaves = [loss] if isinstance(loss, Tensor) else tree_leaves(outputs)
    leaves = [part for leaf in leaves for part in ([leaf] if isinstance(leaf, Tensor) else _inside(leaf))]
    flowing = [leaf for leaf in leaves if leaf.grad_fn is not None]
    if not flowing:
        raise ValueError("example_input: no output of the model depends on a parameter that trains")
    return flowing


def _inside(thing: Any) -> list[Tensor]:
    """The tensors of an object that keeps its results as attributes."""
    return [value for value in getattr(thing, "__dict__", {}).values() if isinstance(value, Tensor)]


def _uses(outputs: Sequence[Tensor]) -> dict[int, tuple[int, int]]:
    """Id of a parameter -> moments of its first and last use, from the graph behind the outputs."""
    uses: dict[int, tuple[int, int]] = {}
    waiting = [output.grad_fn for output in outputs]
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        assert node is not None
        for source, _ in node.next_functions:
            if source is None:
                continue
            variable = getattr(source, "variable", None)
            if variable is not None:
                moment = node._sequence_nr()
                first, last = uses.get(id(variable), (moment, moment))
                uses[id(variable)] = (min(first, moment), max(last, moment))
            elif source not in seen:
                seen.add(source)
                waiting.append(source)
    return uses


def _now() -> int:
    """The number of the next operation, as the graph counts them."""
    node = torch.zeros((), requires_grad=True).clone().grad_fn
    assert node is not None
    return int(node._sequence_nr())


def _list_order(model: nn.Sequential, modules: Sequence[nn.Module]) -> Trace:
    """The order of the list: what a `Sequential` holds runs one after the other."""
    entries: dict[int, int] = {}
    uses: dict[int, int] = {}
    for moment, (_, module) in enumerate(model.named_modules(remove_duplicate=False)):
        entries[id(module)] = moment
        uses.update({id(parameter): moment for parameter in module._parameters.values()})
    leaves = [module for module in model.modules() if not any(True for _ in module.children())]
    return Trace({key: [moment] for key, moment in entries.items()}, uses, leaves)


def _in_lists(model: nn.Module, modules: Sequence[nn.Module]) -> bool:
    """Whether all of these modules stand in a `Sequential`, or one inside another."""
    known: set[int] = set()
    waiting = [model]
    while waiting:
        module = waiting.pop()
        if type(module).forward is nn.Sequential.forward:
            known.update(map(id, module.children()))
            waiting += module.children()
    return known.issuperset(map(id, modules))
