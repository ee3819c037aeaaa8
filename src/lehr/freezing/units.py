"""Which modules of a model are its layers: blocks, not single leaves, unless the user says otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from lehr._numbers import shown

NEARLY_ALL: Final = 0.8
LISTS: Final = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


class Named(NamedTuple):
    """A module and its name in the model."""

    name: str
    module: nn.Module


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside `torch.compile` and data-parallel wrappers."""
    while True:
        inner = getattr(model, "_orig_mod", None)  # a compiled model
        if inner is None and (isinstance(model, DistributedDataParallel) or hasattr(model, "rewraps")):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def is_compiled(model: nn.Module) -> bool:
    """Whether the model, or what it wraps, was given to `torch.compile`, or compiled in place."""
    inner = unwrap(model)
    return hasattr(model, "_orig_mod") or inner._compiled_call_impl is not None


def blocks(model: nn.Module) -> list[Named]:
    """The children of a `Sequential`; of any other model, the entries of its lists of blocks and all beside them.

    A child that holds nearly all of the model, such as somebody else's network before a new classifier, is looked into.
    """
    whole = sum(parameter.numel() for parameter in model.parameters())
    if isinstance(model, nn.Sequential):
        units = [Named(name, child) for name, child in model.named_children()]
    else:
        units = [unit for name, child in model.named_children() for unit in _expand(Named(name, child))]
    while huge := [unit for unit in units if _size(unit) > NEARLY_ALL * whole and _can_be_split(unit, model)]:
        place = units.index(huge[0])
        units[place : place + 1] = [
            part
            for key, child in huge[0].module.named_children()
            for part in _expand(Named(f"{huge[0].name}.{key}", child))
        ]
    return _unique(units) or [Named("", model)]


def at_depth(model: nn.Module, depth: int, prefix: str = "") -> list[Named]:
    """The modules `depth` levels down, and those without children on the way."""
    units: list[Named] = []
    for name, child in model.named_children():
        full = f"{prefix}{name}"
        if depth == 1 or not any(True for _ in child.children()):
            units.append(Named(full, child))
        else:
            units += at_depth(child, depth - 1, f"{full}.")
    return _unique(units)


def _listed(given: Any) -> list[Any]:
    if isinstance(given, str) or not isinstance(given, Iterable) or not (several := list(given)):
        raise TypeError(
            "layers_of: layers must be a list of modules or their names, some perhaps in lists of their own; got "
            f"{shown(given)}"
        )
    return several


def select(model: nn.Module, layers: Iterable[str | nn.Module | Sequence[str | nn.Module]]) -> list[list[Named]]:
    """The modules that a user named.

    Raises:
        TypeError: if they are no list, or an empty one.
        ValueError: if one is not in the model, or comes twice.
    """
    names = {id(module): name for name, module in model.named_modules()}
    modules = dict(model.named_modules())
    groups: list[list[Named]] = []
    for entry in _listed(layers):
        several: list[Any] = [entry] if isinstance(entry, str | nn.Module) else _listed(entry)
        group = []
        for one in several:
            module = modules.get(one) if isinstance(one, str) else one
            if module is None or id(module) not in names:
                what = repr(one) if isinstance(one, str) else type(one).__name__
                raise ValueError(f"layers_of: layers names {what}, which is no module of the model")
            group.append(Named(names[id(module)], module))
        groups.append(group)
    inside = [id(part) for group in groups for unit in group for part in unit.module.modules()]
    if len(set(inside)) < len(inside):
        raise ValueError("layers_of: layers names a module twice, or one inside another")
    return groups


def is_block(module: nn.Module) -> bool:
    """Whether it has parts, and weights in them."""
    return any(True for _ in module.children()) and any(True for _ in module.parameters())


def is_small(module: nn.Module) -> bool:
    """Whether it has no weights to speak of: a norm, an activation, pooling, dropout."""
    return not any(True for _ in module.children()) and all(p.dim() < 2 for p in module.parameters())


def _expand(unit: Named) -> Iterator[Named]:
    """A module's blocks, if it holds lists of them, or else itself."""
    name, module = unit
    if isinstance(module, LISTS):
        for key, child in module.named_children():
            one = Named(f"{name}.{key}", child)
            if isinstance(child, LISTS) and _holds_blocks(child):
                yield from _expand(one)
            else:
                yield one
    elif _holds_blocks(module):
        for key, child in module.named_children():
            yield from _expand(Named(f"{name}.{key}", child))
    else:
        yield unit


def _holds_blocks(module: nn.Module) -> bool:
    """Whether there is a list with at least two entries that have parts and parameters."""
    return any(isinstance(part, LISTS) and sum(map(is_block, part.children())) >= 2 for part in module.modules())


def _size(unit: Named) -> int:
    return sum(parameter.numel() for parameter in unit.module.parameters())


def _can_be_split(unit: Named, model: nn.Module) -> bool:
    """Whether it has several parts with weights; a block of a `Sequential` stays whole."""
    if isinstance(model, nn.Sequential) and not _holds_blocks(unit.module):
        return False
    return sum(not is_small(child) for child in unit.module.children()) > 1


def _unique(units: Iterable[Named]) -> list[Named]:
    return list({id(unit.module): unit for unit in reversed(list(units))}.values())[::-1]
