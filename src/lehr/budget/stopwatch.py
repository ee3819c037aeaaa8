"""The stopwatch: seconds that never run backwards, whatever the clock behind them does."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from lehr._numbers import LARGEST, shown


class Stopwatch:
    """Seconds since `start`, without pauses.

    A clock that is set back is followed from where it was set to, and readings that are not a number are passed over,
    so what has passed once stays. A clock that jumps ahead cannot be told from a machine that stood still, and counts.

    Args:
        now: a clock in seconds.

    >>> readings = iter([10.0, 12.0, 5.0, 6.0])
    >>> watch = Stopwatch(lambda: next(readings))
    >>> watch.start(); watch.seconds(), watch.seconds(), watch.seconds()
    (2.0, 2.0, 3.0)
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._running = False
        self._pauses = 0
        self._passed = 0.0
        self._banked = 0.0
        self._since: float | None = None  # no reading yet, since the start or a pause
        self._latest = 0.0

    def start(self) -> None:
        """Let time pass from here on; once it does, nothing changes."""
        if not self._running:
            self._running = True
            self._look()

    def pause(self) -> None:
        """Let no time pass until `go_on` is called as often."""
        self._look()
        self._pauses += 1

    def go_on(self) -> None:
        """End a pause."""
        self._pauses -= 1
        self._banked, self._since = self._passed, None
        self._look()

    def seconds(self) -> float:
        """How much has passed, never less than before.

        Raises:
            ValueError: if the clock reads what is no time.
        """
        self._look()
        return self._passed

    def set(self, seconds: float) -> None:
        """Make what has passed another number of seconds; whether time passes stays as it is."""
        self._passed = self._banked = seconds
        self._since = None
        self._look()

    def _look(self) -> None:
        if not self._running or self._pauses:
            return
        reading = self._reading()
        if math.isnan(reading):
            return
        if self._since is None or reading < self._latest:
            self._banked, self._since = self._passed, reading
        self._latest = reading
        passed = self._banked + (reading - self._since)
        if passed > LARGEST:
            raise ValueError(
                f"now must be a clock in seconds, but between {self._since!r} and {reading!r} lies no time"
            )
        self._passed = passed

    def _reading(self) -> float:
        value: Any = self._now()
        try:
            reading = float(value)
        except (TypeError, ValueError, OverflowError):
            reading = math.inf
        if math.isinf(reading):
            raise ValueError(f"now must give a finite number of seconds; it gave {shown(value)}")
        return reading
