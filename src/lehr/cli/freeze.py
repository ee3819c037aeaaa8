"""`lehr freeze`: what freezing a task's layers one after the other would save."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, cast

import numpy as np
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

import lehr
from lehr import lab
from lehr.cli.terminal import draw
from lehr.lab.failures import told
from lehr.lab.files import write

POINTS = 201
HIGH = 10.0


def freeze(
    task: Annotated[
        str, typer.Option(help="A name from `lehr tasks`, or your own: path/to/file.py:make_task.")
    ] = "cifar10-resnet",
    t0: Annotated[float, typer.Option(help="When the first layer freezes, before the power is taken.")] = 0.8,
    how: Annotated[str, typer.Option(help="linear, squared or cubic: which power is taken.")] = "cubic",
    scaled: Annotated[
        bool, typer.Option("--scaled/--unscaled", help="Start early layers with a rate higher by 1 / t_i.")
    ] = True,
    max_events: Annotated[int, typer.Option(min=0, help="Freeze at so many moments at most; 0: at any number.")] = 0,
    save: Annotated[str, typer.Option(help="Choose t0 so that this share of the time is saved, such as 20%.")] = "",
    budget: Annotated[
        str, typer.Option(help="How long a run of this budget, such as 10ep, becomes in the same time.")
    ] = "",
    out: Annotated[str, typer.Option(help="Write a picture of the rates (.png, .svg, .pdf).")] = "",
    data: Annotated[str, typer.Option(help="Folder with the data, instead of LEHR_DATA or the usual places.")] = "",
) -> None:
    """Show the layers of a task's model, when each would freeze, and what that saves."""
    if out and Path(out).suffix not in (".png", ".svg", ".pdf"):
        raise ValueError(f"--out: {out} must end in .png, .svg or .pdf")
    chosen = lab.load_task(task, data or None)
    workload = told(f"loading the data of {task}", chosen.workload)

    def predict() -> lehr.freezing.Savings:
        loop = workload.loop(0)
        layers = lehr.layers_of(loop.model, loop.example())
        strategy = cast("Literal['linear', 'squared', 'cubic']", how)
        plan = lehr.FreezeOut(layers, t0=t0, how=strategy, scale_lr=scaled, max_events=max_events or None)
        return lehr.freeze_savings(loop.model, loop.example(), plan)

    savings = told(f"looking at the layers of {task}", predict)
    if save:
        savings = replace(savings, plan=savings.plan_for(_share(save)))
    console = Console()
    progress = np.linspace(0.0, 1.0, POINTS)
    curves = [schedule(progress) for schedule in savings.plan.schedules]
    draw(console, f"{savings.plan!r}: rate of each layer", [progress] * len(curves), curves, y_min=0.0)
    console.print(_table(savings))
    console.print(_last_lines(savings, workload.budget_of(budget) if budget else None), highlight=False)
    if out:
        _save(savings, Path(out), progress, curves)
        print(Path(out).resolve())


def _share(text: str) -> float:
    try:
        return float(text.removesuffix("%")) / (100.0 if text.endswith("%") else 1.0)
    except ValueError:
        raise ValueError(f"--save: {text} is no share; write 20% or 0.2") from None


def _table(savings: lehr.freezing.Savings) -> Table:
    table = Table("", "layer", box=SIMPLE_HEAD)
    for heading in ("freezes at", "rate at start", "parameters", "cost", "saves"):
        table.add_column(heading, justify="right")
    for row in savings.rows():
        table.add_row(
            str(row.index), row.name, "never" if row.freezes_at is None else f"{row.freezes_at:.1%}",
            f"{row.factor:.3g}x", f"{row.size:,}", f"{row.cost:.1%}", f"{row.saves:.1%}",
        )  # fmt: skip
    return table


def _last_lines(savings: lehr.freezing.Savings, budget: lehr.Budget | None) -> str:
    said = (
        f"Predicted to save {savings.time:.1%} of the time (at most {savings.most:.1%}, all but the last frozen), "
        f"and at the end {savings.memory:.0%} of the memory for gradients and what they need."
    )
    highest = max(row.factor for row in savings.rows())
    if highest > HIGH:
        said += f"\nThe first layer starts at {highest:.3g} times the base rate, which may be too much: see --unscaled."
    return said if budget is None else f"{said}\nIn the time of {budget}: {savings.const_time(budget)}."


def _save(savings: lehr.freezing.Savings, path: Path, progress: np.ndarray, curves: list[np.ndarray]) -> None:
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.add_subplot()
    colors = colormaps["viridis"](np.linspace(0.0, 0.9, len(curves)))
    for layer, curve, color in zip(savings.layers, curves, colors, strict=True):
        axes.plot(progress, curve, color=color, linewidth=1.6, label=layer.name)
    axes.set(xlabel="share of the budget spent", ylabel="factor", xlim=(0, 1))
    axes.set_ylim(bottom=0)
    axes.set_title(f"{savings.plan!r}, saves {savings.time:.1%}", fontsize=9, family="monospace", wrap=True)
    axes.grid(color="#e3e6eb")
    axes.spines[["top", "right"]].set_visible(False)
    if len(curves) <= 12:
        axes.legend(fontsize=7, frameon=False)
    write(path, lambda part: figure.savefig(part, dpi=160, format=path.suffix[1:]))
