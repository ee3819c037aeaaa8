"""The report's figure of what a tuner saw and did."""

from __future__ import annotations

from typing import Final

import plotly.graph_objects as go
from plotly.subplots import make_subplots

import lehr
from lehr.lab.plots import label
from lehr.lab.results import Results
from lehr.lab.run import Run

LOOKS: Final = {  # colour and symbol of each kind of decision
    "look": ("#6b7280", "circle-open"),
    "climb": ("#2a9d8f", "triangle-up"),
    "stop": ("#e9a23b", "square"),
    "hold": ("#9aa1ad", "circle"),
    "raise": ("#2456a6", "triangle-up"),
    "put back": ("#d1495b", "x"),
}
NEVER: Final = 1e3
"""Where a minimum that is out of sight is drawn."""


def decisions(results: Results) -> go.Figure | None:
    """The learning rates of the runs that a tuner drove, its decisions on them, and what its probes saw."""
    runs = [run for run in results.runs if run.decisions]
    if not runs:
        return None
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.06, row_heights=[0.6, 0.4])
    for run in runs:
        points = [(p, rate) for p, rate in run.rates if rate > 0.0]
        figure.add_scatter(
            x=[p for p, _ in points], y=[rate for _, rate in points], mode="lines", showlegend=False, row=1, col=1,
            line={"color": "#20242b", "width": 1.4, "shape": "hv"}, opacity=0.55, hoverinfo="skip",
        )  # fmt: skip
    figure.add_hline(y=1.0, line={"color": "#c4c9d1", "dash": "dash"}, row=2, col=1)
    for what, (colour, symbol) in LOOKS.items():
        rows = [(run, one) for run in runs for one in run.decisions if one.what == what]
        marker = {"color": colour, "symbol": symbol, "size": 10}
        if rows:
            figure.add_scatter(
                x=[one.progress for _, one in rows], y=[run.lr * one.factor for run, one in rows],
                mode="markers", name=what, marker=marker, row=1, col=1, legendgroup=what,
                text=[_hover(run, one) for run, one in rows], hovertemplate="%{text}<extra></extra>",
            )  # fmt: skip
        seen = [(run, one) for run, one in rows if one.losses]
        if seen:
            figure.add_scatter(
                x=[one.progress for _, one in seen],
                y=[_drawn(one.minimiser) for _, one in seen],
                mode="markers", marker=marker, row=2, col=1, legendgroup=what, showlegend=False,
                text=[_hover(run, one) for run, one in seen], hovertemplate="%{text}<extra></extra>",
            )  # fmt: skip
    figure.update_yaxes(type="log", title="learning rate", row=1, col=1)
    figure.update_yaxes(type="log", title="best step r*", row=2, col=1, range=[-3.2, 3.2])
    figure.update_xaxes(range=[0, 1], tickformat=".0%")
    figure.update_xaxes(title="share of the budget spent", row=2, col=1)
    figure.update_layout(height=560, hovermode="closest", margin={"l": 70, "r": 20, "t": 20, "b": 50})
    figure.update_layout(plot_bgcolor="white", legend={"orientation": "h", "y": 1.08})
    return figure


def _hover(run: Run, one: lehr.policy.Decision) -> str:
    """What stands beside the mouse."""
    lines = [
        f"{label(run.method)}, seed {run.seed}: {one.what}",
        f"rate {run.lr * one.factor:.3g}, then {run.lr * one.goal:.3g}",
    ]
    if one.losses:
        lines.append("loss " + ", ".join(f"{y:.4g} at {x:g}" for x, y in zip(one.steps, one.losses, strict=True)))
        lines.append(f"r* = {_number(one.minimiser)}")
    if one.what in ("stop", "hold", "raise"):
        lines.append(f"recent probes together: r* = {_number(one.pooled)}")
    return "<br>".join(lines)


def _drawn(minimiser: float | None) -> float:
    return min(NEVER, max(1.0 / NEVER, NEVER if minimiser is None else minimiser))


def _number(minimiser: float | None) -> str:
    return "out of sight" if minimiser is None else f"{minimiser:.3g}"
