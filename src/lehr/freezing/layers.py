"""A model's layers in the order in which they run: what freezes together, and when its turn is."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, overload

from torch import nn

from lehr._arguments import whole_argument
from lehr._numbers import shown
from lehr.freezing.sharding import refuse_flat_parameters
from lehr.freezing.trace import NEVER, Trace, trace
from lehr.freezing.units import Named, at_depth, blocks, is_block, is_compiled, is_small, select, unwrap
from lehr.state.sharding import reshard

OTHER_PARAMETERS: Final = (
    "{}: layers are from a model that has other parameters by now ({}); call layers_of after whatever replaces or adds "
    "parameters (fully_shard, to_empty, load_state_dict(assign=True), tied weights, LoRA), and make plan, optimizer "
    "and scheduler from that"
)


@dataclass(frozen=True, eq=False)
class Layer:
    """What freezes together.

    Args:
        name: of its modules in the model, joined by `+`.
        modules: those that stop learning statistics and dropping out when it freezes.
        parameters: those that stop training.

    >>> layer = layers_of(torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1)))[0]
    >>> layer.name, layer.size
    ('0', 9)
    """

    name: str
    modules: tuple[nn.Module, ...]
    parameters: tuple[nn.Parameter, ...]

    @property
    def size(self) -> int:
        """How many numbers its parameters hold."""
        return sum(parameter.numel() for parameter in self.parameters)

    @property
    def entrances(self) -> list[nn.Module]:
        """Its modules that are called, without those inside them."""
        entrances: list[nn.Module] = []
        waiting = list(self.modules)
        while waiting:
            module = waiting.pop()
            if isinstance(module, nn.ModuleList | nn.ModuleDict):  # which are never called themselves
                waiting += module.children()
            else:
                entrances.append(module)
        inner = {id(part) for module in entrances for part in module.modules() if part is not module}
        return [module for module in dict.fromkeys(entrances) if id(module) not in inner]


@dataclass(frozen=True, eq=False)
class Layers(Sequence[Layer]):
    """A model and its layers in the order in which they run; printing shows a table.

    Args:
        model: the model, without wrappers.
        layers: in order; the last one never freezes.
        others: the model's parameters that did not train, and so are in no layer.
        compiled: whether the model was given compiled.
        caller: what the user calls, which may be a wrapper of the model; the model in copies.

    >>> layers = layers_of(torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1)))
    >>> len(layers), [layer.name for layer in layers]
    (2, ['0', '1'])
    """

    model: nn.Module
    layers: tuple[Layer, ...]
    others: tuple[nn.Parameter, ...]
    compiled: bool
    caller: nn.Module

    def check_parameters(self, who: str, additions: Collection[int] = ()) -> None:
        """See that the model still has the parameters that it had.

        Args:
            who: asks, for the message.
            additions: the ids of parameters that may have come since, and never freeze.

        Raises:
            ValueError: if parameters were added or replaced.
        """
        reshard(self.model)
        known = {id(parameter) for layer in self for parameter in layer.parameters} | set(map(id, self.others))
        for name, parameter in self.model.named_parameters():
            if id(parameter) not in known and id(parameter) not in additions:
                raise ValueError(OTHER_PARAMETERS.format(who, f"{name} is new"))
            known.discard(id(parameter))
        if known:
            raise ValueError(OTHER_PARAMETERS.format(who, f"{len(known)} of them are gone"))

    def __len__(self) -> int:
        return len(self.layers)

    @overload
    def __getitem__(self, index: int) -> Layer: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Layer]: ...
    def __getitem__(self, index: int | slice) -> Layer | Sequence[Layer]:
        return self.layers[index]

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __getstate__(self) -> dict[str, Any]:
        """For copying and pickling: compiled wrappers do not travel."""
        return {**self.__dict__, "caller": self.model}

    def __str__(self) -> str:
        width = max(len(layer.name) for layer in self)
        return "\n".join(f"{i:>3}  {layer.name:<{width}}  {layer.size:>13,}" for i, layer in enumerate(self))


def layers_of(
    model: nn.Module,
    example_input: Any = None,
    *,
    layers: Iterable[str | nn.Module | Sequence[str | nn.Module]] | None = None,
    depth: int | None = None,
) -> Layers:
    """A model's layers in the order in which they run.

    One forward pass shows which parameters are used when. A layer is a child of a `Sequential`, or a block: an entry of
    the model's lists of blocks, or what stands beside them. Norms belong to the layer before them, the final norm and
    the classifier to the last layer. A parameter freezes with the last layer that uses it, so tied embeddings freeze
    with the output; one outside all layers, such as a class token, with the layer that ran last before its last use.
    Parameters that do not train, or that the example does not reach, never freeze: the latter count to the last layer.

    Args:
        model: any module, also inside DDP or compiled; it is left as it was.
        example_input: what the model is called with: a tensor, a tuple of arguments or a dict of named ones; a small
            batch is enough. A `Sequential` needs none.
        layers: which modules are layers, by name or themselves; several that freeze together as a list.
        depth: instead, make each module that many levels down a layer; at least 1.

    Raises:
        ValueError: if the model has fewer than two layers, an example is needed, or a named module is not there.

    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
    >>> print(layers_of(model))
      0  0              9
      1  2              4
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"layers_of: model must be a torch.nn.Module; got {shown(model)}")
    compiled, caller = is_compiled(model), model
    model = unwrap(model)
    refuse_flat_parameters(model)
    if layers is not None and depth is not None:
        raise ValueError("layers_of: give layers or depth, not both")
    groups = select(model, layers) if layers is not None else [[unit] for unit in _units(model, depth)]
    traced = trace(model, example_input, [unit.module for group in groups for unit in group])
    groups.sort(key=lambda group: max(traced.last_entry(unit.module) for unit in group))
    parts = _assemble(model, _merge(groups) if layers is None else groups, traced)
    if len(parts) < 2:
        names = ", ".join(layer.name for layer in parts) or "none that train"
        raise ValueError(
            f"layers_of: freezing needs at least two layers that train, and this model has {len(parts)} ({names}); "
            "name its parts with layers=, choose a depth, or call unfreeze() of the plan that has frozen them"
        )
    others = tuple(parameter for parameter in model.parameters() if not parameter.requires_grad)
    return Layers(model, tuple(parts), others, compiled, caller)


