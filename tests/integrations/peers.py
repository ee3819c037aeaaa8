"""Other libraries' own tests of their schedulers, run with lehr's in place of theirs.

Give it a test file from a checkout of the library, and whatever else pytest takes:

    python tests/integrations/peers.py pytorch/test/optim/test_lrscheduler.py -q
    python tests/integrations/peers.py accelerate/tests/test_scheduler.py -q
    python tests/integrations/peers.py transformers/tests/optimization/test_optimization.py -q -k schedulers
    python tests/integrations/peers.py pytorch-image-models/tests/test_scheduler.py -q

These tests call `step()` without updates, so calls are counted. What lehr has no like of stays the library's own, and a
test that asks for an argument without a like is skipped with its name.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch.optim import Optimizer, lr_scheduler

import lehr

UPDATES = 1_000
"""A budget that no test comes to the end of, for curves without an end."""


def driven(optimizer: Optimizer, curve: Any, updates: int, last_epoch: int = -1) -> lehr.Scheduler:
    """A scheduler of ours, as their tests call theirs."""
    if last_epoch != -1:
        pytest.skip("not offered: last_epoch; a run is gone on with by load_state_dict")
    return lehr.Scheduler(optimizer, curve, lehr.Budget(steps=updates), count="calls")


def floors(optimizer: Optimizer, eta_min: float) -> list[float]:
    """A rate as the share of each group's own."""
    return [eta_min / group.get("initial_lr", group["lr"]) for group in optimizer.param_groups]


# -- torch's, with their arguments -----------------------------------------------------------------------------------


