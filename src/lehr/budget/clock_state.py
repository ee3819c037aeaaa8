"""What a checkpoint holds of a clock, checked whole when it is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from lehr._numbers import shown
from lehr.budget.budget import Budget

LONGEST: Final = 2**62
"""No run makes so many updates."""

FARTHEST: Final = 1e12
"""No run spends its budget so many times."""


@dataclass(frozen=True)
class ClockState:
    """How much was spent, of what budget, and where that was changed.

    Args:
        budget: what there was to spend.
        spent: at least 0.
        updates: how many there were, at least 0.
        spent_at_turn: what was spent when the budget was changed, at most `spent`; 0 if it was not.
        progress_at_turn: the progress then.
        elapsed: seconds that had passed; only where seconds are the budget, and else None.

    >>> state = ClockState(Budget(steps=4), spent=1, updates=1)
    >>> ClockState.read(state.as_dict()) == state
    True
    """

    budget: Budget
    spent: float
    updates: int
    spent_at_turn: float = 0
    progress_at_turn: float = 0.0
    elapsed: float | None = None

    @classmethod
    def read(cls, given: Any) -> ClockState:
        """The state that `as_dict` gave.

        Raises:
            ValueError: if `given` is anything else.
        """
        if not isinstance(given, Mapping):
            raise ValueError(f"{_WHERE} must be a dictionary; got a {type(given).__name__}")
        if missing := [name for name in ("budget", *_NUMBERS) if name not in given]:
            raise ValueError(f"{_WHERE} has no {missing[0]}")
        for name in _NUMBERS:
            _check_amount(name, given[name])
        budget, spent, updates = _budget(given["budget"]), given["spent"], given["updates"]
        spent_at_turn, progress_at_turn = given["spent_at_turn"], given["progress_at_turn"]
        elapsed = given.get("elapsed")
        if not isinstance(updates, int) or updates >= LONGEST:
            raise ValueError(f"{_WHERE}: updates must be a whole number below 2**62; got {shown(updates)}")
        if budget.unit == "seconds":
            _check_amount("elapsed", elapsed)
        elif elapsed is not None:
            raise ValueError(f"{_WHERE}: elapsed belongs to a budget in seconds, and this one is in {budget.unit}")
        if budget.counted == "updates" and spent != updates:
            raise ValueError(f"{_WHERE}: spent must be the {updates} updates; got {shown(spent)}")
        if spent_at_turn > spent or (progress_at_turn > 1.0 and not budget.endless):
            raise ValueError(f"{_WHERE}: the budget cannot have been changed later than what is spent")
        progress = progress_at(max(spent, elapsed or 0), budget, spent_at_turn, progress_at_turn)
        if not 0.0 <= progress <= FARTHEST:
            raise ValueError(f"{_WHERE}: spent is {spent!r}, which is {progress:g} times the budget")
        return cls(budget, spent, updates, spent_at_turn, progress_at_turn, elapsed)

    def as_dict(self) -> dict[str, Any]:
        """The state as plain numbers and text, without what does not apply."""
        numbers = {name: value for name in (*_NUMBERS, "elapsed") if (value := getattr(self, name)) is not None}
        return {"budget": {k: value for k, value in asdict(self.budget).items() if value is not None}, **numbers}


def progress_at(spent: float, budget: Budget, spent_at_turn: float, progress_at_turn: float) -> float:
    """The progress that belongs to an amount spent, where the budget was changed on the way.

    Args:
        spent: at least `spent_at_turn`.
        budget: since then.
        spent_at_turn: when it was changed; 0, with a progress of 0, if it was not.
        progress_at_turn: the progress then.
    """
    total = budget.total
    if not (spent_at_turn or progress_at_turn):
        return spent / total
    if budget.endless:
        return progress_at_turn + (spent - spent_at_turn) / total
    if total <= spent_at_turn:  # cut to less than was spent
        return spent / total
    return progress_at_turn + (1.0 - progress_at_turn) * (spent - spent_at_turn) / (total - spent_at_turn)


_WHERE: Final = "the checkpoint's clock"

_NUMBERS: Final = ("spent", "updates", "spent_at_turn", "progress_at_turn")


def _budget(given: Any) -> Budget:
    names = {one.name for one in fields(Budget)}
    if not isinstance(given, Mapping) or not set(given) <= names:
        raise ValueError(f"{_WHERE}: budget must be a dictionary of what Budget takes, such as {{'steps': 100}}")
    for name, value in given.items():
        if name != "endless":
            _check_amount(f"budget {name}", value)
        elif not isinstance(value, bool):
            raise ValueError(f"{_WHERE}: budget endless must be True or False")
    try:
        budget = Budget(**given)
    except ValueError as error:
        raise ValueError(f"{_WHERE}: {error}") from None
    if not math.isfinite(budget.total) or budget.total <= 0.0 or not math.isfinite(budget.total / (budget.each or 1)):
        raise ValueError(f"{_WHERE}: budget holds amounts whose product is no amount")
    return budget


def _check_amount(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= 1e300:
        text = f"{value:.6g}" if isinstance(value, float) else f"a {type(value).__name__}"
        raise ValueError(f"{_WHERE}: {name} must be a finite number, at least 0; got {text}")
