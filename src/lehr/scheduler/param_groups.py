"""The only place that reads base values from an optimizer's parameter groups and writes into them."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from itertools import repeat
from numbers import Real
from typing import Any, Final

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.weak import WeakIdKeyDictionary

from lehr._numbers import floats, real, shown
from lehr.policy import Follow, as_policy
from lehr.schedules import Schedule

Factors = float | Sequence[float] | Tensor
"""One for all groups, a number or a tensor of one on any device, or one for each group."""


SAME: Final = 1e-6
"""What differs by a smaller share is the same number in single precision."""


def numbers(factors: Factors) -> float | Sequence[float]:
    """The factors where they can be looked at."""
    return factors if isinstance(factors, Sequence) else float(factors)


class Hyperparameter:
    """One hyperparameter in all parameter groups, written as base value times factor.

    The base value of a group is `initial_<key>` in the group, put there at first sight as torch's schedulers do, so
    that it survives the optimizer's own checkpoints. Plain numbers are assigned. Tensors are filled in place, so that a
    compiled step stays compiled: all tensors of a device and dtype are made to share one buffer, and one copy
    into the buffer writes every group.

    A group with an `lr_scale`, as timm's layer decay makes them, has its rates multiplied by it, as timm's own
    schedulers do.

    What somebody else wrote into the first group in between is noted in `meddled`, and the value of a group that came
    with a checkpoint without a base value, whose place keeps the one it had, in `strange`.

    Args:
        optimizers: whose groups.
        key: `lr`, `weight_decay`, any other numeric key, or `momentum`, which is `betas[0]` where a group has betas.
    """

    def __init__(self, optimizers: Sequence[Optimizer], key: str) -> None:
        self.optimizers = optimizers
        self._only = optimizers[0] if len(optimizers) == 1 else None
        self.key = key
        self.bases: list[float] = []
        self._initial = f"initial_{key}"
        self._written_above_0 = True
        self._last: float | None = None
        self.meddled: float | None = None
        self.strange: float | None = None
        self._groups: list[dict[str, Any]] = []
        self._places: dict[tuple[int, int], dict[str, Any]] = {}
        self._plain: list[tuple[dict[str, Any], float, int]] = []
        self._all_plain = False
        self._bases_above_0 = True
        self._buffers: list[_Buffer] = []
        self.adopt()

    @property
    def stale(self) -> bool:
        """Whether groups were added or replaced, as by loading a checkpoint, since they were last looked at."""
        groups = self.groups
        return len(groups) != len(self._groups) or not all(map(operator.is_, groups, self._groups))

    @property
    def groups(self) -> list[dict[str, Any]]:
        """The groups of all optimizers, in order."""
        return self._only.param_groups if self._only is not None else groups_of(self.optimizers)

    def adopt(self) -> None:
        """Look at the groups anew: note their base values and where to write."""
        if not self.groups:
            raise ValueError("the optimizer has lost its parameter groups, which the scheduler sets: put them back")
        before = self._places
        self._places = {
            (i, j): group for i, one in enumerate(self.optimizers) for j, group in enumerate(one.param_groups)
        }
        self._groups = list(self._places.values())
        self._last = None
        tensors: dict[tuple[torch.device, torch.dtype], list[int]] = {}
        self._plain = []
        self.bases = []
        for index, (place, group) in enumerate(self._places.items()):
            value = self._read(group, index)
            was = before.get(place, group)
            if self._initial not in group and was is not group and _same_parameters(was, group):
                self._keep_base(group, value, was.get(self._initial, value))
            if isinstance(value, Tensor):
                if self._initial not in group and value in _FILLED:  # another optimizer's, whose scheduler fills it
                    value = torch.full_like(value, _FILLED[value])
                    self.assign(group, value)
                tensors.setdefault((value.device, value.dtype), []).append(index)
            base = self._base(group, index, value) * self._scale(group)
            self.bases.append(base)
            if not isinstance(value, Tensor):
                self._plain.append((group, base, index))
        self._bases_above_0 = any(self.bases)
        self._all_plain = not tensors and all(self.key in group for group in self._groups)
        self._buffers = [_Buffer(self, indices) for indices in tensors.values()]

    @property
    def fills(self) -> bool:
        """Whether there are tensors to fill, which takes no look at what they are filled with."""
        return bool(self._buffers)

    @property
    def silenced(self) -> bool:
        """Whether a step is about to be made that only sets up an optimizer's state.

        torch.distributed.checkpoint makes one: all values are set to 0 though that is not what was written, there is no
        state yet, and all gradients are zero. A rate of 0 that somebody has chosen makes updates that count.
        """
        if not self._written_above_0 or any(buffer.holds for buffer in self._buffers):
            return False
        groups = self.groups
        if any(float(self.current(group)) != 0.0 for group in groups) or any(one.state for one in self.optimizers):
            return False
        gradients = (p.grad for group in groups for p in group["params"] if p.grad is not None)
        return not any(bool(gradient.any()) for gradient in gradients)

    def write(self, factors: Factors) -> None:
        """Give every group its base value times its factor."""
        if self._all_plain and isinstance(factors, float):  # the usual case, kept bare since it runs once an update
            key, only = self.key, self._only
            groups = groups_of(self.optimizers) if only is None else only.param_groups
            if len(groups) == len(self._plain):
                first, last = groups[0], self._last
                if last is not None and first.get(key) != last:
                    self.meddled = float(self.current(first))
                for group, (known, base, _) in zip(groups, self._plain):  # noqa: B905 - strict costs time
                    if group is not known:
                        break
                    group[key] = base * factors
                else:
                    self._last = first[key]
                    self._written_above_0 = factors > 0.0 and self._bases_above_0
                    return
        self._write_any(factors)

    def _write_any(self, factors: Factors) -> None:
        if self.stale:
            self.adopt()
        if self._last is not None and (current := self.current(self._groups[0])) != self._last:
            self.meddled = float(current)
        each = factors if isinstance(factors, Sequence) else [factors] * len(self.bases)
        if len(each) != len(self.bases):
            raise ValueError(f"the policy gave {len(each)} factors for {len(self.bases)} parameter groups")
        self._written_above_0 = isinstance(factors, Tensor) or any(map(operator.mul, each, self.bases))
        for group, base, index in self._plain:
            self.assign(group, base * float(each[index]))
        for buffer in self._buffers:
            buffer.write(factors)
        first = self.current(self._groups[0])
        self._last = None if isinstance(first, Tensor) else first

    def values(self, factors: Factors) -> list[float]:
        """What `write(factors)` gives each group, as numbers."""
        each = factors if isinstance(factors, Sequence) else repeat(float(factors))
        return [base * factor for base, factor in zip(self.bases, each, strict=False)]

    def _read(self, group: dict[str, Any], index: int) -> Any:
        if self.key not in group and not self.is_beta(group):
            raise ValueError(
                f"parameter group {index} has no {self.key!r} to schedule; it has {', '.join(_numeric(group))}"
            )
        value = self.current(group)
        if isinstance(value, Tensor):
            if value.numel() != 1 or not value.is_floating_point():
                raise ValueError(
                    f"parameter group {index}: {self.key} must hold one floating-point number; got a tensor of "
                    f"{value.dtype} and shape {tuple(value.shape)}"
                )
        elif isinstance(value, bool) or not isinstance(value, Real):
            raise ValueError(
                f"parameter group {index}: {self.key} is {value!r}, which is no number and cannot be scheduled"
            )
        return value

    def _base(self, group: dict[str, Any], index: int, value: Any) -> float:
        """The group's value at factor 1, noted in the group at first sight."""
        given = group.get(self._initial, value)
        try:
            base = float(given)
        except (OverflowError, TypeError, ValueError):
            base = math.nan
        if not math.isfinite(base) or (self.key == "lr" and base < 0.0):
            least = " and at least 0" if self.key == "lr" else ""
            raise ValueError(
                f"parameter group {index}: {self.key} must be finite{least} to be scheduled; got {shown(given)}"
            )
        group.setdefault(self._initial, base)
        return base

    def _keep_base(self, group: dict[str, Any], value: Any, base: float) -> None:
        """Give a group in another's place its base value, since its own may come from anywhere in a run."""
        group[self._initial] = float(base)
        number = real(value)
        if number is not None and abs(number - base) > SAME * abs(base):
            self.strange = number

    def _scale(self, group: dict[str, Any]) -> float:
        return float(group.get("lr_scale", 1.0)) if self.key == "lr" else 1.0

    def assign(self, group: dict[str, Any], value: Any) -> None:
        if self.is_beta(group):
            group["betas"] = (value, *group["betas"][1:])
        else:
            group[self.key] = value

    def current(self, group: dict[str, Any]) -> Any:
        if self.is_beta(group):
            return group["betas"][0]
        if self.key not in group:
            raise ValueError(f"a parameter group has lost its {self.key!r}, which the scheduler sets: put it back")
        return group[self.key]

    def is_beta(self, group: dict[str, Any]) -> bool:
        return self.key == "momentum" and "momentum" not in group and "betas" in group


