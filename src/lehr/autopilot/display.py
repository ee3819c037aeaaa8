"""How a run shows where it is."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any, Final, Protocol, Self

SELDOM: Final = 0.1
"""Seconds between two looks at the screen."""


class Display(Protocol):
    """Shows how far a run has come."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(self, *_: object) -> None:
        """End."""

    def show(self, progress: float, values: Mapping[str, float]) -> None:
        """Show the share of the budget spent and some values."""


class Silent:
    """No display."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, progress: float, values: Mapping[str, float]) -> None:
        """Nothing."""


class Lines:
    """A line of text at every tenth of the budget, for logs and where rich is not installed."""

    def __init__(self) -> None:
        self._next = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, progress: float, values: Mapping[str, float]) -> None:
        """A line, if a tenth is full."""
        if progress >= self._next:
            self._next = (int(progress * 10.0 + 1e-9) + 1) / 10.0
            print(f"{min(progress, 1.0):4.0%}  {_text(values)}", file=sys.stderr, flush=True)  # noqa: T201 - that is its task


class Bar:
    """A live bar by rich."""

    def __init__(self, rich_progress: Any) -> None:
        self._progress = rich_progress.Progress(
            rich_progress.BarColumn(), rich_progress.TaskProgressColumn(), rich_progress.TimeRemainingColumn(),
            rich_progress.TextColumn("{task.description}"), transient=True, refresh_per_second=5,
        )  # fmt: skip
        self._last = 0.0

    def __enter__(self) -> Self:
        self._progress.start()
        self._task = self._progress.add_task("", total=1.0)
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, progress: float, values: Mapping[str, float]) -> None:
        """The bar, unless it has just been drawn."""
        now = time.monotonic()
        if now - self._last >= SELDOM:
            self._last = now
            self._progress.update(self._task, completed=min(progress, 1.0), description=_text(values))


def display(*, wanted: bool) -> Display:
    """The display for this terminal: a bar where there is one and rich is installed, else lines."""
    if not wanted:
        return Silent()
    try:
        from rich import progress as rich_progress
    except ImportError:
        return Lines()
    return Bar(rich_progress) if sys.stderr.isatty() else Lines()


def _text(values: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in values.items())
