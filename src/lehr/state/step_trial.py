"""A step from the state that an optimizer has loaded, tried on copies: what is wrong with it fails there."""

from __future__ import annotations

from inspect import signature
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy
from torch.optim import LBFGS, Optimizer, SparseAdam

from lehr.state.nested import copy_state

CHECKED: Final = {"foreach": False, "fused": False}
"""Settings of the implementation that checks shapes: fused ones write past the end of a tensor that is too short."""

SLOPE: Final = 1e-3
"""The gradient that an optimizer is shown which does nothing without one."""

LONGEST: Final = 300
"""Characters of torch's own errors that are passed on."""


def try_step(where: str, optimizer: Optimizer) -> None:
    """Whether an optimizer of torch's own can step with its hyperparameters and with the state of each parameter.

    Each parameter is copied in turn and gets a gradient of zero, with which a sound state leaves finite weights finite.
    Optimizers of other makers, and parameters that are spread over processes, are not tried: only their own code knows
    how to make another of them.

    Args:
        where: whose state it is, as it begins an error.
        optimizer: left as it is.

    Raises:
        ValueError: if the step fails, or weights would not be finite after it.
    """
    kind: Any = type(optimizer)
    if not f"{kind.__module__}.".startswith("torch.optim."):
        return
    try:
        for group in optimizer.param_groups:
            plain = [parameter for parameter in group["params"] if _is_plain(parameter)]
            base, now = _base(group), _now(group)
            for settings in (base, now) if plain else ():
                _step(_like(kind, base, [plain[0].new_full((1, 1), 0.5)], settings), SLOPE)
            for several in _together(optimizer, plain):
                trial = _like(kind, base, [parameter.detach().clone() for parameter in several], now)
                for parameter, copy in zip(several, trial.param_groups[0]["params"], strict=True):
                    if parameter in optimizer.state:
                        trial.state[copy] = copy_state(optimizer.state[parameter])
                _step(trial, SLOPE if kind is LBFGS else 0.0)
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"{where}: a step from it fails ({said[:LONGEST]})") from error


def _together(optimizer: Optimizer, parameters: list[Tensor]) -> list[list[Tensor]]:
    """Those parameters that have a state, each with those that can only be stepped together."""
    with_state = [parameter for parameter in parameters if parameter in optimizer.state]
    if isinstance(optimizer, LBFGS):
        return [parameters] if with_state else []
    return [[parameter] for parameter in with_state]


def _is_plain(parameter: Tensor) -> bool:
    return not is_lazy(parameter) and not parameter.is_meta and type(parameter.data) is Tensor


def _now(group: dict[str, Any]) -> dict[str, Any]:
    """The hyperparameters as they are at this moment of a schedule."""
    return {name: CHECKED.get(name, copy_state(value)) for name, value in group.items() if name != "params"}


def _base(group: dict[str, Any]) -> dict[str, Any]:
    """The hyperparameters at factor 1."""
    settings = _now(group)
    return {
        name: value if isinstance(value, Tensor) else settings.get(f"initial_{name}", value)
        for name, value in settings.items()
    }


def _like(kind: Any, base: dict[str, Any], parameters: list[Tensor], now: dict[str, Any]) -> Optimizer:
    """An optimizer of this kind; torch checks its hyperparameters at factor 1, since a schedule may go below them."""
    taken = signature(kind).parameters
    made: Optimizer = kind(parameters, **{name: base[name] for name in base if name in taken and name != "lr"})
    made.param_groups[0].update(now)
    return made


def _step(trial: Optimizer, slope: float) -> None:
    """One step with this gradient everywhere.

    Raises:
        Exception: whatever torch raises.
        ValueError: if weights that were finite are so no more.
    """
    parameters = trial.param_groups[0]["params"]
    finite = _are_finite(parameters)
    for parameter in parameters:
        ones = torch.ones_like(parameter)
        parameter.grad = slope * (ones.to_sparse() if isinstance(trial, SparseAdam) else ones)
    trial.step(lambda: parameters[0].new_ones(()))
    if finite and not _are_finite(parameters):
        raise ValueError("it would make weights that are not finite numbers")


def _are_finite(tensors: list[Tensor]) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)
