"""The report's figures, by plotly: interactive, and in one colour per method throughout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import plotly.graph_objects as go

PALETTE: Final = (
    "#2456a6", "#d1495b", "#2a9d8f", "#e9a23b", "#7b4fa3", "#5b8e3e", "#c2559a", "#3aa7c9", "#8c6d46", "#6b7280",
)  # fmt: skip
DASHES: Final = ("solid", "dash", "dot", "dashdot")


def style(methods: Sequence[str]) -> dict[str, tuple[str, str]]:
    """A colour and a dash for each method."""
    return {
        name: (PALETTE[i % len(PALETTE)], DASHES[(i // len(PALETTE)) % len(DASHES)]) for i, name in enumerate(methods)
    }


def final_metric(found: dict[str, Any]) -> go.Figure:
    """Every run as a dot, the mean with its 95 % interval beside it, the best method on top."""
    styles, scale = style(_names(found)), _scale(found)
    figure = go.Figure()
    nowhere: list[str] = []
    for row in reversed(found["methods"]):
        name = row["method"]
        colour, _ = styles[name]
        values = [scale * run["test"] for run in found["runs"] if run["method"] == name and run["test"] is not None]
        if not values:
            nowhere.append(name)
            continue
        figure.add_scatter(
            x=values, y=[name] * len(values), mode="markers", showlegend=False,
            marker={"color": colour, "size": 8, "opacity": 0.4}, hovertemplate="%{x:.4g}<extra>one run</extra>",
        )  # fmt: skip
        test = row["test"]
        reach = (
            None
            if test["sd"] is None
            else {"type": "data", "array": [scale * (test["high"] - test["mean"])], "thickness": 2, "width": 6}
        )
        figure.add_scatter(
            x=[scale * test["mean"]], y=[name], mode="markers", showlegend=False, error_x=reach,
            marker={"color": colour, "size": 12, "symbol": "diamond"}, hovertemplate="%{x:.4g}<extra>mean</extra>",
        )  # fmt: skip
    order = [row["method"] for row in reversed(found["methods"])]
    figure.update_yaxes(
        type="category", showgrid=False, categoryorder="array", categoryarray=order, range=[-0.6, len(order) - 0.4],
        tickvals=order, ticktext=[_short(name) for name in order],
    )  # fmt: skip
    for name in nowhere:
        figure.add_annotation(x=0.5, xref="paper", y=name, text="diverged in every run", showarrow=False)
    figure.update_xaxes(title=f"test {metric_title(found)}")
    return _dress(figure, height=110 + 34 * len(found["methods"]))


def curves(found: dict[str, Any], column: str, title: str, *, log: bool = False) -> go.Figure:
    """A column of the runs' curves against the share of the budget: the mean, with the range of the seeds around it."""
    styles = style(_names(found))
    scale = _scale(found) if column == "validation" else 1.0
    figure = go.Figure()
    for name in _names(found):
        colour, dash = styles[name]
        table = [
            [(row["progress"], scale * row[column]) for row in run["curve"] if row[column] is not None]
            for run in found["runs"]
            if run["method"] == name and run["diverged_at"] is None
        ]
        _mark_diverged(figure, found, name, column, scale)
        if not table:
            continue
        length = min(len(rows) for rows in table)
        if not length:
            continue
        values = np.array([rows[:length] for rows in table])
        x, y = values[:, :, 0].mean(0), values[:, :, 1]
        if len(table) > 1:
            figure.add_scatter(
                x=[*x, *x[::-1]], y=[*y.max(0), *y.min(0)[::-1]], fill="toself", line={"width": 0}, mode="lines",
                fillcolor=_faint(colour), legendgroup=name, showlegend=False, hoverinfo="skip",
            )  # fmt: skip
        figure.add_scatter(
            x=list(x), y=list(y.mean(0)), mode="lines", name=_short(name), legendgroup=name,
            line={"color": colour, "dash": dash, "width": 2.2}, hovertemplate="%{y:.4g}",
        )  # fmt: skip
    figure.update_yaxes(title=title)
    if log:
        ticks = [digit * 10.0**power for power in range(-9, 10) for digit in (1, 2, 5)]
        figure.update_yaxes(type="log", tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks])
    else:
        figure.update_yaxes(range=_later_range(figure))
    return _over_budget(figure)


def rates(found: dict[str, Any]) -> go.Figure:
    """The learning rate that each method really used, in its first seed."""
    styles = style(_names(found))
    figure = go.Figure()
    for name in _names(found):
        colour, dash = styles[name]
        run = next(run for run in found["runs"] if run["method"] == name)
        figure.add_scatter(
            x=[p for p, _ in run["rates"]], y=[rate for _, rate in run["rates"]], mode="lines", name=_short(name),
            line={"color": colour, "dash": dash, "width": 2.2}, hovertemplate="%{y:.4g}",
        )  # fmt: skip
    figure.update_yaxes(title="learning rate", rangemode="tozero")
    return _over_budget(figure)


def search(found: dict[str, Any]) -> go.Figure | None:
    """What each peak rate came to on validation, where a grid was searched."""
    if not found["search_runs"]:
        return None
    styles, scale = style(_names(found)), _scale(found)
    figure = go.Figure()
    searched = {run["method"] for run in found["search_runs"]}
    for name in (name for name in _names(found) if name in searched):
        colour, dash = styles[name]
        values: dict[float, list[float | None]] = {}
        for run in found["search_runs"]:
            if run["method"] == name:
                values.setdefault(run["lr"], []).append(run["validation"])
        rates = sorted(values)
        figure.add_scatter(
            x=rates, y=[_mean_or_none(values[rate], scale) for rate in rates],
            mode="lines+markers", name=_short(name), hovertemplate="%{y:.4g}",
            line={"color": colour, "dash": dash, "width": 2},
        )  # fmt: skip
    grid = found["lr_grid"]
    figure.update_xaxes(title="peak learning rate", type="log", tickvals=grid, ticktext=[f"{rate:g}" for rate in grid])
    figure.update_yaxes(title=f"validation {metric_title(found)}")
    return _dress(figure)


