"""`lehr meta-train`: a schedule that learns from training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, cast

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

import lehr
from lehr import lab
from lehr.cli.terminal import draw
from lehr.lab.zoo import MemberWorld, find_family
from lehr.mlrsnet import InnerAdamW, InnerSGD, MetaStep

INNER: dict[str, InnerSGD | InnerAdamW] = {
    "sgd": InnerSGD(weight_decay=5e-4),
    "momentum": InnerSGD(momentum=0.9, weight_decay=5e-4),
    "adamw": InnerAdamW(weight_decay=0.01),
}


LENGTHS = {"mlrsnet": 2_000, "learned": 400}
"""Updates of the longest run, by policy, unless told otherwise."""

OF_ONE = {
    "mlrsnet": ("every", "unroll", "order", "inner", "gamma", "stages"),
    "learned": ("generations", "pairs", "first"),
}
"""Options that only one of the policies has."""


def meta_train(
    context: typer.Context,
    task: Annotated[
        str, typer.Option(help="Names from `lehr tasks`, separated by commas, or your own: path/to/file.py:make_task.")
    ] = "digits",
    policy: Annotated[str, typer.Option(help="What to train: mlrsnet, by gradients; learned, by evolution.")] = (
        "mlrsnet"
    ),
    out: Annotated[str, typer.Option(help="Where to write the weights, a .safetensors file.")] = "learned.safetensors",
    updates: Annotated[
        int,
        typer.Option(min=0, help="How long each task is trained; 2000, with learned at most 400, if not given."),
    ] = 0,
    every: Annotated[int, typer.Option(min=1, help="Updates from one meta-update to the next.")] = 5,
    unroll: Annotated[int, typer.Option(min=1, help="Over how many virtual updates the meta-loss looks ahead.")] = 1,
    order: Annotated[str, typer.Option(help="first: as the authors' code; second: exact, for --unroll above 1.")] = (
        "first"
    ),
    inner: Annotated[str, typer.Option(help="The optimizer of the tasks: sgd, momentum or adamw.")] = "sgd",
    gamma: Annotated[str, typer.Option(help="The largest rate; the published formula if not given.")] = "",
    stages: Annotated[int, typer.Option(min=1, help="Networks to keep, for equal shares of a run.")] = 1,
    generations: Annotated[int, typer.Option(min=1, help="How often learned moves.")] = 480,
    pairs: Annotated[int, typer.Option(min=1, help="Pairs of runs for each move.")] = 16,
    first: Annotated[
        str, typer.Option(help="Where learned starts: pretrained, a .safetensors file, or from nothing.")
    ] = "",
    seed: Annotated[int, typer.Option(help="Of everything.")] = 0,
    folder: Annotated[str, typer.Option(help="Keep checkpoints there, and go on from what is there.")] = "",
    data: Annotated[str, typer.Option(help="Folder with the data, instead of LEHR_DATA or the usual places.")] = "",
) -> None:
    """Train a schedule on tasks, and write it to a file that any run can use: MLR-SNet, or lehr's learned schedule."""
    if Path(out).suffix != ".safetensors":
        raise ValueError(f"--out: {out} must end in .safetensors")
    if policy not in LENGTHS:
        raise ValueError(f"--policy must be mlrsnet or learned; got {policy}")
    for other, options in OF_ONE.items():
        for option in options if other != policy else ():
            source = context.get_parameter_source(option)
            if source is not None and source.name != "DEFAULT":
                raise ValueError(f"--{option} is for --policy {other}; leave it out with --policy {policy}")
    names = [name.strip() for name in task.split(",")]
    length = updates or LENGTHS[policy]
    if policy == "learned":
        _evolve(names, length, generations, pairs, first, seed, folder, data, out)
        return
    if inner not in INNER:
        raise ValueError(f"--inner must be one of {', '.join(INNER)}; got {inner}")
    if order not in ("first", "second"):
        raise ValueError(f"--order must be first or second; got {order}")
    console = Console()
    tasks = [_learnable(name, data or None) for name in names]
    rates: list[float] = []
    with _bar(console) as (progress, bar):

        def report(step: MetaStep) -> None:
            rates.append(step.rate)
            progress.update(
                bar, completed=step.progress, description=f"loss held out {step.meta_loss:.3f}, rate {step.rate:.3g}"
            )

        learned = lehr.meta_train(
            tasks, updates=length, every=every, unroll=unroll, order=cast("Literal['first', 'second']", order),
            inner=INNER[inner], gamma=_number(gamma), stages=stages, seed=seed, folder=folder or None, report=report,
        )  # fmt: skip
    learned.header["tasks"] = names
    learned.save(out)
    if rates:
        draw(console, f"{task}: learning rate at each meta-update", list(range(1, len(rates) + 1)), rates)
    console.print(f"share of gamma at losses of 2, 1, 0.5, 0.1: {_shares(learned)}", highlight=False)
    print(Path(out).resolve())


def _evolve(
    names: list[str], length: int, generations: int, pairs: int, first: str, seed: int, folder: str, data: str, out: str
) -> None:
    """Train lehr's learned schedule by evolution."""
    worlds, start = [_world(name, data or None) for name in names], _start(first)
    lengths = sorted({max(1, length // 4), max(1, length // 2), length})
    console = Console()
    with _bar(console) as (progress, bar):

        def report(generation: lehr.learned.Generation) -> None:
            progress.update(
                bar, completed=generation.number / generation.of,
                description=f"{generation.world}, {generation.updates} updates: {generation.median:.4g}",
            )  # fmt: skip

        schedule = lehr.learned.evolve(
            worlds, generations=generations, pairs=pairs, updates=lengths, first=start, seed=seed,
            folder=folder or None, report=report,
        )  # fmt: skip
    schedule.save(out)
    factors = [round(float(factor), 4) for factor in schedule.rates([1.0] * 100)]
    draw(console, "factor of the edge while the loss stands still", list(range(100)), factors)
    print(Path(out).resolve())


@contextmanager
def _bar(console: Console) -> Iterator[tuple[Progress, TaskID]]:
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeRemainingColumn(),
        console=console,
    ) as progress:  # fmt: skip
        yield progress, progress.add_task("meta-training", total=1.0)


def _world(name: str, data: str | None) -> lehr.learned.World:
    task = lab.load_task(name, data)
    found = find_family(name)
    return lab.world(task, name) if found is None else MemberWorld(name, found[0].member(found[1]))


def _start(first: str) -> lehr.LearnedSchedule | None:
    if not first:
        return None
    return lehr.LearnedSchedule.pretrained() if first == "pretrained" else lehr.LearnedSchedule.load(first)


def _learnable(name: str, data: str | None) -> lab.Task:
    task = lab.load_task(name, data)
    if not isinstance(task, lab.Task):
        raise ValueError(
            f"--task: meta-training differentiates through updates of its own, so it needs a lehr.lab.Task; {name} is "
            f"a {type(task).__name__}, which --policy learned takes"
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
