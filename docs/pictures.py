"""The pictures of the docs, drawn from the schedules themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import lehr

INK, SOFT, ACCENT, OTHER = "#20242b", "#d5d9e0", "#2456a6", "#d1495b"

SHAPES = [
    "Linear()",
    "Cosine()",
    "Polynomial(power=2)",
    "Exponential(end=0.01)",
    "InverseSqrt()",
    "Steps()",
    "Rex()",
    "HyperbolicTangent()",
    "OneMinusSqrt()",
]
CYCLES = [
    "Triangular(cycles=4, low=0.2)",
    "triangular2(cycles=4, low=0.2)",
    "exp_range(cycles=4, low=0.3, end=0.2)",
    "exp_range_amplitude(cycles=4, low=0.3, end=0.2)",
    "WarmRestarts(cycles=3, growth=2)",
    "clr_decay(low=0.2, until=0.4)",
]
RECIPES = ["one_cycle()", "knee()", "warmup_stable_decay()"]
OPERATORS = [
    "Linear().after_warmup(0.2)",
    "Constant().then(Cosine(), at=0.5)",
    "Cosine().until(0.6)",
    "Cosine().repeated(3, scale=0.6)",
    "Rex().sampled(0.1)",
    "Linear().clip(low=0.2, high=0.8)",
    "Triangular(cycles=5) * Linear()",
    "Triangular(cycles=3).between(0.3, 0.8)",
]


def draw_all(folder: Path) -> None:
    """Write every picture into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, expressions in (("shapes", SHAPES), ("cycles", CYCLES), ("recipes", RECIPES), ("operators", OPERATORS)):
        _gallery(expressions).savefig(folder / f"{name}.svg")
    _rebudgeting().savefig(folder / "rebudget.svg")


def _gallery(expressions: list[str], columns: int = 3) -> Figure:
    rows = -(-len(expressions) // columns)
    figure = Figure(figsize=(9.6, 1.9 * rows), layout="constrained")
    progress = np.linspace(0.0, 1.0, 1200, endpoint=False)  # at 1 itself a cycle has begun anew
    for place, expression in enumerate(expressions, start=1):
        axes = figure.add_subplot(rows, columns, place)
        axes.plot(progress, lehr.parse_schedule(expression)(progress), color=ACCENT, linewidth=1.8)
        axes.set(xlim=(0, 1), ylim=(0, 1.05), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
        axes.set_title(expression, fontsize=7.5, family="monospace", color=INK)
        _calm(axes)
    return figure


def _rebudgeting() -> Figure:
    figure = Figure(figsize=(9.6, 2.6), layout="constrained")
    for place, (how, after) in enumerate((("continue", 160), ("jump", 160)), start=1):
        axes = figure.add_subplot(1, 2, place)
        for steps, colour in ((100, SOFT), (after, SOFT)):
            axes.plot(
                range(steps + 1), [lehr.Cosine()(k / steps) for k in range(steps + 1)], color=colour, linewidth=1.2
            )
        axes.plot(*_changed(how, after), color=ACCENT if how == "continue" else OTHER, linewidth=2)
        axes.set_title(
            f'rebudget(Budget(steps={after}), how="{how}") at update 60 of 100', fontsize=7.5, family="monospace"
        )
        axes.set(xlabel="updates", ylabel="factor", ylim=(0, 1.05), xlim=(0, after))
        _calm(axes)
    return figure


def _changed(how: str, after: int) -> tuple[list[int], list[float]]:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler = lehr.Scheduler(optimizer, lehr.Cosine(), lehr.Budget(steps=100), count="calls")
    rates = []
    while not scheduler.finished:
        if scheduler.last_epoch == 60 and scheduler.budget.steps == 100:
            scheduler.rebudget(lehr.Budget(steps=after), how=how)  # type: ignore[arg-type]
        rates.append(scheduler.get_last_lr()[0])
        scheduler.step()
    return list(range(len(rates))), rates


def _calm(axes: Axes) -> None:
    axes.grid(color="#eceef1", linewidth=0.8)
    axes.tick_params(labelsize=7, colors="#5c6470", length=2)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#c4c9d1")
