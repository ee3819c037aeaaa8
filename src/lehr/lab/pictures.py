"""The small picture of a comparison that a notebook shows: curves as inline SVG, with nothing to import or to load."""

from __future__ import annotations

from html import escape
from typing import Final

from lehr.lab.plots import DASHES, averaged, later_range, style
from lehr.lab.results import Results

WIDTH: Final = 560
HEIGHT: Final = 200
MARGIN: Final = 8

PATTERNS: Final = dict(zip(DASHES, ("none", "6 4", "2 3", "8 3 2 3"), strict=True))
"""The dashes of each kind of line."""


def curves_as_svg(results: Results) -> str:
    """The validation curves, each the mean over the seeds of a method; empty if no run finished.

    The range is that of the last three quarters of the budget, where methods differ by less than at the start.
    """
    curves = {name: averaged(results, name, "validation", results.metric.scale) for name in results.names}
    limits = later_range(curves.values())
    if limits is None:
        return ""
    low, high = limits
    styles = style(results.names)
    across, up = WIDTH - 2 * MARGIN, (HEIGHT - 2 * MARGIN) / ((high - low) or 1.0)
    lines = []
    for name, curve in curves.items():
        colour, dash = styles[name]
        points = " ".join(
            f"{MARGIN + across * x:.1f},{HEIGHT - MARGIN - up * (min(max(y, low), high) - low):.1f}" for x, y in curve
        )
        lines.append(
            f'<polyline points="{points}" stroke="{colour}" stroke-dasharray="{PATTERNS[dash]}">'
            f"<title>{escape(name)}</title></polyline>"
        )
    said = f"validation {results.metric.title}, {low:.4g} to {high:.4g}, over the share of the budget"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img" '
        f'style="background:#fff" fill="none" stroke-width="2"><path d="M{MARGIN} {HEIGHT - MARGIN}H{WIDTH - MARGIN}" '
        f'stroke="#c4c9d1" stroke-width="1"/>{"".join(lines)}<text x="{WIDTH - MARGIN}" y="{HEIGHT - MARGIN - 6}" '
        f'text-anchor="end" fill="#5b6472" stroke="none" font-size="11" font-family="sans-serif">{escape(said)}</text>'
        "</svg>"
    )
