"""From trials to a rate: where to try next, and what to choose in the end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from lehr.autopilot.trial import Trial

FAR: Final = 4.0
"""The factor between trials until the best has a worse neighbour on either side."""

NEAR: Final = 2.0
"""The factor between the best trial and its neighbours at which the search ends."""

HIGHER, LOWER, WEIGHT, NEUTRAL = 1.0, 1.5, 1.2, 0.55
"""What `octaves_to_main_run` is made of; the last stands for f where the first loss is no scale."""

SAFE: Final = 3.0
"""How far below the lowest rate that failed to stay, since the loss may break down just above the best rate."""


class Bracket(NamedTuple):
    """A rate between two that are worse.

    Args:
        low: the next lower rate that was tried, or as far below as trials are apart.
        rate: where the parabola through the three has its lowest point.
        high: the next higher rate that was tried, or as far above.
        closed: whether both were tried.
    """

    low: float
    rate: float
    high: float
    closed: bool


def next_rate(trials: Sequence[Trial], first_loss: float, start: float) -> float | None:
    """The rate to try next; None if the best one is bracketed closely.

    Climbs, or descends, by `FAR` until the best trial has a worse neighbour on both sides, then goes between.

    Args:
        trials: so far.
        first_loss: before any update.
        start: where to begin.

    >>> next_rate([], 2.0, 0.1), next_rate([Trial(0.1, 32, 1.5, "finished")], 2.0, 0.1)
    (0.1, 0.4)
    """
    if not trials:
        return start
    if len(trials) == 1:
        return start / FAR if trials[0].failed(first_loss) else start * FAR
    tried = sorted(trials, key=lambda trial: trial.rate)
    best = _best(tried, first_loss)
    if best is None or best == 0:
        return tried[0].rate / FAR
    if best == len(tried) - 1:
        return tried[-1].rate * FAR
    below, here, above = tried[best - 1 : best + 2]
    down, up = here.rate / below.rate, above.rate / here.rate
    if max(down, up) <= NEAR * 1.01:
        return None
    upwards = down <= NEAR * 1.01 or (up > NEAR * 1.01 and above.loss < below.loss)
    return here.rate * math.sqrt(up) if upwards else here.rate / math.sqrt(down)


def bracket(trials: Sequence[Trial], first_loss: float) -> Bracket:
    """The best rate by the trials, from a parabola in the logarithm of the rate.

    Args:
        trials: of which at least one has not failed.
        first_loss: before any update, which stands for the loss of those that failed.
    """
    tried = sorted(trials, key=lambda trial: trial.rate)
    best = _best(tried, first_loss)
    assert best is not None
    here = tried[best].rate
    if not 0 < best < len(tried) - 1:
        low = tried[best - 1].rate if best else here / FAR
        high = tried[best + 1].rate if best + 1 < len(tried) else here * FAR
        return Bracket(low, here, high, closed=False)
    three = tried[best - 1 : best + 2]
    x = [math.log2(trial.rate) for trial in three]
    y = [first_loss if trial.failed(first_loss) else trial.loss for trial in three]
    return Bracket(three[0].rate, 2.0 ** _vertex(x, y), three[2].rate, closed=True)


def octaves_to_main_run(loss: float, first_loss: float) -> float:
    """By how many octaves the main run wants a higher rate than its trials, or a lower one.

        1 - 1.5 min(1, 1.2 f),    f = the best trial's loss / the very first loss, from 0 to 1

    Where most of the loss has gone by then, what limits a trial's rate is the steep beginning, which the main run
    passes with a longer warm-up. Where most is still there, noise is what will limit the main run, and a short run does
    not feel that yet. Fitted on the zoo's development half.

    >>> octaves_to_main_run(0.0, 2.0), octaves_to_main_run(1.9, 2.0)
    (1.0, -0.5)
    """
    share = min(1.0, max(0.0, loss / first_loss)) if first_loss > 0.0 else NEUTRAL
    return HIGHER - LOWER * min(1.0, WEIGHT * share)


def rate_for_main_run(trials: Sequence[Trial], fork_loss: float, first_loss: float) -> Bracket:
    """The bracket of the trials, moved to where the main run wants it, and kept away from rates that failed.

    Args:
        trials: of which at least one has not failed.
        fork_loss: where they began.
        first_loss: before any update.
    """
    found = bracket(trials, fork_loss)
    limit = min((trial.rate for trial in trials if trial.failed(fork_loss)), default=math.inf) / SAFE
    move = 2.0 ** octaves_to_main_run(min(trial.loss for trial in trials), first_loss)
    rate = min(found.rate, limit) * move
    return Bracket(min(found.low * move, rate), rate, max(rate, found.high * move), found.closed)


def _best(tried: Sequence[Trial], first_loss: float) -> int | None:
    alive = [index for index, trial in enumerate(tried) if not trial.failed(first_loss)]
    return min(alive, key=lambda index: tried[index].loss, default=None)


def _vertex(x: Sequence[float], y: Sequence[float]) -> float:
    """Where the parabola through three points, of which the middle one is lowest, is lowest."""
    (a, b, c), (p, q, r) = x, y
    left, right = (q - p) / (b - a), (r - q) / (c - b)
    curvature = (right - left) / (c - a)
    return b if curvature <= 0.0 else min(c, max(a, (a + b) / 2.0 - left / (2.0 * curvature)))
