"""`lehr meta-train`: a schedule that learns from training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, cast

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

import lehr
from lehr import lab
from lehr.cli.terminal import draw
from lehr.mlrsnet import InnerAdamW, InnerSGD, MetaStep

INNER: dict[str, InnerSGD | InnerAdamW] = {
    "sgd": InnerSGD(weight_decay=5e-4),
    "momentum": InnerSGD(momentum=0.9, weight_decay=5e-4),
    "adamw": InnerAdamW(weight_decay=0.01),
}


def meta_train(
    task: Annotated[
        str, typer.Option(help="Names from `lehr tasks`, separated by commas, or your own: path/to/file.py:make_task.")
    ] = "digits",
    out: Annotated[str, typer.Option(help="Where to write the weights, a .safetensors file.")] = "learned.safetensors",
    updates: Annotated[int, typer.Option(min=1, help="How long each task is trained, in updates.")] = 2_000,
    every: Annotated[int, typer.Option(min=1, help="Updates from one meta-update to the next.")] = 5,
    unroll: Annotated[int, typer.Option(min=1, help="Over how many virtual updates the meta-loss looks ahead.")] = 1,
    order: Annotated[str, typer.Option(help="first: as the authors' code; second: exact, for --unroll above 1.")] = (
        "first"
    ),
    inner: Annotated[str, typer.Option(help="The optimizer of the tasks: sgd, momentum or adamw.")] = "sgd",
    gamma: Annotated[str, typer.Option(help="The largest rate; the published formula if not given.")] = "",
    stages: Annotated[int, typer.Option(min=1, help="Networks to keep, for equal shares of a run.")] = 1,
    seed: Annotated[int, typer.Option(help="Of everything.")] = 0,
    folder: Annotated[str, typer.Option(help="Keep checkpoints there, and go on from what is there.")] = "",
    data: Annotated[str, typer.Option(help="Folder with the data, instead of LEHR_DATA or the usual places.")] = "",
) -> None:
    """Train MLR-SNet on tasks, and write it to a file that any run can use."""
    if Path(out).suffix != ".safetensors":
        raise ValueError(f"--out: {out} must end in .safetensors")
    if inner not in INNER:
        raise ValueError(f"--inner must be one of {', '.join(INNER)}; got {inner}")
    if order not in ("first", "second"):
        raise ValueError(f"--order must be first or second; got {order}")
    tasks = [_learnable(name.strip(), data or None) for name in task.split(",")]
    console = Console()
    rates: list[float] = []
    losses: list[float] = []
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeRemainingColumn(),
        console=console,
    ) as progress:  # fmt: skip
        bar = progress.add_task("meta-training", total=1.0)

        def report(step: MetaStep) -> None:
            rates.append(step.rate)
            losses.append(step.meta_loss)
            progress.update(
                bar, completed=step.progress, description=f"loss held out {step.meta_loss:.3f}, rate {step.rate:.3g}"
            )

        learned = lehr.meta_train(
            tasks, updates=updates, every=every, unroll=unroll, order=cast("Literal['first', 'second']", order),
            inner=INNER[inner], gamma=_number(gamma), stages=stages, seed=seed, folder=folder or None, report=report,
        )  # fmt: skip
    learned.header["tasks"] = [name.strip() for name in task.split(",")]
    learned.save(out)
    if rates:
        draw(console, f"{task}: learning rate at each meta-update", list(range(1, len(rates) + 1)), rates)
    console.print(f"share of gamma at losses of 2, 1, 0.5, 0.1: {_shares(learned)}", highlight=False)
    print(Path(out).resolve())


def _learnable(name: str, data: str | None) -> lab.Task:
    task = lab.load_task(name, data)
    if not isinstance(task, lab.Task):
        raise ValueError(
            f"--task: meta-training differentiates through updates of its own, so it needs a lehr.lab.Task; {name} is "
            f"a {type(task).__name__}"
        )
    return task


def _shares(learned: lehr.MLRSNet) -> str:
    return ", ".join(f"{learned.rates([loss] * 100)[-1]:.3f}" for loss in (2.0, 1.0, 0.5, 0.1))


def _number(text: str) -> float | None:
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--gamma must be a number such as 0.1; got {text}") from None
