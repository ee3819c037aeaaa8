"""Cyclical learning rates with the paper's arguments, for code that was written against them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

from torch.optim import Optimizer

from lehr._arguments import number_argument, whole_argument
from lehr._numbers import SMALLEST, floats, real, shown
from lehr.budget import Budget
from lehr.scheduler.param_groups import set_base_rates
from lehr.scheduler.scheduler import Scheduler
from lehr.schedules import Schedule, Triangular, clr_decay, exp_range, exp_range_amplitude, triangular2

CyclicPolicy = Literal["triangular", "triangular2", "exp_range", "exp_range_amplitude", "decay"]


def CyclicLR(  # noqa: N802 - as published
    optimizer: Optimizer,
    base_lr: float | Sequence[float],
    max_lr: float | Sequence[float],
    *,
    step_size: int = 2000,
    policy: CyclicPolicy = "triangular",
    gamma: float = 1.0,
    cycle_momentum: bool = True,
    base_momentum: float | Sequence[float] = 0.8,
    max_momentum: float | Sequence[float] = 0.9,
    cycles: int | None = None,
) -> Scheduler:
    """Cyclical learning rates in the paper's words, with the values of torch's `CyclicLR` at every step.

        lr = base_lr + (max_lr - base_lr) max(0, 1 - x),  x = |t / step_size - 2 floor(1 + t / (2 step_size)) + 1|

    A `Scheduler` that counts its calls: call `step()` after each batch. New code composes: with `max_lr` as the
    optimizer's rate, `Scheduler(optimizer, Triangular(low=base_lr / max_lr), Budget.every(steps=2 * step_size))`.
    Stop at the end of a cycle, where accuracy peaks; a run that stops elsewhere is warned about.

    Args:
        optimizer: whose rate to set; the rates it was built with are replaced.
        base_lr: lowest rate, at least 0, or one for each parameter group.
        max_lr: highest rate, above base_lr, or one for each parameter group.
        step_size: calls in half a cycle, at least 1 (torch's `step_size_up`).
        policy: "triangular"; "triangular2", whose height halves with each cycle; "exp_range", both of whose bounds
            decay by gamma with each call, as the paper has it; "exp_range_amplitude", whose height does, as torch has
            its "exp_range"; or "decay", the paper's control, straight down from max_lr to base_lr in one step_size.
        gamma: decay of a call, in (0, 1].
        cycle_momentum: whether momentum (or the first beta) goes the other way, as torch does and the paper does not;
            never with "decay".
        base_momentum: momentum where the rate is highest, or one for each parameter group.
        max_momentum: momentum where the rate is lowest, or one for each parameter group.
        cycles: how many cycles there are, if `finished` is to tell; None goes on without end.

    Raises:
        ValueError: if the rates are not in order, an argument is out of range, or there is no momentum to cycle.

    Source: Smith 2017 (arXiv 1506.01186), section 3.1.

    >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0, momentum=0.9)
    >>> scheduler = CyclicLR(optimizer, base_lr=0.25, max_lr=1.0, step_size=3, cycles=1)
    >>> for _ in range(6):
    ...     print(round(scheduler.get_last_lr()[0], 3), round(optimizer.param_groups[0]["momentum"], 3))
    ...     optimizer.step(); scheduler.step()
    0.25 0.9
    0.5 0.867
    0.75 0.833
    1.0 0.8
    0.75 0.833
    0.5 0.867
    """
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"CyclicLR: optimizer must be a torch.optim.Optimizer; got {shown(optimizer)}")
    lows, highs = _each("base_lr", base_lr, optimizer), _each("max_lr", max_lr, optimizer)
    if not all(0.0 <= low < high < math.inf for low, high in zip(lows, highs, strict=True)):
        raise ValueError(
            f"CyclicLR: max_lr must be above base_lr, and base_lr at least 0; got {shown(base_lr)}, {shown(max_lr)}"
        )
    step_size = whole_argument("CyclicLR: step_size", step_size)
    count = 1 if cycles is None else whole_argument("CyclicLR: cycles", cycles)
    if policy not in get_args(CyclicPolicy):
        raise ValueError(f"CyclicLR: policy must be one of {', '.join(get_args(CyclicPolicy))}; got {shown(policy)}")
    gamma = number_argument("CyclicLR: gamma", gamma, SMALLEST, 1.0)
    end = gamma ** (2 * step_size * count)
    if not end and policy.startswith("exp_range"):
        raise ValueError(f"CyclicLR: gamma={gamma!r} leaves nothing of the rate after {2 * step_size * count:,} calls")
    cycles_momentum = cycle_momentum and policy != "decay"
    slow, fast = _each("base_momentum", base_momentum, optimizer), _each("max_momentum", max_momentum, optimizer)
    if cycles_momentum:
        _check_momentum(optimizer, slow, fast)
    set_base_rates([optimizer], highs)
    schedules = [_cycles(policy, count, low / high, end) for low, high in zip(lows, highs, strict=True)]
    also: dict[str, Schedule | list[Schedule]] = {}
    if cycles_momentum:
        _set_momentum(optimizer, fast)
        height = _cycles("exp_range_amplitude" if policy == "exp_range" else policy, count, 0.0, end)
        also["momentum"] = [height.between(1.0, low / high) for low, high in zip(slow, fast, strict=True)]
    length = 2 * step_size * count
    budget = Budget.every(steps=length) if cycles is None else Budget(steps=length)
    alike = all(schedule == schedules[0] for schedule in schedules)
    return Scheduler(optimizer, schedules[0] if alike else schedules, budget, also=also, count="calls")


def _cycles(policy: str, cycles: int, low: float, end: float) -> Schedule:
    match policy:
        case "triangular":
            return Triangular(cycles, low)
        case "triangular2":
            return triangular2(cycles, low)
        case "exp_range":
            return exp_range(cycles, low, end)
        case "exp_range_amplitude":
            return exp_range_amplitude(cycles, low, end)
        case _:
            return clr_decay(low, 0.5 / cycles)


def _each(name: str, value: Any, optimizer: Optimizer) -> list[float]:
    """One number for each parameter group."""
    groups = len(optimizer.param_groups)
    alone = real(value)
    if alone is not None:
        return [alone] * groups
    numbers = floats(value)
    if numbers is None:
        raise ValueError(f"CyclicLR: {name} must be a number, or one for each parameter group; got {shown(value)}")
    if len(numbers) != groups:
        what = "rates" if name.endswith("lr") else "values"
        raise ValueError(f"CyclicLR: {name} has {len(numbers)} {what} for {groups} parameter groups")
    return numbers


def _check_momentum(optimizer: Optimizer, base: Sequence[float], peak: Sequence[float]) -> None:
    for low, high in zip(base, peak, strict=True):
        if not 0.0 < low <= high < 1.0:
            raise ValueError(
                f"CyclicLR: momenta must satisfy 0 < base_momentum <= max_momentum < 1; got {shown(low)} and {high!r}"
            )
    if not all("betas" in group or group.get("momentum") for group in optimizer.param_groups):
        raise ValueError("CyclicLR: this optimizer has no momentum to cycle; pass cycle_momentum=False")


def _set_momentum(optimizer: Optimizer, momenta: Sequence[float]) -> None:
    for group, momentum in zip(optimizer.param_groups, momenta, strict=True):
        if "betas" in group:
            group["betas"] = (momentum, *group["betas"][1:])
        else:
            group["momentum"] = momentum
        group.pop("initial_momentum", None)