_FILLED: WeakIdKeyDictionary = WeakIdKeyDictionary()
"""Tensors that a scheduler fills, with their base value: another optimizer that holds one must not take it over."""


class _Buffer:
    """The tensors of one device and dtype, which are filled together.

    The groups keep the tensor objects that they had and the memory behind them, from which a graph that was captured
    before reads. A tensor that several groups (or the optimizer's defaults) share is replaced by one of its own in all
    but the first.
    """

    def __init__(self, owner: Hyperparameter, indices: list[int]) -> None:
        self.owner = owner
        self.indices = indices
        every = owner.groups
        bases = [owner.bases[index] for index in indices]
        self.views: list[tuple[dict[str, Any], Tensor]] = []
        base_of: dict[int, float] = {}
        for index, base in zip(indices, bases, strict=True):
            group = every[index]
            tensor = owner.current(group)
            if id(tensor) in base_of:
                tensor = tensor.detach().clone()
                owner.assign(group, tensor)
            base_of[id(tensor)] = _FILLED[tensor] = base
            self.views.append((group, tensor))
        self._replace_defaults(base_of)
        self.tensors = [tensor for _, tensor in self.views]
        first = self.tensors[0]
        precise = torch.float32 if first.device.type == "mps" else torch.float64
        self.bases = torch.tensor(bases, dtype=precise, device=first.device)
        self.column = torch.empty_like(self.bases, dtype=first.dtype)
        self.parts = self._cut()

    def _cut(self) -> list[Tensor]:
        """Views of the column, one for each tensor."""
        return [part.reshape(one.shape) for part, one in zip(self.column.unbind(), self.tensors, strict=True)]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "parts"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.parts = self._cut()  # pickling makes tensors of views

    def _replace_defaults(self, base_of: dict[int, float]) -> None:
        """Give the optimizers' defaults tensors of their own, or a group added later would start from today's value."""
        for optimizer in self.owner.optimizers:
            defaults = optimizer.defaults
            if self.owner.key not in defaults and not self.owner.is_beta(defaults):
                continue
            default = self.owner.current(defaults)
            if id(default) in base_of:
                self.owner.assign(defaults, torch.full_like(default, base_of[id(default)]))

    @property
    def holds(self) -> bool:
        """Whether the first group still has its tensor; reading the value would wait for the device."""
        group, tensor = self.views[0]
        return self.owner.current(group) is tensor

    def write(self, factors: Factors) -> None:
        current = self.owner.current
        if any(current(group) is not tensor for group, tensor in self.views):  # somebody put another in its place
            self.owner.adopt()
            self.owner.write(factors)
            return
        # nothing here waits for the device
        if isinstance(factors, Tensor):
            torch.mul(self.bases, factors.to(self.bases, non_blocking=True), out=self.column)
        elif isinstance(factors, float):
            torch.mul(self.bases, factors, out=self.column)
        else:
            each = torch.tensor([factors[index] for index in self.indices], dtype=self.bases.dtype, device="cpu")
            torch.mul(self.bases, each.to(self.bases.device, non_blocking=True), out=self.column)
        with torch.no_grad():
            torch._foreach_copy_(self.tensors, self.parts)


