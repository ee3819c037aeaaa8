"""Optimizers that wrap or hold other optimizers: which one makes the updates, and which are inside."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lehr._numbers import real
from lehr.state.reading import Fields, shown


def unwrapped(optimizer: Any) -> Any:
    """The optimizer that makes the updates, behind wrappers that share its parameter groups.

    Those of Accelerate and Lightning pass calls on, SAM and Lookahead add something of their own; in all of them it is
    the innermost one whose `step` is an update, and whose hooks always run.

    >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    >>> unwrapped(optimizer) is optimizer
    True
    """
    while True:
        groups = optimizer.param_groups
        held = (one for one in vars(optimizer).values() if isinstance(one, Optimizer) and one is not optimizer)
        inner = next((one for one in held if _same(one.param_groups, groups)), None)
        if inner is None:
            return optimizer
        optimizer = inner


def _same(one: list[dict[str, Any]], two: list[dict[str, Any]]) -> bool:
    return len(one) == len(two) and all(a is b for a, b in zip(one, two, strict=True))


def inside(optimizer: Optimizer) -> list[Optimizer]:
    """All optimizers that this one holds, at any depth: Muon and AdamW in one, SAM, Lookahead, ZeRO."""
    known: dict[int, Optimizer] = {}
    _collect(vars(optimizer).values(), known)
    known.pop(id(optimizer), None)
    return list(known.values())


def _collect(values: Iterable[Any], known: dict[int, Optimizer]) -> None:
    for value in values:
        if isinstance(value, Optimizer):
            if id(value) not in known:
                known[id(value)] = value
                _collect(vars(value).values(), known)
        elif isinstance(value, Mapping) and not isinstance(value, nn.Module):
            _collect((part for part in value.values() if isinstance(part, Optimizer | list | tuple)), known)
        elif isinstance(value, list | tuple):
            _collect((part for part in value if isinstance(part, Optimizer)), known)


def check_numbering(where: str, state: Any) -> None:
    """Whether the state of an optimizer names each parameter once, by a number or a text, before torch relies on it.

    Args:
        where: what the state is of, as it begins an error.
        state: of any optimizer; what is not in torch's form is left to whoever loads it.

    Raises:
        ValueError: if not.
    """
    groups = state.get("param_groups") if isinstance(state, Mapping) else None
    params = [group.get("params") for group in groups if isinstance(group, Mapping)] if isinstance(groups, list) else []
    names = [name for several in params if isinstance(several, list | tuple) for name in several]
    if not all(isinstance(name, int | str) for name in names) or len(set(names)) < len(names):
        raise ValueError(f"{where}: param_groups must name each parameter once")


def check_loaded(where: str, optimizer: Optimizer, before: Sequence[Mapping[str, Any]]) -> None:
    """Whether an optimizer can step with what it has loaded, as far as can be seen without stepping.

    Args:
        where: what it has loaded, as it begins an error.
        optimizer: which takes up whatever it is given.
        before: copies of its parameter groups as they were.

    Raises:
        ValueError: if a hyperparameter is missing, not finite, or of another kind than its default, of which it was,
            or the state of a parameter is none.
    """
    for group, old in zip(optimizer.param_groups, before, strict=True):
        fields = Fields(f"{where}: a parameter group", group)
        for name, default in optimizer.defaults.items():
            value = fields.any(name)
            if _is_like(old.get(name), default) and not _is_like(value, default):
                raise fields.error(name, f"of the kind of {shown(default)}, and finite", value)
            if name == "lr" and (real(value) or 0.0) < 0.0:
                raise fields.error(name, "at least 0", value)
    parameters = {id(p): p for group in optimizer.param_groups for p in group["params"]}
    for parameter, state in optimizer.state.items():
        if id(parameter) not in parameters:
            continue
        kept = Fields(f"{where}: the state of a parameter", state)
        for name, value in state.items():
            if isinstance(value, Tensor) and (value.is_meta is not parameter.is_meta or not _is_stored(value)):
                raise kept.error(str(name), "a tensor that is stored whole", value)


def _is_like(value: Any, default: Any) -> bool:
    """Whether a hyperparameter is a flag, a number or some numbers where its default is; others may be anything."""
    if isinstance(default, bool):
        return value is None or isinstance(value, bool)
    if default is None:
        return not isinstance(value, Tensor) or value.numel() == 1
    if isinstance(default, tuple | list) and default and all(real(one) is not None for one in default):
        several = isinstance(value, tuple | list) and len(value) == len(default)
        return several and all(_is_like(one, two) for one, two in zip(value, default, strict=True))
    number = real(value)
    return real(default) is None or (number is not None and math.isfinite(number))


def _is_stored(tensor: Tensor) -> bool:
    if tensor.layout is not torch.strided:
        return True
    return tensor.numel() * tensor.element_size() <= max(tensor.untyped_storage().nbytes(), 1)


class _States:
    """The states of several optimizers as one mapping, as far as policies need it."""

    def __init__(self, optimizers: Iterable[Optimizer]) -> None:
        self._states = [optimizer.state for optimizer in optimizers]

    def pop(self, parameter: Any, default: Any = None) -> Any:
        return next((state.pop(parameter) for state in self._states if parameter in state), default)

    def get(self, parameter: Any, default: Any = None) -> Any:
        return next((state[parameter] for state in self._states if parameter in state), default)

    def __contains__(self, parameter: Any) -> bool:
        return any(parameter in state for state in self._states)

    def __iter__(self) -> Iterator[Any]:
        return (parameter for state in self._states for parameter in state)


class OptimizerSet:
    """Several optimizers that one scheduler drives, seen as one by policies.

    Args:
        optimizers: at least one.
    """

    def __init__(self, optimizers: Iterable[Optimizer]) -> None:
        self.optimizers = tuple(optimizers)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The parameter groups of all, in order."""
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    @property
    def state(self) -> _States:
        """The state of all."""
        return _States(self.optimizers)
