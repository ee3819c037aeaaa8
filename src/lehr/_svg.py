"""Curves as inline SVG, for notebooks: nothing to import, nothing to load."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

WIDTH: Final = 480
HEIGHT: Final = 160
MARGIN: Final = 8


def figure(
    x: Sequence[float],
    y: Sequence[float],
    *,
    caption: str,
    across: str,
    dots: Sequence[tuple[float, float]] = (),
    limits: tuple[float, float] | None = None,
) -> str:
    """A curve with a caption, as HTML.

    Args:
        x: rising.
        y: as many heights.
        caption: text below the curve.
        across: what x is.
        dots: pale points beside the curve.
        limits: heights at the lower and upper edge; what goes beyond is cut off.
    """
    low, high = limits or (min(0.0, *y), max(y))
    scale = _Scale(x[0], x[-1], low, high)
    line = " ".join(map(scale.place, x, y))
    points = "".join(f'<path d="M{scale.place(a, b)}h0"/>' for a, b in dots)
    return (
        f'<figure style="margin:0"><svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" role="img" style="background:#fff" fill="none" stroke="#2456a6" stroke-linecap="round">'
        f'<path d="M{MARGIN} {HEIGHT - MARGIN}H{WIDTH - MARGIN}" stroke="#c4c9d1"/>'
        f'<g stroke-width="4" stroke-opacity="0.25">{points}</g>'
        f'<polyline points="{line}" stroke-width="2"/>'
        f'<text x="{WIDTH - MARGIN}" y="{MARGIN + 8}" text-anchor="end" fill="#5b6472" stroke="none" '
        f'font-size="11" font-family="sans-serif">{escape(f"{low:.3g} to {high:.3g} over {across}")}</text>'
        f"</svg><figcaption><code>{escape(caption)}</code></figcaption></figure>"
    )


class _Scale:
    """Where numbers lie in the picture."""

    def __init__(self, left: float, right: float, low: float, high: float) -> None:
        self._left, self._across = left, right - left or 1.0
        self._low, self._up = low, high - low or 1.0

    def place(self, x: float, y: float) -> str:
        """Coordinates, cut off a little outside the picture."""
        across = MARGIN + (WIDTH - 2 * MARGIN) * (x - self._left) / self._across
        up = min(max((y - self._low) / self._up, -0.1), 1.1)
        return f"{across:.1f},{HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * up:.1f}"
