"""Curves in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

Numbers = Sequence[float] | np.ndarray[Any, Any]
Curves = Numbers | Sequence[np.ndarray[Any, Any]]


def draw(console: Console, title: str, x: Curves, y: Curves, *, log_x: bool = False, **axes: Any) -> None:
    """Draw a curve, or several, in braille dots, as wide as the terminal has room."""
    from uniplot import plot_to_string

    width = max(30, min(100, console.width - 16))
    lines = plot_to_string(
        y, x, lines=not log_x, width=width, height=16, x_as_log=log_x, character_set="braille", **axes
    )
    console.print(title, style="bold", highlight=False, soft_wrap=True)
    console.print(Text.from_ansi(lines if isinstance(lines, str) else "\n".join(lines)))
