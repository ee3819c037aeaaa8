"""The only place that reads base values from an optimizer's parameter groups and writes into them."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from itertools import repeat
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.weak import WeakIdKeyDictionary

Factors = float | Sequence[float] | Tensor
"""One for all groups, a number or a tensor of one on any device, or one for each group."""


def numbers(factors: Factors) -> float | Sequence[float]:
    """The factors where they can be looked at."""
    return factors if isinstance(factors, Sequence) else float(factors)


class Hyperparameter:
    """One hyperparameter in all parameter groups, written as base value times factor.

    The base value of a group is `initial_<key>` in the group, put there at first sight as torch's schedulers do, so
    that it survives the optimizer's own checkpoints. Plain numbers are assigned. Tensors are filled in place, so that a
    compiled step stays compiled: all tensors of a device and dtype are made to share one buffer, and one copy
    into the buffer writes every group.

    Args:
        optimizer: whose groups.
        key: `lr`, `weight_decay`, any other numeric key, or `momentum`, which is `betas[0]` where a group has betas.
    """

    def __init__(self, optimizer: Optimizer, key: str) -> None:
        self.optimizer = optimizer
        self.key = key
        self.bases: list[float] = []
        self._initial = f"initial_{key}"
        self._written_above_0 = True
        self._groups: list[dict[str, Any]] = []
        self._plain: list[tuple[dict[str, Any], float, int]] = []
        self._all_plain = False
        self._buffers: list[_Buffer] = []
        self.adopt()

    @property
    def stale(self) -> bool:
        """Whether groups were added or replaced, as by loading a checkpoint, since they were last looked at."""
        groups = self.optimizer.param_groups
        return len(groups) != len(self._groups) or not all(map(operator.is_, groups, self._groups))

    def adopt(self) -> None:
        """Look at the groups anew: note their base values and where to write."""
        self._groups = list(self.optimizer.param_groups)
        tensors: dict[tuple[torch.device, torch.dtype], list[int]] = {}
        self._plain = []
        self.bases = []
        for index, group in enumerate(self._groups):
            value = self._read(group, index)
            if isinstance(value, Tensor):
                if self._initial not in group and value in _FILLED:  # another optimizer's, whose scheduler fills it
                    value = torch.full_like(value, _FILLED[value])
                    self.assign(group, value)
                tensors.setdefault((value.device, value.dtype), []).append(index)
            base = float(group.setdefault(self._initial, float(value)))
            self.bases.append(base)
            if not isinstance(value, Tensor):
                self._plain.append((group, base, index))
        self._all_plain = not tensors and all(self.key in group for group in self._groups)
        self._buffers = [_Buffer(self, indices) for indices in tensors.values()]

    @property
    def fills(self) -> bool:
        """Whether there are tensors to fill, which takes no look at what they are filled with."""
        return bool(self._buffers)

    @property
    def silenced(self) -> bool:
        """Whether somebody has set all values to 0 for the moment, though that is not what was written.

        torch.distributed.checkpoint does so, to make an optimizer set up its state by a step that changes nothing.
        """
        if not self._written_above_0 or any(buffer.holds for buffer in self._buffers):
            return False
        return all(float(self.held(group)) == 0.0 for group in self.optimizer.param_groups)

    def write(self, factors: Factors) -> None:
        """Give every group its base value times its factor."""
        if self._all_plain and isinstance(factors, float):  # the usual case, kept bare since it runs once an update
            groups, key = self.optimizer.param_groups, self.key
            if len(groups) == len(self._plain):
                for group, (known, base, _) in zip(groups, self._plain):  # noqa: B905 - strict costs time
                    if group is not known:
                        break
                    group[key] = base * factors
                else:
                    self._written_above_0 = factors > 0.0
                    return
        self._write_any(factors)

    def _write_any(self, factors: Factors) -> None:
        if self.stale:
            self.adopt()
        each = factors if isinstance(factors, Sequence) else [factors] * len(self.bases)
        if len(each) != len(self.bases):
            raise ValueError(f"the policy gave {len(each)} factors for {len(self.bases)} parameter groups")
        self._written_above_0 = isinstance(factors, Tensor) or any(each)
        for group, base, index in self._plain:
            self.assign(group, base * float(each[index]))
        for buffer in self._buffers:
            buffer.write(factors)

    def values(self, factors: Factors) -> list[float]:
        """What `write(factors)` gives each group, as numbers."""
        each = factors if isinstance(factors, Sequence) else repeat(float(factors))
        return [base * factor for base, factor in zip(self.bases, each, strict=False)]

    def _read(self, group: dict[str, Any], index: int) -> Any:
        if self.key in group:
            value = group[self.key]
        elif self.key == "momentum" and "betas" in group:
            value = group["betas"][0]
        else:
            raise ValueError(
                f"parameter group {index} has no {self.key!r} to schedule; it has {', '.join(_numeric(group))}"
            )
        if isinstance(value, Tensor):
            if value.numel() != 1 or not value.is_floating_point():
                raise ValueError(
                    f"parameter group {index}: {self.key} must hold one floating-point number; got a tensor of "
                    f"{value.dtype} and shape {tuple(value.shape)}"
                )
        elif isinstance(value, bool) or not isinstance(value, float | int):
            raise ValueError(
                f"parameter group {index}: {self.key} is {value!r}, which is no number and cannot be scheduled"
            )
        return value

    def assign(self, group: dict[str, Any], value: Any) -> None:
        if self.key in group:
            group[self.key] = value
        else:
            group["betas"] = (value, *group["betas"][1:])

    def held(self, group: dict[str, Any]) -> Any:
        return group[self.key] if self.key in group else group["betas"][0]


_FILLED: WeakIdKeyDictionary = WeakIdKeyDictionary()
"""Tensors that a scheduler fills, with their base value: another optimizer that holds one must not take it over."""


class _Buffer:
    """The tensors of one device and dtype as views into one, so that one write reaches all.

    The groups keep the tensor objects that they had; only the memory behind them moves. A tensor that several groups
    (or the optimizer's defaults) share is replaced by one of its own in all but the first.
    """

    def __init__(self, owner: Hyperparameter, indices: list[int]) -> None:
        self.owner = owner
        self.indices = indices
        groups = [owner.optimizer.param_groups[index] for index in indices]
        first = owner.held(groups[0])
        bases = [owner.bases[index] for index in indices]
        # a row of 16 bytes each, since compiled kernels expect that alignment
        width = max(1, 16 // first.element_size())
        rows = torch.zeros(len(groups), width, dtype=first.dtype, device=first.device)
        precise = torch.float32 if first.device.type == "mps" else torch.float64
        self.column = rows[:, 0]
        self.bases = torch.tensor(bases, dtype=precise, device=first.device)
        self.views: list[tuple[dict[str, Any], Tensor, int]] = []
        base_of: dict[int, float] = {}
        with torch.no_grad():
            for row, (group, base) in enumerate(zip(groups, bases, strict=True)):
                tensor = owner.held(group)
                self.column[row] = tensor.detach()
                if id(tensor) in base_of:
                    tensor = tensor.detach().clone()
                    owner.assign(group, tensor)
                base_of[id(tensor)] = _FILLED[tensor] = base
                tensor.set_(rows.untyped_storage(), row * rows.stride(0), tensor.shape, tensor.stride())
                self.views.append((group, tensor, tensor.data_ptr()))
        self._keep_the_default(base_of)

    def _keep_the_default(self, base_of: dict[int, float]) -> None:
        """Give the optimizer's default a tensor of its own, or a group added later would start from today's value."""
        defaults = self.owner.optimizer.defaults
        if self.owner.key not in defaults and "betas" not in defaults:
            return
        default = self.owner.held(defaults)
        if id(default) in base_of:
            self.owner.assign(defaults, torch.full_like(default, base_of[id(default)]))

    @property
    def holds(self) -> bool:
        """Whether the first group still has its tensor; reading the value would wait for the device."""
        group, tensor, _ = self.views[0]
        return self.owner.held(group) is tensor

    def write(self, factors: Factors) -> None:
        for group, tensor, address in self.views:
            held = self.owner.held(group)
            if held is not tensor or tensor.data_ptr() != address:
                # somebody put another value, or other memory, in its place
                if held is tensor:
                    self.owner.assign(group, tensor.detach().clone())
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


def _numeric(group: dict[str, Any]) -> list[str]:
    return sorted(
        key for key, value in group.items() if isinstance(value, float | int | Tensor) and not isinstance(value, bool)
    )


def base_rates(optimizer: Optimizer) -> list[float]:
    """Each group's learning rate at factor 1: `initial_lr` where a scheduler has put it, else `lr`."""
    return [float(group.get("initial_lr", group["lr"])) for group in optimizer.param_groups]


def set_rate(optimizer: Optimizer, rates: Sequence[float]) -> None:
    """Set each group's learning rate for the moment, tensors in place; base rates stay."""
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def set_base_rates(optimizer: Optimizer, rates: Sequence[float]) -> None:
    """Give each group another learning rate at factor 1, for a scheduler that is built afterwards."""
    set_rate(optimizer, rates)
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["initial_lr"] = rate
