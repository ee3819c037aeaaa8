"""What users and policies hand to the scheduler, as what it works with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from lehr.budget import Budget
from lehr.policy import Follow, Policy, as_policy
from lehr.scheduler.param_groups import Factors
from lehr.schedules import Schedule


def check_arguments(optimizer: Any, budget: Any, count: Any, agree_every: Any) -> None:
    """Whether a scheduler can be built of these."""
    if not isinstance(optimizer, Optimizer) or not hasattr(optimizer, "_optimizer_step_post_hooks"):
        raise TypeError(
            f"Scheduler: optimizer must be a torch.optim.Optimizer; got {type(optimizer).__name__}. "
            "If it wraps one, pass the one inside."
        )
    if not isinstance(budget, Budget):
        raise TypeError(f"Scheduler: budget must be a lehr.Budget, such as Budget(steps=1000); got {budget!r}")
    if count not in ("updates", "calls"):
        raise ValueError(f"Scheduler: count must be 'updates' or 'calls'; got {count!r}")
    if isinstance(agree_every, bool) or not isinstance(agree_every, int) or agree_every < 1:
        raise ValueError(f"Scheduler: agree_every must be a whole number of updates, at least 1; got {agree_every!r}")


def followed(key: str, curve: Schedule | Sequence[Schedule] | Follow) -> Follow:
    """The schedules of another hyperparameter than the rate."""
    if key == "lr":
        raise ValueError("Scheduler: also cannot hold lr, which the schedule itself drives; multiply schedules instead")
    policy = as_policy(curve)
    if not isinstance(policy, Follow):
        raise TypeError(f"Scheduler: also[{key!r}] must be a schedule, or a list of them; got {curve!r}")
    return policy


def amount_of(unit: str, amount: Any) -> float:
    """Samples or tokens that were observed."""
    number = float(amount)
    if not 0.0 <= number < math.inf:
        raise ValueError(f"observe: {unit} must be a finite number, at least 0; got {amount!r}")
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
