"""Optimizers that wrap or hold other optimizers: which one makes the updates, and which are inside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer


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
