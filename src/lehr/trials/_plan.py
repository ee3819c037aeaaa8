"""What a budget buys: a few updates are timed and undone, and the rest is arithmetic."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import torch

from lehr._arguments import function_argument, whole_argument
from lehr.budget import Budget
from lehr.training import Training
from lehr.training.training import check_training
from lehr.training.update import OutOfData

RESAMPLES: Final = 1_000


@dataclass(frozen=True)
class Estimate:
    """A number that was measured, with how far it may be off.

    Args:
        value: the number.
        low: lower end of its 95 % interval.
        high: upper end.

    >>> print(Estimate(1234.0, 1200.0, 1300.0))
    1,230 (1,200 to 1,300)
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if _number(self.low) == _number(self.high):
            return _number(self.value)
        return f"{_number(self.value)} ({_number(self.low)} to {_number(self.high)})"

    def times(self, factor: float) -> Estimate:
        """The estimate of so many times as much."""
        return Estimate(factor * self.value, factor * self.low, factor * self.high)


@dataclass(frozen=True)
class Plan:
    """What a budget buys, as `plan` found out; print it.

    Args:
        budget: which budget.
        step_seconds: how long each of the updates took that were timed.
        updates: how many updates the budget buys.
        seconds: how long they take.

    >>> print(Plan(Budget(seconds=60), (0.1, 0.1), Estimate(600, 600, 600), Estimate(60, 60, 60)))
    60 seconds: about 600 updates of 100 ms
    """

    budget: Budget
    step_seconds: tuple[float, ...]
    updates: Estimate
    seconds: Estimate

    @property
    def epochs(self) -> Estimate | None:
        """How many epochs that is; None if the budget does not say how many steps one has."""
        each = self.budget.steps_per_epoch
        return None if each is None else self.updates.times(1.0 / each)

    @property
    def samples(self) -> Estimate | None:
        """How many samples that is; None if the budget does not say how many an update uses."""
        each = self.budget.samples_per_step
        return None if each is None else self.updates.times(each)

    @property
    def tokens(self) -> Estimate | None:
        """How many tokens that is; None if the budget does not say how many an update uses."""
        each = self.budget.tokens_per_step
        return None if each is None else self.updates.times(each)

    def __str__(self) -> str:
        parts = [f"about {self.updates} updates of {1e3 * statistics.mean(self.step_seconds):.3g} ms"]
        if self.budget.unit != "seconds":
            parts.append(f"{self.seconds} seconds")
        parts += [
            f"{found} {unit}"
            for unit in ("epochs", "samples", "tokens")
            if unit != self.budget.unit and (found := getattr(self, unit)) is not None
        ]
        return f"{self.budget}: {', '.join(parts)}"


def plan(
    training: Training,
    budget: str | Budget,
    *,
    steps: int = 20,
    warmup: int = 3,
    now: Callable[[], float] = time.perf_counter,
) -> Plan:
    """What a budget buys on this machine: times a few updates, puts everything back, and works out the rest.

        updates = seconds / mean seconds an update

    The interval is what resampling the timed updates gives (percentile bootstrap). It does not know of evaluation,
    checkpoints, or a machine that slows down later; time those and leave room.

    Args:
        training: whose updates to time.
        budget: what there is to spend, as text such as "30min" or as a `Budget`; `steps_per_epoch`, `samples_per_step`
            and `tokens_per_step` may be given beside seconds, and are then planned for.
        steps: how many updates to time, at least 2.
        warmup: how many updates to make before that, untimed: the first ones compile and allocate.
        now: a clock in seconds.

    Raises:
        ValueError: if the budget has no end or does not say how much of it an update spends, or `steps` is below 2.

    >>> model = torch.nn.Linear(10, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> loader = torch.utils.data.DataLoader(torch.randn(64, 10), batch_size=8)
    >>> training = Training(model, optimizer, loader, lambda model, x: model(x).square().mean())
    >>> estimate = plan(training, "60s")
    >>> estimate.updates.low <= estimate.updates.value <= estimate.updates.high
    True
    """
    check_training("plan", training)
    function_argument("plan: now", now, "nothing, which gives seconds, such as time.perf_counter")
    steps, warmup = whole_argument("plan: steps", steps, 2), whole_argument("plan: warmup", warmup, 0)
    budget = training.budget(budget)
    if budget.endless:
        raise ValueError("plan: budget has no end, so there is nothing to plan")
    if budget.unit == "samples" and budget.samples_per_step is None:
        budget = replace(budget, samples_per_step=training.samples_per_step)
    if budget.updates is None and budget.unit != "seconds":
        raise ValueError(f"plan: give {budget.unit}_per_step to Budget, or it is not known how many an update spends")
    took: list[float] = []
    with training.untouched():
        try:
            for _ in range(warmup):
                training.step()
            for _ in range(steps):
                took.append(_timed(training.step, now))  # noqa: PERF401 - what was timed counts if the data ends
        except OutOfData:
            pass
    if len(took) < 2:
        raise ValueError(
            f"plan: the batches came to their end after {len(took)} timed updates; give steps and warmup that the data "
            "has room for, or batches that begin again"
        )
    if not any(took):
        raise ValueError("plan: the updates took no time by the clock `now`; give one that is finer")
    each = _mean_of(took)
    if budget.updates is None:
        updates = Estimate(*(budget.total / seconds for seconds in (each.value, each.high, each.low)))
        seconds = Estimate(budget.total, budget.total, budget.total)
    else:
        updates = Estimate(budget.updates, budget.updates, budget.updates)
        seconds = each.times(budget.updates)
    return Plan(budget, tuple(took), updates, seconds)


def _timed(update: Callable[[], Any], now: Callable[[], float]) -> float:
    _wait()
    began = now()
    update()
    _wait()
    return now() - began


def _wait() -> None:
    """Until the device has done what it was told."""
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()


def _mean_of(took: Sequence[float]) -> Estimate:
    generator = random.Random(0)  # noqa: S311 - for statistics
    means = sorted(statistics.fmean(generator.choices(took, k=len(took))) for _ in range(RESAMPLES))
    return Estimate(statistics.fmean(took), means[RESAMPLES // 40], means[-1 - RESAMPLES // 40])


def _number(value: float) -> str:
    """To three digits, with commas."""
    return f"{float(f'{value:.3g}'):,.10g}"
