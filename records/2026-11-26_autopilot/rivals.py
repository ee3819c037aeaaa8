"""Optimizers that need no rate or no schedule, as their authors say to use them.

`pip install schedulefree==1.4.1 prodigyopt==1.1.2`; ScheduleFree+ is in the repository of schedulefree alone
(github.com/facebookresearch/schedule_free, commit 70785b5).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

import lehr
from lehr.lab.zoo.recipe import Recipe

WARM_UP = 0.05
"""Share of the updates over which schedule-free warms up, which is recommended without a length."""

AVERAGED = 50
"""Batches that give batch norm its statistics at the averaged weights, as schedule-free's page has it."""


def schedule_free(recipe: Recipe, model: nn.Module, updates: int) -> torch.optim.Optimizer:
    """Schedule-free AdamW where the recipe has AdamW, schedule-free SGD elsewhere; all but the decay as it comes."""
    import schedulefree

    kind = schedulefree.AdamWScheduleFree if recipe.optimizer == "adamw" else schedulefree.SGDScheduleFree
    return kind(model.parameters(), weight_decay=recipe.decay, warmup_steps=round(WARM_UP * updates))


def schedule_free_adamw(recipe: Recipe, model: nn.Module, updates: int) -> torch.optim.Optimizer:
    """Schedule-free AdamW whatever the recipe has."""
    import schedulefree

    decay = recipe.decay if recipe.optimizer == "adamw" else 0.0
    return schedulefree.AdamWScheduleFree(model.parameters(), weight_decay=decay, warmup_steps=round(WARM_UP * updates))


def schedule_free_plus(recipe: Recipe, model: nn.Module, updates: int) -> torch.optim.Optimizer:
    """ScheduleFree+, with its averaging begun after the warm-up, as its page has it."""
    from schedulefree import AdamCScheduleFreePlusPaper

    class Plus(AdamCScheduleFreePlusPaper):
        """With a `step` that takes the loss from where `HandsLoss` puts it."""

        loss = 0.0

        def step(self, closure: None = None) -> None:
            self.step_func(self.loss)

    return Plus(model.parameters(), c_warmup=round(WARM_UP * updates))


def prodigy(recipe: Recipe, model: nn.Module, updates: int) -> torch.optim.Optimizer:
    """Prodigy at its rate of one."""
    from prodigyopt import Prodigy

    return Prodigy(model.parameters(), weight_decay=recipe.decay if recipe.optimizer == "adamw" else 0.0)


class HandsLoss(lehr.Policy):
    """A schedule for an optimizer whose step wants the loss.

    Args:
        optimizer: whose `loss` is set before each step.
        schedule: of its rate.
    """

    needs = ("loss",)

    def __init__(self, optimizer: Any, schedule: lehr.Schedule) -> None:
        self.optimizer = optimizer
        self.schedule = schedule

    def factors(self, moment: lehr.Moment) -> float:
        if moment.loss is not None:
            self.optimizer.loss = float(moment.loss)
        return self.schedule(moment.progress)

    def __repr__(self) -> str:
        return f"HandsLoss({self.schedule!r})"


def take_average(training: lehr.Training, optimizer: Any) -> None:
    """Weights become their average, and batch norm the statistics that it has there."""
    optimizer.eval()
    if needs_statistics(training):
        for _ in range(AVERAGED):
            training.loss_ahead()


def needs_statistics(training: lehr.Training) -> bool:
    """Whether there is a batch norm."""
    return any(isinstance(part, _BatchNorm) for module in training.modules for part in module.modules())
