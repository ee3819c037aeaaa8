"""Curves without cycles: what the factor does over one run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from lehr._numbers import LARGEST, floats, shown
from lehr.schedules import _check
from lehr.schedules._namespace import choose, reached
from lehr.schedules.schedule import Schedule


@dataclass(frozen=True, repr=False)
class Linear(Schedule):
    """A straight line; by default to zero, the budget-aware schedule that needs no tuning.

        f(p) = start + (end - start) p

    Args:
        start: factor at progress 0, at least 0.
        end: factor at progress 1 and beyond, at least 0.

    Source: Li, Yumer and Ramanan, "Budgeted Training", ICLR 2020 (arXiv 1905.04753); optimal for the last iterate:
    Defazio et al. 2023 (arXiv 2310.07831). torch's `LinearLR` is something else, a warm-up from 1/3 to 1.

    >>> [Linear()(p) for p in (0.0, 0.25, 1.0, 1.2)]
    [1.0, 0.75, 0.0, 0.0]
    """

    start: float = 1.0
    end: float = 0.0

    def __post_init__(self) -> None:
        _check.each(self, _check.factor, "start", "end")

    def factor_at(self, progress: Any, xp: Any) -> Any:
        left = 1.0 - xp.clip(progress, 0.0, 1.0)
        return self.end + (self.start - self.end) * left


@dataclass(frozen=True, repr=False)
class Cosine(Schedule):
    """Half a period of a cosine.

        f(p) = end + (start - end) (1 + cos(pi p)) / 2

    Args:
        start: factor at progress 0, at least 0.
        end: factor at progress 1 and beyond, at least 0.

    Source: Loshchilov and Hutter, "SGDR", ICLR 2017 (arXiv 1608.03983), equation 5 without restarts.

    >>> [round(Cosine()(p), 3) for p in (0.0, 0.25, 0.5, 1.0)]
    [1.0, 0.854, 0.5, 0.0]
    """

    start: float = 1.0
    end: float = 0.0

    def __post_init__(self) -> None:
        _check.each(self, _check.factor, "start", "end")

    def factor_at(self, progress: Any, xp: Any) -> Any:
        wave = 0.5 * (1.0 + xp.cos(math.pi * xp.clip(progress, 0.0, 1.0)))
        return self.end + (self.start - self.end) * wave


@dataclass(frozen=True, repr=False)
class Polynomial(Schedule):
    """A power of what is left of the budget ("poly").

        f(p) = end + (start - end) (1 - p)^power

    Args:
        power: above 0; 1 is linear, above 1 falls early, below 1 falls late.
        start: factor at progress 0, at least 0.
        end: factor at progress 1 and beyond, at least 0.

    Source: Chen et al., "DeepLab", 2016 (arXiv 1606.00915), section 4.1, with power 0.9.

    >>> Polynomial(power=2)(0.5)
    0.25
    """

    power: float = 0.9
    start: float = 1.0
    end: float = 0.0

    def __post_init__(self) -> None:
        _check.each(self, _check.positive, "power")
        _check.each(self, _check.factor, "start", "end")

    def factor_at(self, progress: Any, xp: Any) -> Any:
        left = 1.0 - xp.clip(progress, 0.0, 1.0)
        return self.end + (self.start - self.end) * left**self.power


@dataclass(frozen=True, repr=False)
class Exponential(Schedule):
    """The same relative change in every equal share of the budget.

        f(p) = start (end / start)^p

    A decay by `gamma` every update over `n` updates is `Exponential(end=gamma**n)`.

    Args:
        end: factor at progress 1 and beyond, above 0.
        start: factor at progress 0, above 0.

    >>> round(Exponential(end=0.01)(0.5), 6)
    0.1
    """

    end: float = 0.01
    start: float = 1.0

    def __post_init__(self) -> None:
        _check.each(self, _check.above_zero, "end", "start")

    def factor_at(self, progress: Any, xp: Any) -> Any:
        spent = xp.clip(progress, 0.0, 1.0)
        first, last = math.log(self.start), math.log(self.end)  # whose quotient may be beyond what a float holds
        return choose(
            spent >= 1.0,
            lambda: self.end + 0.0 * spent,
            lambda: xp.exp((1.0 - spent) * first + spent * last),
            xp,
        )


@dataclass(frozen=True, repr=False)
class InverseSqrt(Schedule):
    """One over the square root of time, the Transformer's decay; usually behind a warm-up.

        f(p) = 1 / sqrt(1 + p / timescale)

    With `n` updates of which the first `w` warm up, transformers' `inverse_sqrt` is
    `InverseSqrt(timescale=w / (n - w)).after_warmup(w / n)`.

    Args:
        timescale: share of the budget after which the factor is 1 / sqrt(2), above 0.

    Source: Vaswani et al., "Attention is all you need", 2017 (arXiv 1706.03762), equation 3; the form with a
    timescale: Zhai et al. 2021 (arXiv 2106.04560).

    >>> InverseSqrt(timescale=0.25)(0.75)
    0.5
    """

    timescale: float = 0.1

    def __post_init__(self) -> None:
        _check.each(self, _check.positive, "timescale")

    def factor_at(self, progress: Any, xp: Any) -> Any:
        return 1.0 / xp.sqrt(1.0 + xp.clip(progress, 0.0, 1.0) / self.timescale)


@dataclass(frozen=True, repr=False)
class Steps(Schedule):
    """A staircase that falls by `gamma` at each milestone ("step decay").

        f(p) = gamma^(number of milestones reached at p)

    Args:
        at: milestones as shares of the budget, each in (0, 1), rising.
        gamma: factor from one stair to the next, at least 0.

    Source: milestones as shares are Li et al. 2020, who use 0.3 and 0.6 on ImageNet.

    >>> [round(Steps(at=(0.3, 0.6))(p), 3) for p in (0.29, 0.3, 0.6)]
    [1.0, 0.1, 0.01]
    """

    at: tuple[float, ...] = (0.3, 0.6)
    gamma: float = 0.1

    def __post_init__(self) -> None:
        _check.each(self, _check.factor, "gamma")
        if (at := floats(self.at)) is None:
            raise ValueError(
                f"Steps: at must be a tuple of milestones, or a list, such as (0.3, 0.6); got {shown(self.at)}"
            )
        # only a tuple can be compared and hashed
        object.__setattr__(self, "at", tuple(_check.inside("Steps", "at", milestone) for milestone in at))
        if list(self.at) != sorted(set(self.at)):
            raise ValueError(f"Steps: at must rise from milestone to milestone; got {shown(self.at)}")

    def factor_at(self, progress: Any, xp: Any) -> Any:
        passed = 0.0 * progress
        for milestone in self.at:
            passed = passed + reached(progress, milestone, xp)
        most = math.log(LARGEST) / math.log(self.gamma) if self.gamma > 1.0 else math.inf
        return self.gamma ** xp.clip(passed, 0.0, most)


@dataclass(frozen=True, repr=False)
class Rex(Schedule):
    """The reflected exponential: stays high for longer than linear, then falls faster.

        f(p) = (1 - p) / (1/2 + (1 - p) / 2)

    REX also names how often the factor is updated: `Rex().sampled(0.05)` changes twenty times a run.

    Source: Chen, Wolfe and Kyrillidis, "REX", MLSys 2022 (arXiv 2107.04197), section 4.

    >>> round(Rex()(0.5), 4)
    0.6667
    """

    def factor_at(self, progress: Any, xp: Any) -> Any:
        left = 1.0 - xp.clip(progress, 0.0, 1.0)
        return left / (0.5 + 0.5 * left)


@dataclass(frozen=True, repr=False)
class HyperbolicTangent(Schedule):
    """Hyperbolic tangent decay (HTD): a plateau, a fall in the middle or late, and a flat end.

        f(p) = (1 - tanh(low + (high - low) p)) / 2

    Args:
        low: argument of tanh at progress 0; the more negative, the longer the plateau.
        high: argument of tanh at progress 1, above `low`; the factor ends at (1 - tanh(high)) / 2, not at 0.

    Source: Hsueh, Li and Wu, "Stochastic gradient descent with hyperbolic-tangent decay", WACV 2019
    (arXiv 1806.01593), with (-6, 3).

    >>> round(HyperbolicTangent()(2 / 3), 3)
    0.5
    """

    low: float = -6.0
    high: float = 3.0

    def __post_init__(self) -> None:
        _check.each(self, _check.number, "low", "high")
        if self.low >= self.high:
            raise ValueError(f"HyperbolicTangent: low must be below high; got low={self.low}, high={self.high}")

    def factor_at(self, progress: Any, xp: Any) -> Any:
        return 0.5 * (1.0 - xp.tanh(self.low + (self.high - self.low) * xp.clip(progress, 0.0, 1.0)))


@dataclass(frozen=True, repr=False)
class OneMinusSqrt(Schedule):
    """A cooldown that falls steeply first and gently last, for the end of a constant stretch.

        f(p) = end + (start - end) (1 - sqrt(p))

    Args:
        start: factor at progress 0, at least 0.
        end: factor at progress 1 and beyond, at least 0.

    Source: Hägele et al., "Scaling laws and compute-optimal training beyond fixed training durations", 2024
    (arXiv 2405.18392), the best of the cooldown shapes compared there.

    >>> OneMinusSqrt()(0.25)
    0.5
    """

    start: float = 1.0
    end: float = 0.0

    def __post_init__(self) -> None:
        _check.each(self, _check.factor, "start", "end")

    def factor_at(self, progress: Any, xp: Any) -> Any:
        return self.end + (self.start - self.end) * (1.0 - xp.sqrt(xp.clip(progress, 0.0, 1.0)))
