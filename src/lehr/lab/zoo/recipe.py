"""A recipe: everything of a training but its network and its problem."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.optim import Optimizer

from lehr._numbers import shown


@dataclass(frozen=True)
class Recipe:
    """How a member of the zoo is trained.

    Args:
        optimizer: "sgd", "momentum", "nesterov" or "adamw".
        batch: examples in a batch.
        clip: largest norm of a gradient; None does not clip.
        decay: weight decay.
        betas: of Adam's averages.
        accumulate: batches of an update.
        loss_scale: what the loss is multiplied by, which for SGD divides the best rate.
        weight_scales: of the parametrisation, one a layer in turn.
    """

    optimizer: str
    batch: int
    clip: float | None = None
    decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    accumulate: int = 1
    loss_scale: float = 1.0
    weight_scales: tuple[float, ...] = (1.0,)

    def make_optimizer(self, model: nn.Module) -> Optimizer:
        """Its optimizer, with a rate that says nothing."""
        parameters = list(model.parameters())
        match self.optimizer:
            case "sgd":
                return torch.optim.SGD(parameters, lr=0.1, weight_decay=self.decay)
            case "momentum":
                return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=self.decay)
            case "nesterov":
                return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, nesterov=True, weight_decay=self.decay)
            case "adamw":
                return torch.optim.AdamW(parameters, lr=1e-3, betas=self.betas, weight_decay=self.decay)
        raise ValueError(f"Recipe: optimizer must be sgd, momentum, nesterov or adamw; got {shown(self.optimizer)}")


def draw_recipe(
    rng: random.Random, optimizers: Sequence[str], batches: Sequence[int], *, clips: Sequence[float | None] = (None,)
) -> Recipe:
    """A random recipe.

    Args:
        rng: where random numbers come from.
        optimizers: to choose from.
        batches: to choose from.
        clips: to choose from.
    """
    optimizer = rng.choice(optimizers)
    adaptive = optimizer == "adamw"
    scales = tuple(10.0 ** rng.uniform(-0.5, 0.5) for _ in range(3)) if rng.random() < 0.5 else (1.0,)
    return Recipe(
        optimizer,
        rng.choice(batches),
        clip=rng.choice(clips),
        decay=rng.choice((0.0, 0.01, 0.1) if adaptive else (0.0, 1e-4, 5e-4)),
        betas=rng.choice(((0.9, 0.999), (0.9, 0.99), (0.9, 0.95), (0.95, 0.98))),
        accumulate=2 if rng.random() < 0.1 else 1,
        loss_scale=10.0 ** rng.uniform(-1.0, 1.0) if rng.random() < 0.5 else 1.0,
        weight_scales=scales,
    )
