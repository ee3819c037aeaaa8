"""What the numbers that users hand to schedules must satisfy, as errors that name the argument."""

from __future__ import annotations

import math
from typing import Any


def number(owner: object, name: str, value: Any) -> float:
    """`value` if it is a finite real number."""
    if isinstance(value, bool) or not isinstance(value, float | int) or not math.isfinite(value):
        raise ValueError(f"{_of(owner, name)} must be a finite number; got {value!r}")
    return value


def factor(owner: object, name: str, value: Any) -> None:
    """A factor multiplies a rate, so it is finite and at least 0."""
    if number(owner, name, value) < 0.0:
        raise ValueError(f"{_of(owner, name)} is a factor of the base rate and must be at least 0; got {value!r}")


def positive(owner: object, name: str, value: Any) -> None:
    """A count or a ratio that must not be zero."""
    if number(owner, name, value) <= 0.0:
        raise ValueError(f"{_of(owner, name)} must be above 0; got {value!r}")


def inside(owner: object, name: str, value: Any) -> None:
    """A place strictly inside the run."""
    if not 0.0 < number(owner, name, value) < 1.0:
        raise ValueError(f"{_of(owner, name)} is a share of the budget and must lie between 0 and 1; got {value!r}")


def share(owner: object, name: str, value: Any) -> None:
    """A share of the run that may be all of it."""
    if not 0.0 < number(owner, name, value) <= 1.0:
        raise ValueError(f"{_of(owner, name)} is a share of the budget and must be above 0, at most 1; got {value!r}")


def _of(owner: object, name: str) -> str:
    return f"{owner if isinstance(owner, str) else type(owner).__name__}: {name}"
