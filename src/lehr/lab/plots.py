"""The report's figures, by plotly: interactive, and in one colour per method throughout."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Final, Literal

import numpy as np
import plotly.graph_objects as go

from lehr.lab.results import BudgetShare, Results
from lehr.lab.run import Run

Column = Literal["train_loss", "validation"]
"""What is drawn of a run's evaluations."""

PALETTE: Final = (
    "#2456a6", "#d1495b", "#2a9d8f", "#e9a23b", "#7b4fa3", "#5b8e3e", "#c2559a", "#3aa7c9", "#8c6d46", "#6b7280",
)  # fmt: skip
DASHES: Final = ("solid", "dash", "dot", "dashdot")


def style(methods: Sequence[str]) -> dict[str, tuple[str, str]]:
    """A colour and a dash for each method."""
    return {
        name: (PALETTE[i % len(PALETTE)], DASHES[(i // len(PALETTE)) % len(DASHES)]) for i, name in enumerate(methods)
    }


def final_metric(results: Results) -> go.Figure:
    """Every run as a dot, the mean with its 95 % interval beside it, the best method on top."""
    styles, scale = style(results.names), results.metric.scale
    figure = go.Figure()
    order = results.names[::-1]
    for place, row in enumerate(reversed(results.methods)):
        colour, _ = styles[row.method]
        values = [scale * run.test for run in results.runs if run.method == row.method and run.test is not None]
        test = row.test
        if test is None or not values:
            figure.add_annotation(x=0.5, xref="paper", y=place, text="diverged in every run", showarrow=False)
            continue
        figure.add_scatter(
            x=values, y=[place] * len(values), mode="markers", showlegend=False,
            marker={"color": colour, "size": 8, "opacity": 0.4}, hovertemplate="%{x:.4g}<extra>one run</extra>",
        )  # fmt: skip
        reach = (
            None
            if test.high is None
            else {"type": "data", "array": [scale * (test.high - test.mean)], "thickness": 2, "width": 6}
        )
        figure.add_scatter(
            x=[scale * test.mean], y=[place], mode="markers", showlegend=False, error_x=reach,
            marker={"color": colour, "size": 12, "symbol": "diamond"}, hovertemplate="%{x:.4g}<extra>mean</extra>",
        )  # fmt: skip
    figure.update_yaxes(
        showgrid=False, range=[-0.6, len(order) - 0.4], tickvals=list(range(len(order))),
        ticktext=[label(name) for name in order],
    )  # fmt: skip
    figure.update_xaxes(title=f"test {plain(results.metric.title)}")
    return _dress(figure, height=110 + 34 * len(order))


def curves(results: Results, column: Column, title: str, *, log: bool = False) -> go.Figure:
    """A column of the runs' curves against the share of the budget: the mean, with the range of the seeds around it."""
    styles = style(results.names)
    scale = results.metric.scale if column == "validation" else 1.0
    figure = go.Figure()
    for name in results.names:
        colour, dash = styles[name]
        mine = [run for run in results.runs if run.method == name]
        table = [_points(run, column, scale) for run in mine if run.diverged_at is None]
        _mark_diverged(figure, [run for run in mine if run.diverged_at is not None], column, scale, colour)
        length = min(map(len, table), default=0)
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
            x=list(x), y=list(y.mean(0)), mode="lines", name=label(name), legendgroup=name,
            line={"color": colour, "dash": dash, "width": 2.2}, hovertemplate="%{y:.4g}",
        )  # fmt: skip
    figure.update_yaxes(title=plain(title))
    if log:
        ticks = [digit * 10.0**power for power in range(-9, 10) for digit in (1, 2, 5)]
        figure.update_yaxes(type="log", tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks])
    else:
        figure.update_yaxes(range=later_range(averaged(results, name, column, scale) for name in results.names))
    return _over_budget(figure)


def against_cost(results: Results, cost: Literal["seconds", "passes"], title: str) -> go.Figure | None:
    """Validation against what it cost: the mean over the seeds of both, evaluation by evaluation."""
    styles, scale = style(results.names), results.metric.scale
    figure = go.Figure()
    for name in results.names:
        colour, dash = styles[name]
        runs = [run for run in results.runs if run.method == name and run.diverged_at is None]
        rows = list(zip(*(run.curve for run in runs), strict=False))
        points = [
            (float(np.mean([getattr(one, cost) for one in row])), _mean_or_none([one.validation for one in row], scale))
            for row in rows
        ]
        figure.add_scatter(
            x=[x for x, y in points if y is not None], y=[y for _, y in points if y is not None], mode="lines",
            name=label(name), line={"color": colour, "dash": dash, "width": 2.2}, hovertemplate="%{y:.4g} at %{x:.4g}",
        )  # fmt: skip
    if not any(len(line.x) for line in figure.data):
        return None
    figure.update_xaxes(title=title, rangemode="tozero")
    figure.update_yaxes(
        title=f"validation {plain(results.metric.title)}",
        range=later_range(averaged(results, name, "validation", scale) for name in results.names),
    )
    _dress(figure)
    return figure.update_layout(hovermode="closest")


def rates(results: Results) -> go.Figure:
    """The learning rate that each method really used, in its first seed; it stays as it is until it is set anew."""
    styles = style(results.names)
    figure = go.Figure()
    for name in results.names:
        colour, dash = styles[name]
        run = next(run for run in results.runs if run.method == name)
        figure.add_scatter(
            x=[p for p, _ in run.rates], y=[rate for _, rate in run.rates], mode="lines", name=label(name),
            line={"color": colour, "dash": dash, "width": 2.2, "shape": "hv"}, hovertemplate="%{y:.4g}",
        )  # fmt: skip
    figure.update_yaxes(title="learning rate", rangemode="tozero")
    return _over_budget(figure)


def search(results: Results) -> go.Figure | None:
    """What each peak rate came to on validation, where a grid was searched."""
    if not results.search_runs:
        return None
    styles, scale = style(results.names), results.metric.scale
    figure = go.Figure()
    searched = {run.method for run in results.search_runs}
    for name in (name for name in results.names if name in searched):
        colour, dash = styles[name]
        values: dict[float, list[float | None]] = {}
        for run in results.search_runs:
            if run.method == name:
                values.setdefault(run.lr, []).append(run.validation)
        tried = sorted(values)
        figure.add_scatter(
            x=tried, y=[_mean_or_none(values[rate], scale) for rate in tried],
            mode="lines+markers", name=label(name), hovertemplate="%{y:.4g}",
            line={"color": colour, "dash": dash, "width": 2}, legendgroup=name,
        )  # fmt: skip
        chosen = results.of(name).lr
        if chosen in values and (height := _mean_or_none(values[chosen], scale)) is not None:
            figure.add_scatter(
                x=[chosen], y=[height], mode="markers", legendgroup=name, showlegend=False,
                marker={"color": colour, "size": 15, "symbol": "circle-open", "line": {"width": 2.5}},
                hovertemplate=f"{chosen:g} was chosen<extra>{label(name)}</extra>",
            )  # fmt: skip
    grid = results.lr_grid
    figure.update_xaxes(title="peak learning rate", type="log", tickvals=grid, ticktext=[f"{rate:g}" for rate in grid])
    figure.update_yaxes(title=f"validation {plain(results.metric.title)}")
    return _dress(figure)


def against_budget(results: Results) -> go.Figure | None:
    """What each method comes to at each share of the budget."""
    return _over_shares(results, f"test {results.metric.title}", lambda row, mean: mean, spread=True)


def gap_to_best(results: Results) -> go.Figure | None:
    """How far each method stays behind the best one of its share of the budget."""

    def behind(row: BudgetShare, mean: float) -> float:
        best = row.of(row.best).test if row.best is not None else None
        assert best is not None
        return results.metric.sign * (mean - best.mean)

    return _over_shares(results, "behind the best" + (" (points)" if results.metric.percent else ""), behind)


def _over_shares(
    results: Results, title: str, value: Callable[[BudgetShare, float], float], *, spread: bool = False
) -> go.Figure | None:
    shares = [row for row in results.budgets if row.best is not None]
    if not shares:
        return None
    styles, scale = style(results.names), results.metric.scale
    figure = go.Figure()
    for name in results.names:
        colour, dash = styles[name]
        entries = [(row, row.of(name)) for row in shares]
        rows = [(row, one.test) for row, one in entries if one.test is not None and not one.diverged]
        bars = {"type": "data", "array": [scale * (test.sd or 0.0) for _, test in rows], "thickness": 1, "width": 3}
        figure.add_scatter(
            x=[row.share for row, _ in rows], y=[scale * value(row, test.mean) for row, test in rows],
            mode="lines+markers", name=label(name), line={"color": colour, "dash": dash, "width": 2.2},
            hovertemplate="%{y:.4g}", error_y=bars if spread else None,
        )  # fmt: skip
    ticks = [row.share for row in shares]
    figure.update_xaxes(
        title="share of the budget", type="log", tickvals=ticks, ticktext=[f"{100 * tick:g} %" for tick in ticks]
    )
    figure.update_yaxes(title=plain(title))
    return _dress(figure)


def plain(text: str) -> str:
    """Text that plotly shows as it is, though it understands some HTML, and templates in curly brackets."""
    return escape(text, quote=False).replace("{", "&#123;")


def label(name: str) -> str:
    """A method's name, short enough for a legend."""
    return plain(name if len(name) <= 28 else name[:27] + "…")


def averaged(results: Results, name: str, column: Column, scale: float) -> list[tuple[float, float]]:
    """A method's curve over the share of the budget, averaged over the runs that finished."""
    runs = [run for run in results.runs if run.method == name and run.diverged_at is None]
    table = [_points(run, column, scale) for run in runs]
    length = min(map(len, table), default=0)
    if not length:
        return []
    means = np.array([rows[:length] for rows in table]).mean(0)
    return [(float(x), float(y)) for x, y in means]


def _points(run: Run, column: Column, scale: float) -> list[tuple[float, float]]:
    values = [(row.progress, getattr(row, column)) for row in run.curve]
    return [(progress, scale * value) for progress, value in values if value is not None]


def _mean_or_none(values: Sequence[float | None], scale: float) -> float | None:
    known = [value for value in values if value is not None]
    return scale * float(np.mean(known)) if len(known) == len(values) else None


def _mark_diverged(figure: go.Figure, runs: Sequence[Run], column: Column, scale: float, colour: str) -> None:
    """Each diverged run up to where it broke off, ending in a cross."""
    for run in runs:
        points = _points(run, column, scale)
        if not points:
            continue
        figure.add_scatter(
            x=[x for x, _ in points], y=[y for _, y in points], mode="lines+markers",
            line={"color": colour, "width": 1, "dash": "dot"}, legendgroup=run.method, showlegend=False, opacity=0.7,
            marker={"symbol": "x", "size": [0] * (len(points) - 1) + [10], "color": colour},
            hovertemplate=f"%{{y:.4g}}<extra>{label(run.method)}, diverged</extra>",
        )  # fmt: skip


def later_range(curves: Iterable[Sequence[tuple[float, float]]], share: float = 0.25) -> tuple[float, float] | None:
    """The range of curves after the first `share` of the budget, where methods differ by less than at the start."""
    later = [y for curve in curves for x, y in curve if x >= share]
    if not later:
        return None
    margin = 0.06 * (max(later) - min(later)) or 0.5
    return min(later) - margin, max(later) + margin


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
