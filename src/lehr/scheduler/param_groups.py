"""The only place that reads base values from an optimizer's parameter groups and writes into them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

Factors = float | Sequence[float]


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
        self._groups: list[dict[str, Any]] | None = None
        self._plain: list[tuple[dict[str, Any], float, int]] = []
        self._all_plain = False
        self._buffers: list[_Buffer] = []
        self.adopt()

    @property
    def stale(self) -> bool:
        """Whether groups were added, or replaced by loading a checkpoint, since they were last looked at."""
        return self.optimizer.param_groups is not self._groups or len(self._groups) != len(self.bases)

    def adopt(self) -> None:
        """Look at the groups anew: note their base values and where to write."""
        self._groups = groups = self.optimizer.param_groups
        tensors: dict[tuple[torch.device, torch.dtype], list[int]] = {}
        self._plain = []
        self.bases = []
        for index, group in enumerate(groups):
            value = self._read(group, index)
            base = float(group.setdefault(self._initial, float(value)))
            self.bases.append(base)
            if isinstance(value, Tensor):
                tensors.setdefault((value.device, value.dtype), []).append(index)
            else:
                self._plain.append((group, base, index))
        self._all_plain = not tensors and self.key in groups[0]
        self._buffers = [_Buffer(self, indices) for indices in tensors.values()]

    def write(self, factors: Factors) -> None:
        """Give every group its base value times its factor."""
        if self.stale:
            self.adopt()
        if not isinstance(factors, float) and len(factors) != len(self.bases):
            raise ValueError(f"the policy gave {len(factors)} factors for {len(self.bases)} parameter groups")
        if self._all_plain:  # the usual case, kept bare since it runs once an update
            key = self.key
            if isinstance(factors, float):
                for group, base, _ in self._plain:
                    group[key] = base * factors
            else:
                for (group, base, _), factor in zip(self._plain, factors, strict=True):
                    group[key] = base * factor
            return
        for group, base, index in self._plain:
            self.assign(group, base * (factors if isinstance(factors, float) else factors[index]))
        for buffer in self._buffers:
            buffer.write(factors)

    def values(self, factors: Factors) -> list[float]:
        """What `write(factors)` gives each group, as numbers."""
        each = repeat(factors) if isinstance(factors, float) else factors
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
            if value.numel() != 1:
                raise ValueError(
                    f"parameter group {index}: {self.key} must hold one number; got shape {tuple(value.shape)}"
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
        # a row of 16 bytes each, since compiled kernels expect that alignment
        rows = torch.zeros(len(groups), max(1, 16 // first.element_size()), dtype=first.dtype, device=first.device)
        self.column = rows[:, 0]
        self.bases = torch.tensor([owner.bases[i] for i in indices], dtype=torch.float64)
        self.views: list[tuple[dict[str, Any], Tensor]] = []
        seen: set[int] = set()
        with torch.no_grad():
            for row, group in enumerate(groups):
                tensor = owner.held(group)
                self.column[row] = tensor.item()
                if id(tensor) in seen:
                    tensor = tensor.detach().clone()
                    owner.assign(group, tensor)
                seen.add(id(tensor))
                tensor.set_(rows.untyped_storage(), row * rows.stride(0), tensor.shape, tensor.stride())
                self.views.append((group, tensor))
        defaults = owner.optimizer.defaults
        if id(defaults.get(owner.key)) in seen:  # or a group added later would start from today's decayed value
            defaults[owner.key] = torch.tensor(owner.bases[indices[0]], dtype=first.dtype, device=first.device)

    def write(self, factors: Factors) -> None:
        for group, tensor in self.views:
            if self.owner.held(group) is not tensor:  # somebody put another value in its place
                self.owner.adopt()
                return self.owner.write(factors)
        if isinstance(factors, float):
            self.column.copy_(self.bases * factors)
        else:
            self.column.copy_(
                self.bases * torch.tensor([factors[index] for index in self.indices], dtype=torch.float64)
            )
        return None


def _numeric(group: dict[str, Any]) -> list[str]:
    return sorted(
        key for key, value in group.items() if isinstance(value, float | int | Tensor) and not isinstance(value, bool)
    )
