"""What users hand to a training, as what it works with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from inspect import Parameter, signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lehr._numbers import shown
from lehr.state import Batches


def optimizers_of(given: Any) -> list[Optimizer]:
    """The optimizers that step together, at least one.

    Raises:
        TypeError: if there is none, one is no optimizer, or one asks for a closure.
    """
    several = list(given) if isinstance(given, list | tuple) else [given]
    for one in several:
        if not isinstance(one, Optimizer):
            raise TypeError(
                f"Training: optimizer must be a torch.optim.Optimizer, or several; got {type(one).__name__}"
            )
        closure = signature(one.step).parameters.get("closure")
        if closure is not None and closure.default is Parameter.empty:
            raise TypeError(
                f"Training: optimizer is a {type(one).__name__}, which asks for a closure that computes the loss; give "
                "lehr.Training.of(step, touches=[...]) a function that makes the whole update"
            )
    if not several:
        raise TypeError("Training: optimizer is empty; give at least one")
    return several


def batches_of(given: Iterable[Any] | Callable[[], Iterator[Any]]) -> Batches[Any]:
    """The batches, gone round for ever.

    Raises:
        TypeError: if they are no loader.
    """
    if isinstance(given, str | bytes) or not (isinstance(given, Iterable) or callable(given)):
        raise TypeError(f"Training: batches must be a loader, or a function that gives batches; got {shown(given)}")
    return given if isinstance(given, Batches) else Batches(given)


def parts_in(touches: Any) -> list[Any]:
    """What an update changes, as a list.

    Raises:
        TypeError: if it is none, such as a module or `Batches` alone, which can be gone through as well.
    """
    alone = isinstance(touches, str | bytes | Tensor | Mapping | nn.Module | Batches)
    if alone or not isinstance(touches, Iterable):
        raise TypeError(f"Training: touches must be a list of what an update changes; got {shown(touches)}")
    return list(touches)


def device_named(given: Any) -> torch.device:
    """The device of that name.

    Raises:
        ValueError: if there is none.
    """
    try:
        return torch.device(given)
    except (RuntimeError, TypeError, ValueError):
        raise ValueError(
            f"Training: device must be a torch.device or its name, such as 'cuda:1', of a kind that is here; got "
            f"{shown(given)}"
        ) from None


def check_arguments(model: Any, loss: Any, scaler: Any, autocast: Any, amount: Any) -> None:
    """Whether a training can be built of these.

    Raises:
        TypeError: if one is of the wrong kind.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"Training: model must be a torch.nn.Module; got {type(model).__name__}")
    if not callable(loss):
        raise TypeError(f"Training: loss must be a function of model and batch; got {shown(loss)}")
    if scaler is not None and not isinstance(scaler, torch.amp.GradScaler):
        raise TypeError(f"Training: scaler must be a torch.amp.GradScaler; got {type(scaler).__name__}")
    if autocast is not None and not isinstance(autocast, torch.dtype):
        raise TypeError(f"Training: autocast must be a dtype, such as torch.bfloat16; got {shown(autocast)}")
    if amount is not None and not callable(amount):
        raise TypeError(f"Training: amount must be a function of a batch; got {shown(amount)}")
