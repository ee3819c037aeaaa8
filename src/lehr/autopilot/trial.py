"""A trial: a short run that looks like the main run, scored on batches that all trials have in common."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Final, Literal

import torch
from torch import Tensor

from lehr.scheduler import ranks
from lehr.schedules import Schedule, warmup_stable_decay
from lehr.training import Training
from lehr.trials.rate_setter import RateSetter

SHAPE: Final[Schedule] = warmup_stable_decay(warmup=0.2, decay=0.4)
"""The rate of a trial: the warm-up of the main run, a hold, and a descent, without which high rates look bad."""

SCORED: Final = 8
"""Batches on which a trial is scored afterwards, the same for all."""

EVERY: Final = 8
"""After how many updates to see whether the loss is still finite, since each look waits for the device."""

SURE: Final = 2.0
"""By how many standard errors the loss must have fallen, or risen, to say so."""

RISEN: Final = 3.0
"""By how many times the first loss the loss must have risen for a trial to be broken off."""

Ending = Literal["finished", "not finite", "loss rose"]


@dataclass(frozen=True)
class Trial:
    """What came of a trial.

    Args:
        rate: its peak, of the first parameter group that trains.
        updates: it made.
        loss: at its end, on batches that all trials have in common; infinite if it was broken off.
        ending: why it ended.
        error: standard error of how far the loss has moved, from batch to batch; 0 where it is not known.

    >>> Trial(0.1, 64, 0.5, "finished").failed(first_loss=2.3)
    False
    >>> trial = Trial(0.1, 64, 2.2, "finished", error=0.1)
    >>> trial.fell(2.3), trial.rose(2.3), trial.fell(2.5)
    (False, False, True)
    """

    rate: float
    updates: int
    loss: float
    ending: Ending
    error: float = 0.0

    def failed(self, first_loss: float) -> bool:
        """Whether the loss is no lower than before the first update."""
        return not self.loss < first_loss

    def fell(self, first_loss: float) -> bool:
        """Whether the loss is lower by more than chance."""
        return self.loss < first_loss - SURE * self.error

    def rose(self, first_loss: float) -> bool:
        """Whether it is no lower, by more than chance."""
        return self.loss >= first_loss + SURE * self.error


def run_trial(
    training: Training,
    who: str,
    rate: float,
    updates: int,
    first_loss: float,
    before: Sequence[float],
    spend: Callable[[float], None],
) -> Trial:
    """Train with that peak rate for so many updates, score, and put everything back.

    Args:
        training: what to train.
        who: the procedure that errors name.
        rate: of the first parameter group that trains; the others keep their ratios to it.
        updates: to make, at least 1.
        first_loss: before any update.
        before: the losses, before any update, of the batches on which it is scored; none where they are not known.
        spend: told what has been spent: 1 for an update, a third for a forward pass.
    """
    losses: list[Tensor] = []
    with training.untouched(), RateSetter(training.optimizers, who) as setter:
        for update in range(updates):
            setter.set(rate * SHAPE((update + 0.5) / updates))
            losses.append(training.step())
            spend(1.0)
            if (update + 1) % EVERY == 0 and (ending := _broken(losses[-EVERY:], first_loss)) is not None:
                return Trial(rate, update + 1, math.inf, ending)
        scores = numbers_of(_scores(training, losses, spend))
    score = fmean(scores)
    if not math.isfinite(score):
        return Trial(rate, updates, math.inf, "not finite")
    moved = [after - first for after, first in zip(scores, before, strict=False)]
    error = stdev(moved) / math.sqrt(len(moved)) if len(moved) > 1 else 0.0
    return Trial(rate, updates, score, "finished", error)


def _scores(training: Training, losses: list[Tensor], spend: Callable[[float], None]) -> list[Tensor]:
    """The losses of the batches that come next; of the last updates where no loss can be had without one."""
    if training.cannot_look is not None:
        return losses[-max(3, len(losses) // 8) :]
    spend(cost_of(SCORED, training))
    return [training.loss_ahead() for _ in range(SCORED)]


def _broken(recent: list[Tensor], first_loss: float) -> Ending | None:
    mean = float(ranks.mean(mean_of(recent)))
    if not math.isfinite(mean):
        return "not finite"
    return "loss rose" if mean > first_loss + RISEN * abs(first_loss) else None


def cost_of(passes: int, training: Training) -> float:
    """What forward passes of a batch cost, in updates: a third of one, which has `accumulate` batches."""
    return passes / (3.0 * training.accumulate)


def numbers_of(losses: Sequence[Tensor]) -> list[float]:
    """The losses as numbers, the mean over ranks of each, which waits for the device."""
    return [float(ranks.mean(loss)) for loss in torch.stack([loss.double() for loss in losses]).tolist()]


def mean_of(losses: Sequence[Tensor]) -> float:
    """The mean of losses, which waits for the device."""
    return float(torch.stack([loss.double() for loss in losses]).mean())