def _units(model: nn.Module, depth: int | None) -> list[Named]:
    if depth is None:
        return blocks(model)
    return at_depth(model, whole_argument("layers_of: depth", depth))


def _merge(groups: list[list[Named]]) -> list[list[Named]]:
    """What has no weights to speak of joined to the layer before it, and the final norm to the last layer."""
    weighted = [place for place, (unit,) in enumerate(groups) if not is_small(unit.module)]
    after = weighted[-2] if len(weighted) > 1 else -1
    merged: list[list[Named]] = []
    waiting: list[Named] = []  # for the next layer
    for place, (unit,) in enumerate(groups):
        if place in weighted:
            merged.append([*waiting, unit])
            waiting = []
        elif (
            not merged
            or waiting
            or (_is_norm(unit) and any(is_block(part.module) for part in merged[-1]) and place > after)
        ):
            waiting.append(unit)
        else:
            merged[-1].append(unit)
    return [*merged, waiting] if waiting else merged


def _is_norm(unit: Named) -> bool:
    return any(True for _ in unit.module.parameters())


def _assemble(model: nn.Module, groups: list[list[Named]], traced: Trace) -> list[Layer]:
    """Each parameter with the group that ran last before its last use, and each group's modules."""
    ran = [group for group in groups if any(traced.last_entry(unit.module) != NEVER for unit in group)]
    entries = sorted(
        (entry, place) for place, group in enumerate(ran) for unit in group for entry in traced.entries[id(unit.module)]
    )
    moments = [moment for moment, _ in entries]

    def place_at(moment: int) -> int:
        """The group that ran last before the moment; the last one for what never happens."""
        return len(ran) - 1 if moment == NEVER else entries[max(0, bisect_right(moments, moment) - 1)][1]

    parameters: list[list[nn.Parameter]] = [[] for _ in ran]
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameters[place_at(traced.last_use(parameter))].append(parameter)
    modules = [[unit.module for unit in group] for group in ran]
    inside = {id(part) for group in groups for unit in group for part in unit.module.modules()}
    for leaf in traced.leaves:
        if id(leaf) not in inside:  # such as a batch norm that stands beside all that were named
            modules[place_at(traced.last_entry(leaf))].append(leaf)
    if modules:
        modules[-1] += [unit.module for group in groups if group not in ran for unit in group]
    return _without_empty(ran, parameters, modules)


def _without_empty(
    groups: list[list[Named]], parameters: list[list[nn.Parameter]], modules: list[list[nn.Module]]
) -> list[Layer]:
    """The layers, where groups in which nothing trains are joined to the one before them."""
    nonempty: list[Layer] = []
    early: list[nn.Module] = []
    for group, own, members in zip(groups, parameters, modules, strict=True):
        if own:
            name = "+".join(unit.name for unit in group if any(True for _ in unit.module.parameters()))
            nonempty.append(Layer(name, (*early, *dict.fromkeys(members)), tuple(own)))
            early = []
        elif nonempty:
            previous = nonempty.pop()
            nonempty.append(Layer(previous.name, (*previous.modules, *members), previous.parameters))
        else:
            early += members
    return nonempty
