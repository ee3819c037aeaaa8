"""Figures of matplotlib's that no pyplot manages, and that notebooks show all the same."""

from __future__ import annotations

import sys
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(width: float, height: float, *, called: str) -> Figure:
    """An empty figure, of which pyplot knows nothing.

    Args:
        width: in inches, above 0.
        height: in inches, above 0.
        called: what was called, for the error.

    Raises:
        ImportError: if matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError(f"{called} needs matplotlib: pip install matplotlib") from None
    # Jupyter does not know how to show a figure before pyplot has made one.
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None:
        formatters = shell.display_formatter.formatters
        if not any(Figure in formatter for formatter in formatters.values()):
            formatters["image/png"].for_type(Figure, _as_png)
    return Figure(figsize=(width, height), layout="constrained")


def _as_png(figure: Figure) -> bytes:
    stream = BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()
