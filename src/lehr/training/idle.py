"""The end of a loop that spends nothing of its budget."""

from __future__ import annotations

from typing import Final

MOST_IDLE: Final = 200
"""Gradient scaling finds its scale within this many skipped updates; a loop with more in a row has no end."""


def check_idle(steps: int) -> None:
    """Refuse to go on where the optimizers make no update.

    Args:
        steps: of the loop, one after the other, in which no update was counted.

    Raises:
        RuntimeError: if there are so many that there will be none.

    >>> check_idle(3)
    """
    if steps >= MOST_IDLE:
        raise RuntimeError(
            f"{steps} steps in a row made no update of an optimizer, so that nothing of the budget is spent: either "
            "gradient scaling skips them all, since gradients are not finite, or the optimizer's step() is not run, as "
            "where another function has taken its place"
        )
