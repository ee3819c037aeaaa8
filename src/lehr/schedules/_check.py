"""What the numbers that users hand to schedules must satisfy, as errors that name the argument.

Each check returns Python's own number, whatever library the given one came from.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from lehr._numbers import LARGEST, SMALLEST, plain, shown

_EXACT: Final = 2**53
"""From here on floats are whole numbers, and whole numbers too large for tensors are written as floats."""


def each(schedule: object, check: Callable[[str, str, Any], float], *names: str, owner: str = "") -> None:
    """Check these arguments of a frozen dataclass, and let it hold the plain numbers."""
    for name in names:
        number = check(owner or type(schedule).__name__, name, getattr(schedule, name))
        object.__setattr__(schedule, name, number)


def number(owner: str, name: str, value: Any) -> float:
    """`value` if it is a finite real number of a size that can be computed with."""
    given = plain(value)
    if given is None or (isinstance(given, float) and not math.isfinite(given)):
        raise ValueError(f"{owner}: {name} must be a finite number; got {shown(value)}")
    if abs(given) > LARGEST:
        raise ValueError(f"{owner}: {name} must be at most {LARGEST:g} in size; got {shown(value)}")
    return float(given) if abs(given) > _EXACT else given


def factor(owner: str, name: str, value: Any) -> float:
    """A factor multiplies a rate, so it is finite and at least 0."""
    given = number(owner, name, value)
    if given < 0.0:
        raise ValueError(f"{owner}: {name} is a factor of the base rate and must be at least 0; got {shown(value)}")
    return given


def unit(owner: str, name: str, value: Any) -> float:
    """A factor of at most 1: the lower end of a cycle that comes up to 1."""
    given = number(owner, name, value)
    if not 0.0 <= given <= 1.0:
        raise ValueError(f"{owner}: {name} is base_lr / max_lr and must lie in [0, 1]; got {shown(value)}")
    return given


def above_zero(owner: str, name: str, value: Any) -> float:
    """A number above 0, however small."""
    given = number(owner, name, value)
    if given <= 0.0:
        raise ValueError(f"{owner}: {name} must be above 0; got {shown(value)}")
    return given


def positive(owner: str, name: str, value: Any) -> float:
    """A count or a ratio that can be divided by."""
    given = above_zero(owner, name, value)
    if given < SMALLEST:
        raise ValueError(f"{owner}: {name} must be at least {SMALLEST:g}; got {shown(value)}")
    return given


def inside(owner: str, name: str, value: Any) -> float:
    """A place strictly inside the run."""
    given = number(owner, name, value)
    if not 0.0 < given < 1.0:
        raise ValueError(f"{owner}: {name} is a share of the budget and must lie between 0 and 1; got {shown(value)}")
    return given


def share(owner: str, name: str, value: Any) -> float:
    """A share of the run that may be all of it."""
    given = number(owner, name, value)
    if not 0.0 < given <= 1.0:
        raise ValueError(f"{owner}: {name} is a share of the budget and must be above 0, at most 1; got {shown(value)}")
    return positive(owner, name, given)
