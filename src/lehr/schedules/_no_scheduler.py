"""What is said where a curve or a rule is used as if it were a scheduler."""

from __future__ import annotations

from typing import Final

ASKED_FOR: Final = ("step", "get_last_lr", "optimizer")
"""What loops and trainers want of a scheduler first."""


def no_scheduler(value: object, name: str) -> AttributeError:
    """The error for an attribute that `value` does not have."""
    kind = type(value).__name__
    plain = f"{kind!r} object has no attribute {name!r}"
    advice = f": it knows no optimizer; write lehr.Scheduler(optimizer, {kind.lower()}, budget) and use that"
    return AttributeError(plain + (advice if name in ASKED_FOR else ""), name=name, obj=value)
