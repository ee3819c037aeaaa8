"""`lehr show`: a schedule as a picture."""

from __future__ import annotations

from pathlib import Path
from textwrap import shorten
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

import lehr
from lehr import lab
from lehr.cli.terminal import draw
from lehr.lab.files import write

POINTS = 1001

LOWEST, HIGHEST = 1e-30, 1e30
"""The rates that are drawn. Factors are no larger either, so products are finite; what is smaller is drawn as 0."""


def show(
    schedule: Annotated[
        str, typer.Argument(help='Such as "Linear().after_warmup(0.05) * Triangular(cycles=4)", or a method.')
    ],
    out: Annotated[str, typer.Option(help="Write a .png, .svg or .pdf instead of drawing in the terminal.")] = "",
    lr: Annotated[float, typer.Option(help="Peak learning rate to multiply by.")] = 1.0,
) -> None:
    """Draw a schedule over the share of the budget."""
    if not LOWEST <= lr <= HIGHEST:
        raise ValueError(f"--lr: a learning rate must be above 0, from {LOWEST:g} to {HIGHEST:g}; got {lr}")
    curve = _curve(schedule)
    progress = np.linspace(0.0, 1.0, POINTS)
    rates = lr * curve(progress)
    if out:
        _save(Path(out), shorten(repr(curve), 300, placeholder=" ..."), progress, rates, lr)
        print(Path(out).resolve())
    else:
        _draw(repr(curve), progress, rates)


def _curve(text: str) -> lehr.Schedule:
    if text in lab.METHODS:
        code = lab.METHODS[text].code
        if code.startswith("FreezeOut("):
            raise ValueError(f"{text} has a curve for each layer of a model; lehr freeze draws them")
        return lehr.parse_schedule(code)
    return lehr.parse_schedule(text)


def _draw(title: str, progress: np.ndarray, rates: np.ndarray) -> None:
    console = Console()
    visible = np.where(rates < LOWEST, 0.0, rates)  # of smaller ones the axis cannot be divided
    draw(console, title, progress, visible, x_min=0.0, x_max=1.0, y_min=0.0)
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        console.print(f"  at {share:>4.0%}: {np.interp(share, progress, rates):.6g}", highlight=False)


def _save(path: Path, title: str, progress: np.ndarray, rates: np.ndarray, lr: float) -> None:
    from matplotlib.figure import Figure

    if path.suffix not in (".png", ".svg", ".pdf"):
        raise ValueError(f"--out: {path} must end in .png, .svg or .pdf")
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(progress, rates, color="#2456a6", linewidth=2)
    axes.set(xlabel="share of the budget spent", ylabel="factor" if lr == 1.0 else "learning rate", xlim=(0, 1))
    axes.set_ylim(bottom=0)
    axes.set_title(title, fontsize=9, family="monospace", wrap=True)
    axes.grid(color="#e3e6eb")
    axes.spines[["top", "right"]].set_visible(False)
    write(path, lambda part: figure.savefig(part, dpi=160, format=path.suffix[1:]))
