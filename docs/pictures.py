"""The pictures of the docs, drawn from the schedules themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from formulas import EXAMPLES
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import lehr

INK, SOFT, ACCENT, OTHER = "#20242b", "#d5d9e0", "#2456a6", "#d1495b"

CURVES = Path(__file__).parent / "trainer_curves.json"
"""Written by `trainer_curves.py`, with the trainers themselves."""

Change = Callable[[lehr.Scheduler], None]

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
    for name, expressions in (
        ("shapes", SHAPES),
        ("cycles", CYCLES),
        ("recipes", RECIPES),
        ("operators", OPERATORS),
    ):
        _gallery(expressions).savefig(folder / f"{name}.svg")
    for name, expression in EXAMPLES.items():
        _curve(expression).savefig(folder / f"{name}.svg")
    for name, draw in {
        "learn": _learn,
        "methods": _methods,
        "reference": _reference,
    }.items():
        figure = Figure(figsize=(4.6, 2.3), layout="constrained")
        draw(figure.add_subplot())
        figure.savefig(folder / f"card-{name}.svg")
    _rebudgeting().savefig(folder / "rebudget.svg")
    _freezing().savefig(folder / "freezing.svg")
    _tuning().savefig(folder / "tuning.svg")
    _learned().savefig(folder / "learned.svg")
    _trainers().savefig(folder / "trainers.svg")


def _gallery(expressions: list[str], columns: int = 3) -> Figure:
    rows = -(-len(expressions) // columns)
    figure = Figure(figsize=(9.6, 1.9 * rows), layout="constrained")
    progress = np.linspace(
        0.0, 1.0, 1200, endpoint=False
    )  # at 1 itself a cycle has begun anew
    for place, expression in enumerate(expressions, start=1):
        axes = figure.add_subplot(rows, columns, place)
        axes.plot(
            progress,
            lehr.parse_schedule(expression)(progress),
            color=ACCENT,
            linewidth=1.8,
        )
        axes.set(xlim=(0, 1), ylim=(0, 1.05), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
        axes.set_title(expression, fontsize=7.5, family="monospace", color=INK)
        _calm(axes)
    return figure


def _curve(expression: str) -> Figure:
    figure = Figure(figsize=(5.2, 1.9), layout="constrained")
    axes = figure.add_subplot()
    progress = np.linspace(0.0, 1.0, 1200, endpoint=False)
    axes.plot(
        progress, lehr.parse_schedule(expression)(progress), color=ACCENT, linewidth=2
    )
    axes.set(xlim=(0, 1), ylim=(0, 1.05), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    axes.set(xlabel="share of the budget p", ylabel="factor f(p)")
    axes.set_title(expression, fontsize=8.5, family="monospace", color=INK)
    _calm(axes)
    return figure


def _learn(axes: Axes) -> None:
    """Three schedules, as values that combine."""
    progress = np.linspace(0.0, 1.0, 600, endpoint=False)
    for expression, colour in {
        "Linear().after_warmup(0.1)": ACCENT,
        "Constant().then(Cosine(), at=0.6)": OTHER,
        "Triangular(cycles=4) * Linear()": "#2a9d8f",
    }.items():
        axes.plot(
            progress,
            lehr.parse_schedule(expression)(progress),
            color=colour,
            linewidth=2,
            label=expression,
        )
    axes.set(
        xlim=(0, 1),
        ylim=(0, 1.5),
        yticks=[0, 0.5, 1],
        xlabel="share of the budget",
        ylabel="factor",
    )
    axes.legend(
        fontsize=6.5,
        frameon=False,
        loc="upper center",
        prop={"family": "monospace", "size": 6.5},
    )
    _calm(axes)


def _methods(axes: Axes) -> None:
    """What the tuner makes of a start that is much too low."""
    rates, _ = _tuned(start=1e-5)
    axes.plot(np.linspace(0.0, 1.0, len(rates)), rates, color=ACCENT, linewidth=2)
    axes.axhline(1e-5, color=OTHER, linewidth=1.2, linestyle="--")
    axes.annotate(
        "where it was told to start",
        (0.98, 1.25e-5),
        color=OTHER,
        fontsize=7,
        ha="right",
    )
    axes.set(
        yscale="log",
        ylim=(5e-6, 1),
        xlim=(0, 1),
        xlabel="share of the budget",
        ylabel="rate of LRTuner()",
    )
    _calm(axes)


def _reference(axes: Axes, layers: int = 6) -> None:
    """Layers that anneal to zero one after the other."""
    model = torch.nn.Sequential(*(torch.nn.Linear(1, 1) for _ in range(layers)))
    plan = lehr.FreezeOut(lehr.layers_of(model), t0=0.5, how="linear", scale_lr=False)
    progress = np.linspace(0.0, 1.0, 400)
    for index, (schedule, end) in enumerate(
        zip(plan.schedules, plan.ends, strict=True)
    ):
        kept = progress <= end
        colour = colormaps["viridis"](0.9 * index / (layers - 1))
        axes.plot(progress[kept], schedule(progress[kept]), color=colour, linewidth=2)
    axes.set(
        xlim=(0, 1),
        ylim=(0, 1.05),
        yticks=[0, 0.5, 1],
        xlabel="share of the budget",
        ylabel="FreezeOut, by layer",
    )
    _calm(axes)


def _rebudgeting() -> Figure:
    figure = Figure(figsize=(9.6, 2.5), layout="constrained")
    longer = lehr.Budget(steps=160)
    ways: list[tuple[str, str, Change]] = [
        (
            'rebudget(Budget(steps=160), how="continue")',
            ACCENT,
            lambda s: s.rebudget(longer, how="continue"),
        ),
        (
            'rebudget(Budget(steps=160), how="jump")',
            OTHER,
            lambda s: s.rebudget(longer, how="jump"),
        ),
        (
            "finish_by(Budget(steps=20))",
            INK,
            lambda s: s.finish_by(lehr.Budget(steps=20)),
        ),
    ]
    for place, (title, colour, change) in enumerate(ways, start=1):
        axes = figure.add_subplot(1, 3, place)
        for steps in (100, 160):
            axes.plot(
                range(steps + 1),
                [lehr.Cosine()(k / steps) for k in range(steps + 1)],
                color=SOFT,
                linewidth=1.2,
            )
        axes.plot(_changed(change), color=colour, linewidth=2)
        axes.axvline(60, color=SOFT, linewidth=1, linestyle=":")
        axes.set_title(title, fontsize=7.5, family="monospace")
        axes.set(xlabel="updates", ylim=(0, 1.05), xlim=(0, 160))
        _calm(axes)
    figure.axes[0].set_ylabel("factor")
    return figure


def _freezing(layers: int = 8) -> Figure:
    figure = Figure(figsize=(9.6, 2.6), layout="constrained")
    model = torch.nn.Sequential(*(torch.nn.Linear(1, 1) for _ in range(layers)))
    plans = [
        lehr.FreezeOut(lehr.layers_of(model), t0=0.8, how="cubic"),
        lehr.FreezeOut(lehr.layers_of(model), t0=0.5, how="linear", scale_lr=False),
    ]
    progress = np.linspace(0.0, 1.0, 400)
    for place, plan in enumerate(plans, start=1):
        axes = figure.add_subplot(1, 2, place)
        for index, (schedule, end) in enumerate(
            zip(plan.schedules, plan.ends, strict=True)
        ):
            kept = progress <= end
            colour = colormaps["viridis"](0.9 * index / (layers - 1))
            axes.plot(
                progress[kept], schedule(progress[kept]), color=colour, linewidth=1.6
            )
        axes.set(xlim=(0, 1), ylim=(0, None), xlabel="share of the budget")
        axes.set_title(repr(plan), fontsize=7.5, family="monospace", color=INK)
        _calm(axes)
    figure.axes[0].set_ylabel("factor of each layer")
    return figure


def _tuning() -> Figure:
    """A run from a start that is much too low, and what its probes saw."""
    figure = Figure(figsize=(9.6, 3.4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    rates, tuner = _tuned(start=1e-5)
    above.plot(np.linspace(0.0, 1.0, len(rates)), rates, color=INK, linewidth=1.4)
    looks = {
        "climb": (ACCENT, "^"),
        "stop": (OTHER, "s"),
        "raise": ("#2a9d8f", "^"),
        "hold": (INK, "."),
    }
    for what, (colour, marker) in looks.items():
        made = [one for one in tuner.history if one.what == what]
        above.plot(
            [one.progress for one in made],
            [1e-5 * one.factor for one in made],
            marker,
            color=colour,
            label=what,
        )
        seen = [
            (one.progress, min(1e3, max(1e-3, one.minimiser)))
            for one in made
            if one.minimiser is not None
        ]
        below.plot([p for p, _ in seen], [r for _, r in seen], marker, color=colour)
    below.axhline(1.0, color=SOFT, linewidth=1)
    above.set(yscale="log", ylabel="learning rate", ylim=(3e-4, None))
    below.set(
        yscale="log",
        ylabel="best step r*",
        xlabel="share of the budget",
        xlim=(0, 1),
        ylim=(5e-4, 2e3),
    )
    above.legend(fontsize=7, frameon=False, ncols=5)
    for axes in (above, below):
        _calm(axes)
    return figure


def _learned(updates: int = 300) -> Figure:
    """What the learned schedules make of made-up losses."""
    figure = Figure(figsize=(9.6, 3.0), layout="constrained")
    progress = np.arange(updates) / updates
    noise = 0.05 * np.random.default_rng(0).standard_normal(updates)
    losses = {
        "falls fast": 0.02 + 2.3 * np.exp(-12 * progress),
        "falls slowly": 1.0 + 1.3 * np.exp(-3 * progress),
        "hardly falls": 2.3 - 0.2 * progress,
        "rises again": 2.3
        - 4.0 * np.minimum(progress, 0.15)
        + 3.0 * np.clip(progress - 0.15, 0.0, 0.3),
    }
    schedule, mlrsnet = lehr.LearnedSchedule.pretrained(), lehr.MLRSNet.pretrained()
    ways = {
        "LearnedSchedule, SGD": schedule.rates,
        "LearnedSchedule, Adam": lambda given: schedule.rates(given, adaptive=True),
        "MLRSNet": mlrsnet.rates,
    }
    for place, (title, rates) in enumerate(ways.items(), start=1):
        axes = figure.add_subplot(1, 3, place)
        for (name, values), colour in zip(
            losses.items(), (ACCENT, INK, "#2a9d8f", OTHER), strict=True
        ):
            given = torch.tensor(values * np.exp(noise), dtype=torch.float32)
            axes.plot(progress, rates(given), color=colour, linewidth=1.6, label=name)
        axes.set(xlim=(0, 1), ylim=(0, None), xlabel="share of the budget")
        axes.set_title(title, fontsize=7.5, family="monospace", color=INK)
        _calm(axes)
    figure.axes[0].set_ylabel("factor")
    figure.axes[0].legend(
        fontsize=7, frameon=False, title="the loss ...", title_fontsize=7
    )
    return figure


def _trainers(columns: int = 4) -> Figure:
    """The rates that the examples for other people's trainers trained with, as recorded."""
    examples = json.loads(CURVES.read_text(encoding="utf-8"))["examples"]
    figure = Figure(
        figsize=(9.6, 1.7 * -(-len(examples) // columns)), layout="constrained"
    )
    for place, example in enumerate(examples, start=1):
        axes = figure.add_subplot(-(-len(examples) // columns), columns, place)
        for index, rates in enumerate(zip(*example["rates"], strict=True)):
            several = len(example["rates"][0]) - 1
            colour = colormaps["viridis"](0.9 * index / several) if several else ACCENT
            axes.step(
                range(len(rates)), rates, where="mid", color=colour, linewidth=1.4
            )
        axes.set(xlim=(0, len(example["rates"])), ylim=(0, None))
        axes.locator_params(nbins=4)
        axes.set_title(example["title"], fontsize=7.5, color=INK)
        _calm(axes)
    for axes in figure.axes[-columns:]:
        axes.set_xlabel("updates", fontsize=7.5)
    for axes in figure.axes[::columns]:
        axes.set_ylabel("learning rate", fontsize=7.5)
    return figure


def _tuned(start: float) -> tuple[list[float], lehr.LRTuner]:
    """A small network on a made-up task, driven by the tuner."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        inputs = torch.randn(2_000, 6)
        targets = torch.sin(inputs[:, :3].sum(1, keepdim=True)) + 0.1 * torch.randn(
            2_000, 1
        )
        model = torch.nn.Sequential(
            torch.nn.Linear(6, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1)
        )
        optimizer = torch.optim.SGD(model.parameters(), lr=start, momentum=0.9)
        data = torch.utils.data.TensorDataset(inputs, targets)
        loader = torch.utils.data.DataLoader(data, batch_size=64, shuffle=True)
        training = lehr.Training(model, optimizer, loader, _squared_error)
        tuner = lehr.LRTuner()
        result = lehr.fit(training, "500steps", tuner, progress=False)
    return [rates[0] for _, _, rates in result.rates], tuner


def _squared_error(
    model: torch.nn.Module, batch: tuple[torch.Tensor, torch.Tensor]
) -> torch.Tensor:
    return torch.nn.functional.mse_loss(model(batch[0]), batch[1])


def _changed(change: Change) -> list[float]:
    """The factors of a run whose plans change at update 60 of 100."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler = lehr.Scheduler(
        optimizer, lehr.Cosine(), lehr.Budget(steps=100), count="calls"
    )
    rates = []
    while not scheduler.finished:
        if len(rates) == 60:
            change(scheduler)
        rates.append(scheduler.get_last_lr()[0])
        scheduler.step()
    return [*rates, scheduler.get_last_lr()[0]]


def _calm(axes: Axes) -> None:
    axes.grid(color="#eceef1", linewidth=0.8)
    axes.tick_params(labelsize=7, colors="#5c6470", length=2)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#c4c9d1")
