"""Loading of an optimizer, which takes up whatever it is given: what it has loaded is checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lehr._numbers import real
from lehr.state.optimizers import inside
from lehr.state.reading import Fields, shown
from lehr.state.step_trial import try_step


def load_optimizer(where: str, optimizer: Optimizer, state: Any, arguments: Mapping[str, Any]) -> None:
    """Have an optimizer, and those inside it, take up a state that they can step from.

    Args:
        where: whose state it is, as it begins an error.
        optimizer: of any kind.
        state: for it.
        arguments: more of its `load_state_dict`'s.

    Raises:
        ValueError: if it is no such state; the optimizer may have taken it up all the same.
    """
    every = [optimizer, *inside(optimizer)]
    _check_numbering(where, state)
    before = [[dict(group) for group in one.param_groups] for one in every]
    optimizer.load_state_dict(state, **arguments)
    for one, groups in zip(every, before, strict=True):
        _check_loaded(where, one, groups)
        try_step(where, one)


def _check_numbering(where: str, state: Any) -> None:
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


def _check_loaded(where: str, optimizer: Optimizer, before: list[dict[str, Any]]) -> None:
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
            if name not in old:  # torch adds defaults when it loads
                continue
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
