"""`lehr find`: the learning rates that a task can bear."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Literal, cast

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

import lehr
from lehr import lab
from lehr.cli.terminal import draw
from lehr.lab.failures import told
from lehr.lab.files import write, write_text
from lehr.lab.loop import Trainable
from lehr.lab.placement import Precision
from lehr.lab.tasks import load, trained_from, with_network

MEANING = {
    "steepest": "where the loss falls fastest",
    "valley": "half-way down the longest fall: on the safe side",
    "slide": "left of the last change of slope",
    "minimum": "a tenth of where the loss is lowest",
    "edge": "the largest that it bore for a moment; with SGD try a third of it, with Adam less than a tenth",
}


def find(
    task: Annotated[
        str,
        typer.Option(
            help="A name from `lehr tasks`, or your own as path/to/file.py:function, which runs the code of that file. "
            "The function takes a seed and makes a lehr.Training, or takes nothing and makes a task."
        ),
    ] = "digits",
    network: Annotated[str, typer.Option(help="Another network for an image task, from `lehr tasks`.")] = "",
    low: Annotated[float, typer.Option(help="First learning rate.")] = 1e-5,
    high: Annotated[float, typer.Option(help="Last learning rate.")] = 10.0,
    steps: Annotated[int, typer.Option(help="Updates to make.")] = 200,
    mode: Annotated[
        str, typer.Option(help="exp: rates rise by factors; linear: by differences, as Smith does.")
    ] = "exp",
    evaluate_every: Annotated[
        int, typer.Option(min=0, help="Look at the validation set every so many updates, for the bounds; 0: never.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="Of initial weights and batch order.")] = 0,
    out: Annotated[str, typer.Option(help="Write a picture (.png, .svg, .pdf) or the numbers (.json).")] = "",
    data: Annotated[str, typer.Option(help="Folder with the data, instead of LEHR_DATA or the usual places.")] = "",
    device: Annotated[str, typer.Option(help="cpu, or an accelerator such as cuda:1. auto: what is there.")] = "auto",
    precision: Annotated[str, typer.Option(help="fp32, or bf16 or fp16 for mixed precision.")] = "fp32",
    accumulate: Annotated[int, typer.Option(min=1, help="Batches whose gradients make one update.")] = 1,
) -> None:
    """Train a few hundred updates with a rising learning rate, and say which rates make sense."""
    if out and Path(out).suffix not in (".png", ".svg", ".pdf", ".json"):
        raise ValueError(f"--out: {out} must end in .png, .svg, .pdf or .json")
    if mode not in ("exp", "linear"):
        raise ValueError(f"--mode must be exp or linear; got {mode}")
    placement = lab.Placement(device, cast("Precision", precision), accumulate=accumulate)
    task = with_network(task, network)
    chosen = load(task, data or None)
    ramp = cast("Literal['exp', 'linear']", mode)
    if isinstance(chosen, Trainable):
        test = partial(lab.find, chosen, seed=seed, evaluate_every=evaluate_every, placement=placement)
    elif evaluate_every:
        raise ValueError(
            f"--evaluate-every needs a validation set, which {task} has not: name a function that returns a "
            "lehr.lab.TrainingTask, or leave the option out"
        )
    else:
        test = partial(lehr.range_test, trained_from(task, chosen, seed, placement))
    found = told(f"testing the rates of {task}", lambda: test(low=low, high=high, steps=steps, mode=ramp))
    console = Console()
    draw(console, f"{task}: loss against learning rate", found.rates, found.losses, log_x=found.rates[-1] > 50 * low)
    console.print(_table(found))
    console.print(_last_line(found), highlight=False)
    if out:
        _save(found, Path(out))
        print(Path(out).resolve())


def _table(found: lehr.RangeTestResult) -> Table:
    table = Table(box=SIMPLE_HEAD)
    table.add_column("suggestion")
    table.add_column("rate", justify="right")
    table.add_column("is")
    for name, rate in found.suggestions().items():
        table.add_row(name, "-" if rate is None else f"{rate:.3g}", MEANING[name])
    try:
        base, peak = found.bounds()
        table.add_row("bounds", f"{base:.3g} to {peak:.3g}", "base_lr and max_lr for cyclical rates (Smith)")
    except lehr.NoSuggestion:
        table.add_row("bounds", "-", "base_lr and max_lr for cyclical rates (Smith)")
    return table


def _last_line(found: lehr.RangeTestResult) -> str:
    ended = {
        "high": f"The test went on to {found.rates[-1]:.3g}.",
        "diverged": f"The loss diverged at {found.rates[-1]:.3g}.",
        "not finite": f"The loss was not finite at {found.rates[-1]:.3g}.",
    }[found.ending]
    try:
        found.valley()
    except lehr.NoSuggestion as reason:
        return f"{ended} No suggestion: {reason}."
    return ended


def _save(found: lehr.RangeTestResult, path: Path) -> None:
    if path.suffix == ".json":
        write_text(path, found.to_json() + "\n")
        return
    figure = found.plot().get_figure(root=True)
    assert figure is not None
    write(path, lambda part: figure.savefig(part, dpi=160, format=path.suffix[1:]))
