"""The picture of a range test, from plain numbers: with matplotlib, or as HTML."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lehr._figure import new_figure
from lehr._svg import figure
from lehr.trials.curve import course

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS: Final = {
    "steepest": "#d1495b", "valley": "#2a9d8f", "slide": "#e9a23b", "minimum": "#7b4fa3", "edge": "#20242b",
}  # fmt: skip

WIDE: Final = 50.0
"""Rates that span more than this factor are drawn on a logarithmic axis."""


@dataclass(frozen=True)
class Scores:
    """What is drawn beside the loss.

    Args:
        label: what the values are.
        rates: where they were measured.
        values: as many.
        bounds: the two rates that they suggest, if they do.
    """

    label: str
    rates: list[float]
    values: list[float]
    bounds: tuple[float, float] | None = None


def draw(
    axes: Axes | None,
    rates: list[float],
    losses: list[float],
    suggestions: Mapping[str, float | None],
    scores: Scores | None = None,
) -> Axes:
    """Losses over rates, the smoothed course, and where the suggestions lie."""
    if axes is None:
        axes = new_figure(7, 3.6, called="RangeTestResult.plot").add_subplot()
    line = course(losses).values
    axes.plot(rates, losses, ".", color="#2456a6", alpha=0.25, markersize=4)
    axes.plot(rates, line, color="#2456a6", linewidth=2)
    axes.set_ylim(*_range(line))
    axes.set_xscale("log" if rates[-1] / rates[0] > WIDE else "linear")
    for name, rate in suggestions.items():
        if rate is not None:
            axes.axvline(rate, color=COLOURS[name], linewidth=1.2, linestyle="--", label=f"{name} {rate:.2g}")
    if scores is not None:
        _add_scores(axes, scores)
    axes.set(xlabel="learning rate", ylabel="loss")
    axes.grid(color="#e3e6eb")
    axes.spines[["top"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8, loc="upper left")
    return axes


def as_html(rates: list[float], losses: list[float], caption: str) -> str:
    """The same course in small, for notebooks."""
    wide = rates[-1] / rates[0] > WIDE
    places = [math.log(rate) if wide else rate for rate in rates]
    line = course(losses).values
    across = f"rates from {rates[0]:.3g} to {rates[-1]:.3g}"
    return figure(
        places, line, dots=list(zip(places, losses, strict=True)), limits=_range(line), caption=caption, across=across
    )


def _add_scores(axes: Axes, scores: Scores) -> None:
    if scores.bounds is not None:
        low, high = scores.bounds
        axes.axvspan(low, high, color="#8c6d46", alpha=0.12, linewidth=0, label=f"bounds {low:.2g} to {high:.2g}")
    other = axes.twinx()
    other.plot(scores.rates, scores.values, color="#8c6d46", linewidth=1.2)
    other.set_ylabel(scores.label, color="#8c6d46")
    other.spines[["top"]].set_visible(False)


def _range(line: list[float]) -> tuple[float, float]:
    """Heights to draw, since a loss that has blown up would press the rest flat."""
    low, start = min(line), max(line[: max(1, len(line) // 3)])
    reach = max(start - low, 1e-12)
    return low - 0.15 * reach, min(max(line), start + 0.8 * reach) + 0.1 * reach
