"""A family of small trainings, of which every number drawn gives another."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.optim import Optimizer

import lehr
from lehr.lab.data import Data, Pairs
from lehr.lab.metric import Criterion
from lehr.lab.training_task import TrainingTask
from lehr.lab.zoo.networks import Scale
from lehr.lab.zoo.recipe import Recipe

CHUNK: Final = 1_000
"""Examples of a forward pass when a network is evaluated."""

Loss = Callable[[Tensor, Tensor], Tensor]
MakeOptimizer = Callable[[nn.Module], Optimizer]
Half = Literal["development", "unseen"]


@dataclass(frozen=True)
class Member:
    """One training of a family.

    Args:
        network: makes it, from torch's random numbers.
        problem: makes or finds the data.
        recipe: how it is trained.
        loss: outputs, targets -> mean loss.
        error: outputs, targets -> the number that decides, a mean over examples; lower is better.
    """

    network: Callable[[], nn.Module]
    problem: Callable[[], Data]
    recipe: Recipe
    loss: Loss
    error: Loss

    def task(self, budget: str, about: str) -> TrainingTask:
        """The member as a task for the lab."""
        return TrainingTask(
            make_training=self.training,
            validate=partial(self.evaluate, part="validation"),
            test=partial(self.evaluate, part="test"),
            criterion=Criterion("error", higher_is_better=False),
            budget=budget,
            about=about,
        )

    def training(self, seed: int, make_optimizer: MakeOptimizer | None = None) -> lehr.Training:
        """A fresh training, whose random numbers are torch's own, seeded before.

        Args:
            seed: of the run.
            make_optimizer: model -> optimizer, where it is another than the recipe's.
        """
        recipe = self.recipe
        make_optimizer = make_optimizer or recipe.make_optimizer
        model = self.network()
        _scale_weights(model, recipe.weight_scales)
        pairs = self.problem().train

        def loss(model: nn.Module, batch: Pairs) -> Tensor:
            return recipe.loss_scale * self.loss(model(batch[0]), batch[1])

        return lehr.Training(
            model, make_optimizer(model), partial(_batches, pairs, recipe.batch), loss,
            accumulate=recipe.accumulate, clip_norm=recipe.clip,
        )  # fmt: skip

    def evaluate(self, training: lehr.Training, part: str) -> float:
        """The mean error over the "validation" or the "test" part."""
        return self.mean_error(training.modules[0], part)

    def mean_error(self, predict: Callable[[Tensor], Tensor], part: str) -> float:
        """The same of any function from inputs to outputs."""
        inputs, targets = getattr(self.problem(), part)
        sums = [
            float(self.error(predict(x), y)) * len(x)
            for x, y in zip(inputs.split(CHUNK), targets.split(CHUNK), strict=True)
        ]
        return sum(sums) / len(inputs)


@dataclass(frozen=True)
class Family:
    """A kind of training.

    Args:
        name: of the family.
        about: one line.
        half: whether rules may be developed on it, or are judged on it, once.
        updates: how long its trainings are.
        draw: random numbers -> a member.
    """

    name: str
    about: str
    half: Half
    updates: tuple[int, int]
    draw: Callable[[random.Random], Member]

    def member(self, number: int) -> Member:
        """The member of that number, the same each time."""
        return self.draw(random.Random(f"{self.name}/{number}"))  # noqa: S311 - no secret

    def task(self, number: int) -> TrainingTask:
        """The member of that number as a task, under the shorter of the family's two budgets."""
        return self.member(number).task(f"{self.updates[0]}steps", f"{self.name} {number}: {self.about}")


def epoch(count: int, size: int) -> Tensor:
    """The rows of each full batch of an epoch in a random order."""
    return torch.randperm(count)[: count // size * size].view(-1, size)


def _batches(pairs: Pairs, size: int) -> Iterator[Pairs]:
    for rows in epoch(len(pairs[0]), size):
        yield pairs[0][rows], pairs[1][rows]


def _scale_weights(model: nn.Module, scales: tuple[float, ...]) -> None:
    if scales == (1.0,):
        return
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    for index, layer in enumerate(layers):
        parametrize.register_parametrization(layer, "weight", Scale(scales[index % len(scales)]))
