"""Warnings that are said once, of the line outside this package that led to them."""

from __future__ import annotations

import sys
import warnings

from lehr.scheduler.budget_warnings import BudgetWarning


class Notices:
    """What has been said already.

    >>> notices = Notices()
    >>> with warnings.catch_warnings(record=True) as said:
    ...     warnings.simplefilter("always")
    ...     notices.say("idle", "nothing has moved")
    ...     notices.say("idle", "nothing has moved")
    >>> [str(one.message) for one in said]
    ['nothing has moved']
    """

    def __init__(self) -> None:
        self._said: set[str] = set()

    def say(self, what: str, message: str) -> None:
        """Warn, unless that was said before.

        Args:
            what: it is about.
            message: to the user.
        """
        if what in self._said:
            return
        self._said.add(what)
        level, frame = 1, sys._getframe()
        while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("lehr."):
            level, frame = level + 1, frame.f_back
        warnings.warn(message, BudgetWarning, stacklevel=level)