def _numeric(group: dict[str, Any]) -> list[str]:
    return sorted(
        key for key, value in group.items() if isinstance(value, float | int | Tensor) and not isinstance(value, bool)
    )


def groups_of(optimizers: Sequence[Optimizer]) -> list[dict[str, Any]]:
    """The parameter groups of all optimizers, in order."""
    return [group for optimizer in optimizers for group in optimizer.param_groups]


def base_rates(optimizers: Sequence[Optimizer]) -> list[float]:
    """Each group's learning rate at factor 1: `initial_lr` where a scheduler has put it, else `lr`."""
    return [float(g.get("initial_lr", g["lr"])) * float(g.get("lr_scale", 1.0)) for g in groups_of(optimizers)]


def _same_parameters(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two groups update the same parameters, as before and after a checkpoint is loaded."""
    return [id(parameter) for parameter in one["params"]] == [id(parameter) for parameter in other["params"]]


def peak_of(who: str, bases: Sequence[float]) -> float:
    """The base rate of the first group that trains, to which the others keep their ratios.

    Raises:
        ValueError: if all are 0.
    """
    peak = next((base for base in bases if base > 0.0), None)
    if peak is None:
        raise ValueError(
            f"{who}: a parameter group needs a learning rate above 0, to which the others keep their ratio"
        )
    return peak


def rates_of(rates: Any, groups: int) -> list[float]:
    """Learning rates for so many parameter groups, as numbers.

    Raises:
        ValueError: if they are not as many, or not finite and at least 0.
    """
    given = floats(rates)
    if given is None or len(given) != groups or not all(0.0 <= rate < math.inf for rate in given):
        raise ValueError(
            f"rates must be {groups} numbers, one for each parameter group, finite and at least 0; got {shown(rates)}"
        )
    return given


def set_rates(optimizers: Sequence[Optimizer], rates: Sequence[float]) -> None:
    """Set each group's learning rate for the moment, tensors in place; base rates stay."""
    for group, rate in zip(groups_of(optimizers), rates, strict=True):
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def set_base_rates(optimizers: Sequence[Optimizer], rates: Sequence[float]) -> None:
    """Give each group another learning rate at factor 1, and this rate for the moment."""
    set_rates(optimizers, rates)
    for group, rate in zip(groups_of(optimizers), rates, strict=True):
        group["initial_lr"] = rate / (float(group.get("lr_scale", 1.0)) or 1.0)


class Hyperparameters:
    """The learning rate, and other hyperparameters that follow schedules of their own.

    Args:
        optimizers: whose parameter groups.
        also: key -> the schedules of that hyperparameter.
    """

    def __init__(self, optimizers: Sequence[Optimizer], also: Mapping[str, Schedule | Sequence[Schedule]]) -> None:
        self.optimizers = optimizers
        self.lr = Hyperparameter(optimizers, "lr")
        self.others = [(Hyperparameter(optimizers, key), _followed(key, curve)) for key, curve in also.items()]

    def write(self, progress: float, factors: Factors) -> None:
        """Set the rate by these factors, and the others to where they are at `progress`."""
        self.lr.write(factors)
        for other, follow in self.others:
            other.write(follow.at(progress))

    def adopt(self) -> None:
        """Look at the groups anew, which were added or replaced."""
        for one in (self.lr, *(other for other, _ in self.others)):
            one.adopt()

    def check_widths(self, rate: Follow | None) -> None:
        """Whether there are as many schedules as parameter groups.

        Raises:
            ValueError: if there are neither that many nor one.
        """
        groups = len(self.lr.groups)
        for follow in (rate, *(follow for _, follow in self.others)):
            if follow is not None and len(follow.schedules) not in (1, groups):
                raise ValueError(
                    f"Scheduler: {len(follow.schedules)} schedules for {groups} parameter groups; give one schedule "
                    "for all groups, or one for each"
                )

    def __repr__(self) -> str:
        """What a checkpoint says about the others."""
        return "".join(f", {other.key}: {follow!r}" for other, follow in self.others)


def _followed(key: str, curve: Schedule | Sequence[Schedule] | Follow) -> Follow:
    """The schedules of another hyperparameter than the rate."""
    if key == "lr":
        raise ValueError("Scheduler: also cannot hold lr, which the schedule itself drives; multiply schedules instead")
    policy = as_policy(curve, f"Scheduler: also[{key!r}]")
    if not isinstance(policy, Follow):
        raise TypeError(f"Scheduler: also[{key!r}] must be a schedule, or a list of them; got {shown(curve)}")
    return policy
