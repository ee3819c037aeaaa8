"""The way down from wherever a run is, when less is left than was planned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lehr._numbers import shown
from lehr.policy import Follow
from lehr.schedules import Constant, Schedule, parse_schedule

_LONG: Final = 1.2345678901234567e-100
"""A number that is as long as any when written out."""


def tail(factors: float | Sequence[float], progress: float, shape: Schedule) -> Follow:
    """From these factors at this progress along `shape` to the end, for each group.

    Raises:
        TypeError: if `shape` is no schedule.
        ValueError: if a checkpoint could not keep `shape`, because it is not made of this package's schedules or is
            too long or too deep to be read again.
    """
    if not isinstance(shape, Schedule):
        raise TypeError(f"finish_by: shape must be a schedule, such as Linear(); got {shown(shape)}")
    try:
        readable = parse_schedule(repr(_from(_LONG, _LONG, shape)))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"finish_by: shape must be one schedule made of lehr's own, so that a checkpoint can keep it ({error}); "
            f"got {shown(shape)}"
        ) from None
    if readable != _from(_LONG, _LONG, shape):
        raise ValueError(f"finish_by: shape must read again as it is written; got {shown(shape)}")
    if abs(shape(0.0) - 1.0) > 1e-9:
        raise ValueError(f"finish_by: shape must start at 1, which is today's rate; {shape!r} starts at {shape(0.0):g}")
    each = [factors] if isinstance(factors, float) else factors
    return Follow(*(_from(factor, progress, shape) for factor in each))


def as_text(follow: Follow | None) -> list[str]:
    """What a checkpoint keeps; empty if nothing is being finished."""
    return [] if follow is None else [repr(schedule) for schedule in follow.schedules]


def from_text(schedules: Sequence[str]) -> Follow | None:
    """What `as_text` returned, again."""
    return Follow(*map(parse_schedule, schedules)) if schedules else None


def _from(factor: float, progress: float, shape: Schedule) -> Schedule:
    down = factor * shape
    return Constant(factor).then(down, at=progress) if 0.0 < progress < 1.0 else down
