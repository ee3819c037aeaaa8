"""Rates for a trial, which no scheduler changes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch.optim import Optimizer

from lehr.scheduler.param_groups import base_rates, groups_of, peak_of, set_rates


class RateSetter:
    """Sets the rate before a step and again at the update itself, in case a scheduler has come in between.

    A context, after which the base rates are set.

    Args:
        optimizers: whose groups keep their ratios to the first one that trains.
        who: the procedure that errors name.

    Raises:
        ValueError: if no group has a rate above 0.
    """

    def __init__(self, optimizers: Sequence[Optimizer], who: str) -> None:
        bases = base_rates(optimizers)
        first = peak_of(who, bases)
        self._who = who
        self.rate = 0.0
        self._ratios = [base / first for base in bases]
        self._bases = bases
        self._optimizers = optimizers

    def __enter__(self) -> Self:
        self._hooks = [each.register_step_pre_hook(self._at_update) for each in self._optimizers]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()
        set_rates(self._optimizers, self._bases)

    def set(self, rate: float) -> None:
        """Give the first group that trains this rate."""
        self.rate = rate
        self._set_all()

    def check(self) -> None:
        """Whether the rates are still these.

        Raises:
            ValueError: if not.
        """
        for group, ratio in zip(groups_of(self._optimizers), self._ratios, strict=False):
            if not math.isclose(float(group["lr"]), self.rate * ratio, rel_tol=1e-5):
                raise ValueError(
                    f"{self._who}: the training changes the learning rate itself; name the scheduler that does so in "
                    "its touches"
                )

    def _set_all(self) -> None:
        set_rates(self._optimizers, [self.rate * ratio for ratio in self._ratios])

    def _at_update(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if not torch.compiler.is_compiling():  # there it would be traced as a constant
            self._set_all()
