"""The optimizers that meta-training differentiates through: pure functions of parameters, gradients and state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

Tensors = dict[str, Tensor]


@runtime_checkable
class Inner(Protocol):
    """An optimizer as a direction, to which the learning rate is a factor.

    w <- w - lr * direction
    """

    def start(self, params: Tensors) -> Tensors:
        """Its state before the first update."""

    def direction(self, params: Tensors, grads: Tensors, state: Tensors) -> tuple[Tensors, Tensors]:
        """Where to go, and the state after that."""


@dataclass(frozen=True)
class InnerSGD:
    """SGD as in torch.

        v <- momentum v + g + weight_decay w;    direction = v

    Args:
        momentum: at least 0 and below 1.
        weight_decay: at least 0.

    >>> InnerSGD(momentum=0.9).direction({"w": torch.ones(1)}, {"w": torch.ones(1)}, {"w": torch.ones(1)})[0]
    {'w': tensor([1.9000])}
    """

    momentum: float = 0.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check("InnerSGD", momentum=self.momentum, weight_decay=self.weight_decay)

    def start(self, params: Tensors) -> Tensors:
        """No momentum yet."""
        return {name: torch.zeros_like(value) for name, value in params.items()}

    def direction(self, params: Tensors, grads: Tensors, state: Tensors) -> tuple[Tensors, Tensors]:
        """The momentum."""
        moved = {name: self.momentum * state[name] + grads[name] + self.weight_decay * params[name] for name in params}
        return moved, moved


@dataclass(frozen=True)
class InnerAdamW:
    """AdamW as in torch, with decoupled weight decay.

        direction = m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps) + weight_decay w

    Args:
        beta1: decay of the first moment, at least 0 and below 1.
        beta2: of the second.
        eps: above 0.
        weight_decay: at least 0.

    >>> params = {"w": torch.ones(1)}
    >>> round(InnerAdamW().direction(params, params, InnerAdamW().start(params))[0]["w"].item(), 4)
    1.0
    """

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check("InnerAdamW", beta1=self.beta1, beta2=self.beta2, weight_decay=self.weight_decay)

    def start(self, params: Tensors) -> Tensors:
        """Moments of zero."""
        moments = {f"{kind}.{name}": torch.zeros_like(value) for kind in "mv" for name, value in params.items()}
        return {**moments, "t": torch.zeros(())}

    def direction(self, params: Tensors, grads: Tensors, state: Tensors) -> tuple[Tensors, Tensors]:
        """The quotient of the moments, and the decay."""
        t = state["t"] + 1.0
        first, second = 1.0 - self.beta1**t, 1.0 - self.beta2**t
        after: Tensors = {"t": t}
        moved = {}
        for name, grad in grads.items():
            m = after[f"m.{name}"] = self.beta1 * state[f"m.{name}"] + (1.0 - self.beta1) * grad
            v = after[f"v.{name}"] = self.beta2 * state[f"v.{name}"] + (1.0 - self.beta2) * grad * grad
            # where no gradient has ever been, the root has no derivative
            root = torch.where(v > 0.0, torch.where(v > 0.0, v / second, torch.ones_like(v)).sqrt(), 0.0)
            moved[name] = m / first / (root + self.eps) + self.weight_decay * params[name]
        return moved, after


def _check(who: str, **values: float) -> None:
    for name, value in values.items():
        if not 0.0 <= value < (1.0 if name != "weight_decay" else float("inf")):
            raise ValueError(f"{who}: {name} must be at least 0{'' if name == 'weight_decay' else ' and below 1'}")
