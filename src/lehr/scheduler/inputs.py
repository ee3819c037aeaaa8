"""What users and policies hand to the scheduler, as what it works with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn
from torch.optim import Optimizer

from lehr._arguments import whole_argument
from lehr._numbers import LARGEST, real, shown
from lehr.budget import Budget
from lehr.policy import Policy, as_policy
from lehr.scheduler.param_groups import Factors
from lehr.state.optimizers import unwrapped


@runtime_checkable
class Drives(Protocol):
    """What knows its optimizers and modules, as `lehr.Training` does."""

    optimizers: Sequence[Optimizer]
    modules: Sequence[nn.Module]


def drivers_of(optimizer: Any) -> tuple[tuple[Optimizer, ...], tuple[nn.Module, ...]]:
    """The optimizers that make the updates, and the modules whose buffers belong to the run.

    Raises:
        TypeError: if it is neither a training, nor an optimizer, nor several.
    """
    if isinstance(optimizer, Drives):
        given, modules = list(optimizer.optimizers), tuple(optimizer.modules)
    else:
        given, modules = list(optimizer) if isinstance(optimizer, list | tuple) else [optimizer], ()
    for one in given:
        if not isinstance(one, Optimizer):
            raise TypeError(
                f"Scheduler: optimizer must be a lehr.Training, a torch.optim.Optimizer, or several; got "
                f"{type(one).__name__}"
            )
    optimizers = tuple({id(inner): inner for inner in map(unwrapped, given)}.values())
    if not optimizers:
        raise TypeError("Scheduler: optimizer is empty; give at least one")
    for one in optimizers:
        if not hasattr(one, "_optimizer_step_post_hooks"):
            raise TypeError(f"Scheduler: optimizer is a {type(one).__name__}, which runs no hooks; pass the one inside")
    return optimizers, modules


def policy_for(optimizers: Sequence[Optimizer], policy: Any) -> Policy:
    """`policy` as one; a list with an entry for each of several optimizers is spread over their groups."""
    if isinstance(policy, list | tuple) and len(policy) == len(optimizers) > 1:
        spread = [
            schedule
            for one, given in zip(optimizers, policy, strict=True)
            for schedule in (given if isinstance(given, list | tuple) else [given] * len(one.param_groups))
        ]
        if len(policy) != sum(len(one.param_groups) for one in optimizers) or any(isinstance(p, list) for p in policy):
            return as_policy(spread, "Scheduler: policy")
    return as_policy(policy, "Scheduler: policy")


def check_arguments(budget: Any, count: Any, agree_every: Any, now: Any, also: Any) -> None:
    """Whether a scheduler can be built of these."""
    if not isinstance(budget, Budget):
        raise TypeError(
            "Scheduler: budget must be a lehr.Budget, such as Budget(steps=1000), training.budget('3ep') or "
            f"Budget.over(loader, epochs=3); got {shown(budget)}"
        )
    if count not in ("updates", "calls"):
        raise ValueError(f"Scheduler: count must be 'updates' or 'calls'; got {shown(count)}")
    whole_argument("Scheduler: agree_every", agree_every)
    if not callable(now):
        raise TypeError(
            f"Scheduler: now must be a function that gives seconds, such as time.monotonic; got {shown(now)}"
        )
    if not isinstance(also, Mapping):
        raise TypeError(f"Scheduler: also must be a dictionary from a key to its schedule; got {shown(also)}")


def amount_of(unit: str, amount: Any) -> float:
    """Samples or tokens that were observed."""
    number = real(amount)
    if number is None or not 0.0 <= number <= LARGEST:
        raise ValueError(
            f"observe: {unit} must be a finite number, at least 0 and at most {LARGEST:g}; got {shown(amount)}"
        )
    return number


def loss_of(loss: Any) -> float | Tensor:
    """A loss that was observed: a tensor of one number without graph, unseen, or a number, which may be infinite."""
    if isinstance(loss, Tensor):
        if loss.numel() != 1 or loss.is_complex():
            raise ValueError(
                f"observe: loss must be one real number; got a tensor of {loss.dtype} and shape {tuple(loss.shape)}"
            )
        return loss.detach()
    number = real(loss)
    if number is None:
        raise ValueError(f"observe: loss must be one real number; got {shown(loss)}")
    return number


def as_factors(factors: Any, policy: Policy, *, tensors: bool = False) -> Factors:
    """What a policy answered, as numbers; whatever is no factor would end up in the weights.

    With `tensors`, a tensor of one number is left where it is, unseen: to look at it is to wait for its device.
    """
    if tensors and isinstance(factors, Tensor) and factors.ndim == 0:
        return factors
    several = hasattr(factors, "__len__") and getattr(factors, "ndim", 1) > 0  # a tensor of one number is one number
    given = tuple(map(float, factors)) if several else (float(factors),)
    if not all(0.0 <= factor < math.inf for factor in given):
        raise ValueError(f"{policy!r} gave {factors!r}; a factor is a finite number, at least 0")
    return given if several else given[0]