def step_lr(optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> lehr.Scheduler:
    """For `StepLR`."""
    ends = tuple(k / UPDATES for k in range(step_size, UPDATES, step_size))[:30]
    return driven(optimizer, lehr.Steps(at=ends, gamma=gamma), UPDATES, last_epoch)


def multi_step_lr(
    optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1, last_epoch: int = -1
) -> lehr.Scheduler:
    """For `MultiStepLR`."""
    ends = tuple(k / UPDATES for k in sorted(milestones))
    return driven(optimizer, lehr.Steps(at=ends, gamma=gamma), UPDATES, last_epoch)


def constant_lr(
    optimizer: Optimizer, factor: float = 1 / 3, total_iters: int = 5, last_epoch: int = -1
) -> lehr.Scheduler:
    """For `ConstantLR`."""
    curve = lehr.Constant(factor).then(lehr.Constant(), at=total_iters / UPDATES)
    return driven(optimizer, curve, UPDATES, last_epoch)


def linear_lr(
    optimizer: Optimizer,
    start_factor: float = 1 / 3,
    end_factor: float = 1.0,
    total_iters: int = 5,
    last_epoch: int = -1,
) -> lehr.Scheduler:
    """For `LinearLR`."""
    return driven(optimizer, lehr.Linear(start_factor, end_factor), total_iters, last_epoch)


def polynomial_lr(
    optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1
) -> lehr.Scheduler:
    """For `PolynomialLR`."""
    return driven(optimizer, lehr.Polynomial(power=power), total_iters, last_epoch)


def exponential_lr(optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> lehr.Scheduler:
    """For `ExponentialLR`."""
    return driven(optimizer, lehr.Exponential(end=gamma**20), 20, last_epoch)


def cosine_annealing_lr(optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> lehr.Scheduler:  # noqa: N803 - torch's
    """For `CosineAnnealingLR`."""
    return driven(optimizer, [lehr.Cosine(end=low) for low in floors(optimizer, eta_min)], T_max, last_epoch)


def cosine_annealing_warm_restarts(
    optimizer: Optimizer,
    T_0: int,  # noqa: N803 - torch's
    T_mult: int = 1,  # noqa: N803
    eta_min: float = 0.0,
    last_epoch: int = -1,
) -> lehr.Scheduler:
    """For `CosineAnnealingWarmRestarts`."""
    updates = T_0 * sum(T_mult**k for k in range(4))
    curves = [lehr.WarmRestarts(4, T_mult, low) for low in floors(optimizer, eta_min)]
    return driven(optimizer, curves, updates, last_epoch)


def cyclic_lr(
    optimizer: Optimizer, base_lr: Any, max_lr: Any, step_size_up: int = 2000, step_size_down: int | None = None,
    mode: str = "triangular", gamma: float = 1.0, scale_fn: Any = None, cycle_momentum: bool = True, **options: Any,
) -> lehr.Scheduler:  # fmt: skip
    """For `CyclicLR`."""
    if scale_fn is not None or step_size_down not in (None, step_size_up):
        pytest.skip("not offered: scale_fn and step_size_down; compose .then and *")
    if options.pop("last_epoch", -1) != -1:
        pytest.skip("not offered: last_epoch; a run is gone on with by load_state_dict")
    return lehr.CyclicLR(
        optimizer, base_lr, max_lr, step_size=step_size_up, policy=POLICIES.get(mode, mode), gamma=gamma,
        cycle_momentum=cycle_momentum, **options,
    )  # fmt: skip


POLICIES: dict[str, Any] = {"exp_range": "exp_range_amplitude"}
"""torch scales the amplitude, the paper both bounds."""

TORCH: dict[str, Callable[..., lehr.Scheduler]] = {
    "StepLR": step_lr,
    "MultiStepLR": multi_step_lr,
    "ConstantLR": constant_lr,
    "LinearLR": linear_lr,
    "PolynomialLR": polynomial_lr,
    "ExponentialLR": exponential_lr,
    "CosineAnnealingLR": cosine_annealing_lr,
    "CosineAnnealingWarmRestarts": cosine_annealing_warm_restarts,
    "CyclicLR": cyclic_lr,
}


# -- those that Accelerate's tests drive -----------------------------------------------------------------------------


def one_cycle_lr(optimizer: Optimizer, max_lr: float, steps_per_epoch: int, epochs: int) -> lehr.Scheduler:
    """For `OneCycleLR` as Accelerate's tests make it."""
    for group in optimizer.param_groups:
        group["lr"] = max_lr
    return driven(optimizer, lehr.one_cycle(), steps_per_epoch * epochs)


def lambda_lr(optimizer: Optimizer, lr_lambda: Callable[[int], float]) -> lehr.Scheduler:
    """For `LambdaLR` with the line from 1 to 0 in ten steps of Accelerate's tests."""
    assert all(abs(lr_lambda(k) - (1 - k / 10)) < 1e-9 for k in range(11))
    return driven(optimizer, lehr.Linear(), 10)


# -- transformers', with their arguments -----------------------------------------------------------------------------


def warmed(curve: Callable[..., Any]) -> Callable[..., lehr.Scheduler]:
    """A schedule of ours behind a warm-up, for a function of transformers."""

    def make(
        optimizer: Optimizer, num_warmup_steps: int = 0, num_training_steps: int = UPDATES, **options: Any
    ) -> lehr.Scheduler:
        schedule = curve(optimizer, **options)
        share = num_warmup_steps / num_training_steps
        scheduler = driven(optimizer, schedule.after_warmup(share) if share else schedule, num_training_steps)
        vars(scheduler)["lr_lambdas"] = []  # which their test makes picklable; ours are
        return scheduler

    return make


def polynomial(optimizer: Optimizer, power: float = 1.0, lr_end: float = 0.0) -> lehr.Schedule:
    """Polynomial decay to a rate."""
    return lehr.Polynomial(power=power, end=floors(optimizer, lr_end)[0])


TRANSFORMERS: dict[str, Callable[..., lehr.Scheduler]] = {
    "get_constant_schedule": warmed(lambda _: lehr.Constant()),
    "get_constant_schedule_with_warmup": warmed(lambda _: lehr.Constant()),
    "get_linear_schedule_with_warmup": warmed(lambda _: lehr.Linear()),
    "get_cosine_schedule_with_warmup": warmed(lambda _: lehr.Cosine()),
    "get_cosine_with_hard_restarts_schedule_with_warmup": warmed(
        lambda _, num_cycles=1: lehr.WarmRestarts(cycles=num_cycles)
    ),
    "get_polynomial_decay_schedule_with_warmup": warmed(polynomial),
}


# -- timm's, with their arguments, which are told where they are -----------------------------------------------------


class Placed:
    """A scheduler of ours that is told the epoch, or the update, as those of timm are."""

    def __init__(
        self, optimizer: Optimizer, curve: lehr.Schedule, length: int, *, warmup_t: int = 0,
        warmup_lr_init: float = 0.0, warmup_prefix: bool = False, t_in_epochs: bool = True, **options: Any,
    ) -> None:  # fmt: skip
        if options:
            pytest.skip(f"not offered: {', '.join(options)}")
        self.optimizer, self.t_in_epochs = optimizer, t_in_epochs
        if warmup_t:
            length += warmup_t if warmup_prefix else 0
            (start,) = set(floors(optimizer, warmup_lr_init))
            curve = curve.after_warmup(warmup_t / length, start=start)
        self.scheduler = driven(optimizer, curve, length)
        self.state_dict, self.load_state_dict = self.scheduler.state_dict, self.scheduler.load_state_dict

    def step(self, epoch: int) -> None:
        if self.t_in_epochs:
            self.go_to(epoch)

    def step_update(self, update: int) -> None:
        if not self.t_in_epochs:
            self.go_to(update)

    def go_to(self, place: int) -> None:
        while self.scheduler.updates < place:
            self.scheduler.step()

    def get_cycle_length(self, cycles: int) -> int:
        pytest.skip("not offered: get_cycle_length; a budget says how long a run is")


def timm_cosine(
    optimizer: Optimizer, t_initial: int, lr_min: float = 0.0, cycle_limit: int = 1, k_decay: float = 1.0, **more: Any
) -> Placed:
    """For `CosineLRScheduler`."""
    if k_decay != 1.0:
        pytest.skip("not offered: k_decay")
    (low,) = set(floors(optimizer, lr_min))
    if cycle_limit == 1:
        return Placed(optimizer, lehr.Cosine(end=low), t_initial, **more)
    cycles = lehr.WarmRestarts(cycles=cycle_limit, low=low).then(lehr.Constant(low), at=0.5)
    return Placed(optimizer, cycles, 2 * t_initial * cycle_limit, **more)


def timm_poly(
    optimizer: Optimizer, t_initial: int, power: float = 0.5, lr_min: float = 0.0, k_decay: float = 1.0, **more: Any
) -> Placed:
    """For `PolyLRScheduler`."""
    if k_decay != 1.0:
        pytest.skip("not offered: k_decay")
    (low,) = set(floors(optimizer, lr_min))
    return Placed(optimizer, lehr.Polynomial(power=power, end=low), t_initial, **more)


def timm_tanh(optimizer: Optimizer, t_initial: int, lr_min: float = 0.0, **more: Any) -> Placed:
    """For `TanhLRScheduler`."""
    (low,) = set(floors(optimizer, lr_min))
    return Placed(optimizer, lehr.HyperbolicTangent(low=-7.0, high=3.0).between(low, 1.0), t_initial, **more)


def timm_steps(optimizer: Optimizer, decay_t: int | Sequence[int], decay_rate: float = 1.0, **more: Any) -> Placed:
    """For `StepLRScheduler` and `MultiStepLRScheduler`."""
    ends = range(decay_t, UPDATES, decay_t) if isinstance(decay_t, int) else decay_t
    drops = lehr.Steps(at=tuple(k / UPDATES for k in ends)[:30], gamma=decay_rate)
    return Placed(optimizer, drops if decay_rate < 1.0 else lehr.Constant(), UPDATES, **more)


TIMM: dict[str, Callable[..., Placed]] = {
    "CosineLRScheduler": timm_cosine,
    "PolyLRScheduler": timm_poly,
    "TanhLRScheduler": timm_tanh,
    "StepLRScheduler": timm_steps,
    "MultiStepLRScheduler": timm_steps,
}


def put_in_place(path: str) -> None:
    """Our schedulers under the names that a test file imports."""
    text = Path(path).read_text(encoding="utf-8")
    accelerate = "from accelerate" in text
    for name, make in ({"OneCycleLR": one_cycle_lr, "LambdaLR": lambda_lr} if accelerate else TORCH).items():
        setattr(lr_scheduler, name, make)
    if "from timm" in text:
        found = find_spec("timm")
        assert found is not None and found.submodule_search_locations is not None
        sys.modules["timm"] = ModuleType("timm")  # without what it imports itself, which needs torchvision
        sys.modules["timm"].__path__ = found.submodule_search_locations
        schedulers = import_module("timm.scheduler")
        for name, make in TIMM.items():
            setattr(schedulers, name, make)
    if "from transformers" in text:
        import transformers

        for name, make in TRANSFORMERS.items():
            setattr(transformers, name, make)
        for name in ("Adafactor", "AdamW"):  # which newer versions keep elsewhere
            vars(transformers).setdefault(name, torch.optim.AdamW)


if __name__ == "__main__":
    put_in_place(sys.argv[1])
    sys.exit(pytest.main(["-p", "no:cacheprovider", "--rootdir", "/", "-W", "ignore", *sys.argv[1:]]))