def against_budget(found: dict[str, Any]) -> go.Figure | None:
    """What each method comes to at each share of the budget."""
    return _over_shares(found, "test", f"test {metric_title(found)}", lambda row, mean: mean)


def gap_to_best(found: dict[str, Any]) -> go.Figure | None:
    """How far each method stays behind the best one of its share of the budget."""
    sign = 1.0 if found["metric"]["higher_is_better"] else -1.0

    def behind(row: dict[str, Any], mean: float) -> float:
        return sign * (mean - float(row["methods"][row["best"]]["test"]["mean"]))

    return _over_shares(found, "gap", "behind the best" + (" (points)" if found["metric"]["percent"] else ""), behind)


def _over_shares(
    found: dict[str, Any], what: str, title: str, value: Callable[[dict[str, Any], float], float]
) -> go.Figure | None:
    shares = [row for row in found["budgets"] if row["best"]]
    if not shares:
        return None
    styles, scale = style(_names(found)), _scale(found)
    figure = go.Figure()
    for name in _names(found):
        colour, dash = styles[name]
        rows = [row for row in shares if row["methods"][name]["test"] and not row["methods"][name]["diverged"]]
        tests = [row["methods"][name]["test"] for row in rows]
        spread = {
            "type": "data", "array": [scale * (test["sd"] or 0.0) for test in tests], "thickness": 1, "width": 3,
        }  # fmt: skip
        figure.add_scatter(
            x=[row["share"] for row in rows],
            y=[scale * value(row, test["mean"]) for row, test in zip(rows, tests, strict=True)],
            mode="lines+markers", name=_short(name), line={"color": colour, "dash": dash, "width": 2.2},
            hovertemplate="%{y:.4g}", error_y=spread if what == "test" else None,
        )  # fmt: skip
    ticks = [row["share"] for row in shares]
    figure.update_xaxes(
        title="share of the budget", type="log", tickvals=ticks, ticktext=[f"{100 * tick:g} %" for tick in ticks]
    )
    figure.update_yaxes(title=title)
    return _dress(figure)


def _mean_or_none(values: Sequence[float | None], scale: float) -> float | None:
    known = [value for value in values if value is not None]
    return scale * float(np.mean(known)) if len(known) == len(values) else None


def _mark_diverged(figure: go.Figure, found: dict[str, Any], name: str, column: str, scale: float) -> None:
    """Each diverged run up to where it broke off, ending in a cross."""
    colour, _ = style(_names(found))[name]
    for run in found["runs"]:
        rows = [row for row in run["curve"] if row[column] is not None]
        if run["method"] != name or run["diverged_at"] is None or not rows:
            continue
        figure.add_scatter(
            x=[row["progress"] for row in rows], y=[scale * row[column] for row in rows], mode="lines+markers",
            line={"color": colour, "width": 1, "dash": "dot"}, legendgroup=name, showlegend=False, opacity=0.7,
            marker={"symbol": "x", "size": [0] * (len(rows) - 1) + [10], "color": colour},
            hovertemplate=f"%{{y:.4g}}<extra>{_short(name)}, diverged</extra>",
        )  # fmt: skip


def _short(name: str) -> str:
    return name if len(name) <= 28 else name[:27] + "…"


def _later_range(figure: go.Figure, share: float = 0.25) -> list[float] | None:
    """The range of the means after the first `share` of the budget, where methods differ by less than at the start."""
    later = [
        y for line in figure.data if line.showlegend is None for x, y in zip(line.x, line.y, strict=True) if x >= share
    ]
    if not later:
        return None
    margin = 0.06 * (max(later) - min(later)) or 0.5
    return [min(later) - margin, max(later) + margin]


def _names(found: dict[str, Any]) -> list[str]:
    return [row["method"] for row in found["methods"]]


def _scale(found: dict[str, Any]) -> float:
    return 100.0 if found["metric"]["percent"] else 1.0


def metric_title(found: dict[str, Any]) -> str:
    """The metric's name with its unit."""
    return str(found["metric"]["name"]) + (" (%)" if found["metric"]["percent"] else "")


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.12)"


def _over_budget(figure: go.Figure) -> go.Figure:
    figure.update_xaxes(title="share of the budget spent", tickformat=".0%", range=[0, 1])
    return _dress(figure)


def _dress(figure: go.Figure, height: int = 400) -> go.Figure:
    grid = {
        "gridcolor": "#e8eaee",
        "zeroline": False,
        "linecolor": "#c4c9d1",
        "ticks": "outside",
        "tickcolor": "#c4c9d1",
    }
    figure.update_layout(
        height=height,
        margin={"l": 64, "r": 32, "t": 12, "b": 52},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "Inter, system-ui, -apple-system, Segoe UI, sans-serif", "size": 13, "color": "#2b2f36"},
        hovermode="x unified",
        hoverlabel={"bgcolor": "white"},
        legend={"orientation": "h", "font": {"size": 12}, "y": -0.24, "yanchor": "top", "x": 0},
    )
    figure.update_xaxes(**grid)
    figure.update_yaxes(automargin=True, **grid)
    return figure
