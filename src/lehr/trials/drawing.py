"""The picture of a range test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lehr.trials.curve import course, smoothed
from lehr.trials.rules import NoSuggestion

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from lehr.trials.result import RangeTestResult

COLOURS = {
    "steepest": "#d1495b", "valley": "#2a9d8f", "slide": "#e9a23b", "minimum": "#7b4fa3", "edge": "#20242b",
}  # fmt: skip


def draw(found: RangeTestResult, axes: Axes | None) -> Axes:
    """Losses over rates, the smoothed course, and where the suggestions lie."""
    if axes is None:
        axes = _new_axes()
    rates, losses = found._finite()
    if not losses:
        raise ValueError("RangeTestResult.plot: there is no finite loss to draw")
    line = course(losses).values
    axes.plot(rates, losses, ".", color="#2456a6", alpha=0.25, markersize=4)
    axes.plot(rates, line, color="#2456a6", linewidth=2)
    # a loss that has blown up would press the rest flat
    axes.set_ylim(*_range(line))
    axes.set_xscale("log" if rates[-1] / rates[0] > 50 else "linear")
    for name, rate in found.suggestions().items():
        if rate is not None:
            axes.axvline(rate, color=COLOURS[name], linewidth=1.2, linestyle="--", label=f"{name} {rate:.2g}")
    values, label = _scores(found)
    if values:
        _shade_bounds(axes, found)
        other = axes.twinx()
        other.plot([rate for rate, _ in values], [value for _, value in values], color="#8c6d46", linewidth=1.2)
        other.set_ylabel(label, color="#8c6d46")
        other.spines[["top"]].set_visible(False)
    axes.set(xlabel="learning rate", ylabel="loss")
    axes.grid(color="#e3e6eb")
    axes.spines[["top"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8, loc="upper left")
    return axes


def _shade_bounds(axes: Axes, found: RangeTestResult) -> None:
    try:
        low, high = found.bounds()
    except NoSuggestion:
        return
    axes.axvspan(low, high, color="#8c6d46", alpha=0.12, linewidth=0, label=f"bounds {low:.2g} to {high:.2g}")


def _new_axes() -> Axes:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("RangeTestResult.plot needs matplotlib: pip install matplotlib") from None
    return Figure(figsize=(7, 3.6), layout="constrained").add_subplot()


def _range(line: list[float]) -> tuple[float, float]:
    low, start = min(line), max(line[: max(1, len(line) // 3)])
    reach = max(start - low, 1e-12)
    return low - 0.15 * reach, min(max(line), start + 0.8 * reach) + 0.1 * reach


def _scores(found: RangeTestResult) -> tuple[list[tuple[float, float]], str]:
    if found.evaluations:
        return found.evaluations, "evaluated"
    if found.metrics is None:
        return [], ""
    rates = found._finite()[0]
    return list(zip(rates, smoothed(found.metrics[: len(rates)]), strict=True)), "metric"
