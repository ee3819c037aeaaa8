"""The way down from wherever a run is, when less is left than was planned."""

from __future__ import annotations

from collections.abc import Sequence

from lehr.policy import Follow
from lehr.schedules import Constant, Schedule, parse_schedule


def tail(factors: float | Sequence[float], progress: float, shape: Schedule) -> Follow:
    """From these factors at this progress along `shape` to the end, for each group.

    Raises:
        ValueError: if `shape` is not made of this package's schedules, so that a checkpoint could not keep it.
    """
    try:
        parse_schedule(repr(shape))
    except ValueError:
        raise ValueError(f"finish_by: shape must be one schedule made of lehr's own; got {shape!r}") from None
    if abs(shape(0.0) - 1.0) > 1e-9:
        raise ValueError(f"finish_by: shape must start at 1, which is today's rate; {shape!r} starts at {shape(0.0):g}")
    each = [factors] if isinstance(factors, float) else factors
    return Follow(*(_from(factor, progress, shape) for factor in each))


def as_text(follow: Follow | None) -> list[str]:
    """What a checkpoint keeps; empty if nothing is being finished."""
    return [] if follow is None else [repr(schedule) for schedule in follow.schedules]


def from_text(kept: Sequence[str]) -> Follow | None:
    """What `as_text` returned, again."""
    return Follow(*map(parse_schedule, kept)) if kept else None


def _from(factor: float, progress: float, shape: Schedule) -> Schedule:
    down = factor * shape
    return Constant(factor).then(down, at=progress) if 0.0 < progress < 1.0 else down
