"""The wrappers behind a schedule's operators: each changes one thing about the curve inside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lehr.schedules import _check
from lehr.schedules._namespace import SCALARS, choose, from_beginning, reached, whole
from lehr.schedules.base import Schedule
from lehr.schedules.shapes import Linear


@dataclass(frozen=True, repr=False)
class Product(Schedule):
    """`first * second`: both factors multiplied."""

    first: Schedule
    second: Schedule

    def factor_at(self, progress: Any, xp: Any) -> Any:
        return self.first.factor_at(progress, xp) * self.second.factor_at(progress, xp)

    def __repr__(self) -> str:
        # * binds to the left, so a product on the right keeps its parentheses
        second = f"({self.second!r})" if isinstance(self.second, Product) else repr(self.second)
        return f"{self.first!r} * {second}"


@dataclass(frozen=True, repr=False)
class Then(Schedule):
    """`first.then(second, at=at)`: one curve up to `at`, another from there."""

    first: Schedule
    second: Schedule
    at: float

    def __post_init__(self) -> None:
        _check.inside("then", "at", self.at)
        if not isinstance(self.second, Schedule):
            raise TypeError(f"then: other must be a schedule; got {self.second!r}")

    def factor_at(self, progress: Any, xp: Any) -> Any:
        at = self.at
        return choose(
            reached(progress, at, xp),
            lambda: self.second.factor_at(from_beginning((progress - at) / (1.0 - at), xp), xp),
            lambda: self.first.factor_at(xp.clip(progress, 0.0, at) / at, xp),
            xp,
        )

    def __repr__(self) -> str:
        return f"{_operand(self.first)}.then({self.second!r}, at={self.at!r})"


@dataclass(frozen=True, repr=False)
class AfterWarmup(Schedule):
    """`schedule.after_warmup(share, start)`: a linear rise, then the whole curve over what remains."""

    schedule: Schedule
    share: float
    start: float = 0.0

    def __post_init__(self) -> None:
        _check.inside("after_warmup", "share", self.share)
        _check.factor("after_warmup", "start", self.start)

    def factor_at(self, progress: Any, xp: Any) -> Any:
        share, top = self.share, self.schedule(0.0)
        return choose(
            reached(progress, share, xp),
            lambda: self.schedule.factor_at(from_beginning((progress - share) / (1.0 - share), xp), xp),
            lambda: top * Linear(self.start, 1.0).factor_at(xp.clip(progress, 0.0, share) / share, xp),
            xp,
        )

    def __repr__(self) -> str:
        start = f", start={self.start!r}" if self.start else ""
        return f"{_operand(self.schedule)}.after_warmup({self.share!r}{start})"


@dataclass(frozen=True, repr=False)
class Until(Schedule):
    """`schedule.until(end)`: the curve squeezed in front of `end`, its last value held behind."""

    schedule: Schedule
    end: float

    def __post_init__(self) -> None:
        _check.share("until", "end", self.end)

    def factor_at(self, progress: Any, xp: Any) -> Any:
        return self.schedule.factor_at(xp.clip(progress, 0.0, self.end) / self.end, xp)

    def __repr__(self) -> str:
        return f"{_operand(self.schedule)}.until({self.end!r})"


@dataclass(frozen=True, repr=False)
class Repeated(Schedule):
    """`schedule.repeated(times, scale)`: the curve over and over, scaled a little more each time."""

    schedule: Schedule
    times: float
    scale: float = 1.0

    def __post_init__(self) -> None:
        _check.positive("repeated", "times", self.times)
        _check.factor("repeated", "scale", self.scale)
        if self.scale > 1.0:
            raise ValueError(f"repeated: scale must be at most 1, or the factor grows without end; got {self.scale!r}")

    def factor_at(self, progress: Any, xp: Any) -> Any:
        turns = progress * self.times
        turn = whole(turns, xp)
        return self.scale**turn * self.schedule.factor_at(from_beginning(turns - turn, xp), xp)

    def __repr__(self) -> str:
        scale = "" if self.scale == 1.0 else f", scale={self.scale!r}"
        return f"{_operand(self.schedule)}.repeated({self.times!r}{scale})"


@dataclass(frozen=True, repr=False)
class Sampled(Schedule):
    """`schedule.sampled(every)`: the curve read at multiples of `every` only."""

    schedule: Schedule
    every: float

    def __post_init__(self) -> None:
        _check.share("sampled", "every", self.every)

    def factor_at(self, progress: Any, xp: Any) -> Any:
        return self.schedule.factor_at(whole(progress / self.every, xp) * self.every, xp)

    def __repr__(self) -> str:
        return f"{_operand(self.schedule)}.sampled({self.every!r})"


@dataclass(frozen=True, repr=False)
class Clip(Schedule):
    """`schedule.clip(low, high)`: the curve with a floor and a ceiling."""

    schedule: Schedule
    low: float = 0.0
    high: float | None = None

    def __post_init__(self) -> None:
        _check.factor("clip", "low", self.low)
        if self.high is not None and _check.number("clip", "high", self.high) < self.low:
            raise ValueError(f"clip: high must be at least low; got low={self.low}, high={self.high}")

    def factor_at(self, progress: Any, xp: Any) -> Any:
        factor = self.schedule.factor_at(progress, xp)
        high = float("inf") if self.high is None else self.high
        return float(xp.clip(factor, self.low, high)) if xp is SCALARS else xp.clip(factor, self.low, high)

    def __repr__(self) -> str:
        high = "" if self.high is None else f", high={self.high!r}"
        return f"{_operand(self.schedule)}.clip(low={self.low!r}{high})"


@dataclass(frozen=True, repr=False)
class Between(Schedule):
    """`schedule.between(low, high)`: the curve's range from 0 to 1 mapped onto `low` to `high`, which may be lower."""

    schedule: Schedule
    low: float
    high: float = 1.0

    def __post_init__(self) -> None:
        _check.factor("between", "low", self.low)
        _check.factor("between", "high", self.high)

    def factor_at(self, progress: Any, xp: Any) -> Any:
        factor = self.low + (self.high - self.low) * self.schedule.factor_at(progress, xp)
        return factor if self.low <= self.high else xp.clip(factor, 0.0, self.low)  # the curve may go above 1

    def __repr__(self) -> str:
        high = "" if self.high == 1.0 else f", {self.high!r}"
        return f"{_operand(self.schedule)}.between({self.low!r}{high})"


def _operand(schedule: Schedule) -> str:
    """The schedule as the left side of a method call."""
    return f"({schedule!r})" if isinstance(schedule, Product) else repr(schedule)
