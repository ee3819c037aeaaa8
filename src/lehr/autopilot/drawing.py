"""The picture of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lehr._figure import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, RED, GREY = "#2456a6", "#d1495b", "#6b7280"


def draw_run(
    losses: Sequence[tuple[int, float]],
    evaluations: Mapping[str, Sequence[tuple[int, float]]],
    rates: Sequence[tuple[int, tuple[float, ...]]],
    decisions: Sequence[tuple[float, str]],
) -> Figure:
    """Losses above, rates below.

    Args:
        losses: pairs of an update and its loss.
        evaluations: by name, pairs of an update and a value.
        rates: pairs of an update and the rate of each parameter group.
        decisions: pairs of a share of the run and a word.
    """
    figure = new_figure(7, 4.8, called="FitResult.plot")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    above.plot([at for at, _ in losses], [loss for _, loss in losses], ".", color=BLUE, alpha=0.25, markersize=3)
    smooth = _smoothed([loss for _, loss in losses])
    above.plot([at for at, _ in losses], smooth, color=BLUE, linewidth=2, label="loss")
    for name, points in evaluations.items():
        other = above if "loss" in name else above.twinx()
        other.plot([at for at, _ in points], [value for _, value in points], "o-", color=RED, label=name)
        other.set_ylabel(name, color=RED)
    above.set_ylabel("training loss", color=BLUE)
    groups = max((len(row) for _, row in rates), default=0)
    for group in range(groups):
        rows = [(at, row[group]) for at, row in rates if group < len(row)]
        below.plot([at for at, _ in rows], [rate for _, rate in rows], color=GREY, linewidth=1.6, alpha=0.8)
    last = max((at for at, _ in rates), default=0)
    for share, what in decisions:
        below.axvline(share * last, color=RED, linewidth=0.8, alpha=0.5)
        below.annotate(what, (share * last, 1.0), xycoords=("data", "axes fraction"), fontsize=7, rotation=90, va="top")
    below.set(xlabel="update", ylabel="learning rate")
    for axes in (above, below):
        axes.grid(color="#e3e6eb")
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _smoothed(values: Sequence[float]) -> list[float]:
    """A running mean over a fiftieth of the points."""
    weight = min(1.0, 50.0 / max(1, len(values)))
    smooth: list[float] = []
    for index, value in enumerate(values):
        share = max(weight, 1.0 / (index + 1))
        before = smooth[-1] if smooth else value
        smooth.append(before + share * (value - before) if math.isfinite(before) else value)
    return smooth
