"""`lehr compare`: which schedule gets the most out of the budget."""

from __future__ import annotations

import re
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, cast

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lehr import lab
from lehr._numbers import shown
from lehr.cli.config import from_file
from lehr.cli.tables import plain, print_claims, print_overview, print_results
from lehr.lab.comparison import Job
from lehr.lab.placement import Precision, devices
from lehr.lab.report import duration
from lehr.lab.statistics import smallest_gap
from lehr.lab.tasks import file_of, with_network
from lehr.lab.workers import cores

DEFAULT_METHODS = "linear,cosine,step,one_cycle,rex,constant"


def compare(
    task: Annotated[
        str,
        typer.Option(
            help="A name from `lehr tasks`, or your own as path/to/file.py:function, which runs the code of that file; "
            "a folder stands for the function make_task of each file in it."
        ),
    ] = "digits",
    network: Annotated[
        str, typer.Option(help="Another network for an image task, from `lehr tasks`, such as resnet18 or wrn-16-4.")
    ] = "",
    methods: Annotated[
        str,
        typer.Option(
            help="Comma-separated names from `lehr methods`, or schedules such as Linear().after_warmup(0.1)."
        ),
    ] = DEFAULT_METHODS,
    budget: Annotated[
        str, typer.Option(help="What each run may spend: 500steps, 10ep, 1e6samples, 1e9tok, 90s, 30min.")
    ] = "",
    budgets: Annotated[
        str,
        typer.Option(
            help="Shares of the budget at which to run every method as well: 1%,10%,50%. 1%x5 gives that one 5 seeds."
        ),
    ] = "",
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each method.")] = 3,
    out: Annotated[str, typer.Option(help="Folder for the runs and the report; continued if it exists.")] = "",
    lr: Annotated[str, typer.Option(help="Peak rate for all methods, instead of the task's own.")] = "",
    lr_grid: Annotated[
        str,
        typer.Option(
            help="Comma-separated peak rates; each method gets the one best on validation, and pays for the search."
        ),
    ] = "",
    search_seeds: Annotated[int, typer.Option(min=1, help="Runs of each rate of --lr-grid; they are averaged.")] = 1,
    data: Annotated[str, typer.Option(help="Folder with the data, instead of LEHR_DATA or the usual places.")] = "",
    evaluations: Annotated[int, typer.Option(min=1, help="How often a run is validated.")] = 20,
    device: Annotated[
        str,
        typer.Option(
            "--device",
            "--devices",
            help="cpu, or an accelerator such as cuda:1; cuda:0,cuda:1 share the runs. auto: what is there.",
        ),
    ] = "auto",
    precision: Annotated[
        str, typer.Option(help="fp32, or bf16 or fp16 for mixed precision, the latter with a gradient scaler.")
    ] = "fp32",
    compile: Annotated[bool, typer.Option("--compile", help="Compile the networks.")] = False,  # noqa: A002
    accumulate: Annotated[int, typer.Option(min=1, help="Batches whose gradients make one update.")] = 1,
    claim: Annotated[
        list[str] | None,
        typer.Option(
            help='What you want to show, such as "knee > linear"; written down before the runs, with how many seeds '
            "it would need after them. May be repeated."
        ),
    ] = None,
    processes: Annotated[
        int, typer.Option(min=0, help="Runs at a time; 0: one for each core, or as --processes-per-device says.")
    ] = 0,
    processes_per_device: Annotated[
        int, typer.Option(min=1, help="Runs at a time on each accelerator, unless --processes says how many.")
    ] = 1,
    processes_per_run: Annotated[
        int, typer.Option(min=1, help="Processes that train a run together, as torchrun starts them.")
    ] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Threads a process.")] = 1,
    on: Annotated[
        str, typer.Option(help="Where to make runs: processes of this machine, or ray (pip install 'lehr[ray]').")
    ] = "processes",
    address: Annotated[
        str, typer.Option(help="Of a Ray cluster; else RAY_ADDRESS, and else Ray is started on this machine.")
    ] = "",
    gpus: Annotated[float, typer.Option(min=0.0, help="GPUs a run gets on Ray; 0.25 lets four share one.")] = 0.0,
    config: Annotated[
        str,
        typer.Option(
            help="A YAML file of these options, such as 'budget: 10ep'; the command line goes before it.",
            callback=from_file,
            is_eager=True,
        ),
    ] = "",
) -> None:
    """Train every method with every seed under the same budget, and say which won and how sure that is.

    Writes report.html, results.json and one file a run. Interrupted, the same command goes on where it stopped.
    """
    rates = _rates("--lr-grid", lr_grid)
    single = _rates("--lr", lr)
    if rates and single:
        raise ValueError("--lr and --lr-grid exclude each other")
    if search_seeds > 1 and not rates:
        raise ValueError("--search-seeds is for a search: give --lr-grid as well")
    if len(single) > 1:
        raise ValueError("--lr takes one rate; for several give --lr-grid")
    places = devices(device)
    placement = lab.Placement(places[0], cast("Precision", precision), compile, accumulate, processes_per_run)
    cluster = _cluster(on, address, gpus, processes_per_device)
    on_cpu = placement.at.type == "cpu"
    room = cores() if cluster is not None or on_cpu else len(places) * processes_per_device
    workers = processes or max(1, room // processes_per_run)
    whole = task not in lab.TASKS and Path(task).is_dir()
    names = lab.tasks_in(task) if whole else [with_network(task, network)]
    if whole and network:
        raise ValueError("--network is for one image task; leave it out for a folder of your own")
    competitors = lab.load_methods(methods)
    claims = tuple(lab.Claim.parse(text) for text in claim or ())
    console = Console()
    weak = cluster is None and on_cpu and "AVX512" not in torch.backends.cpu.get_cpu_capability()
    if weak and placement.half is not None:
        console.print(
            f"This processor has no instructions for it, so --precision {precision} will be slower than fp32."
        )
    for ending in ("SIGTERM", "SIGHUP"):  # as a cluster ends a job: like Ctrl-C
        if hasattr(signal, ending):
            signal.signal(getattr(signal, ending), signal.default_int_handler)
    comparisons = {
        _folder(name, out, whole): lab.Comparison(
            task=name,
            methods=competitors,
            settings=lab.Settings(budget, evaluations, placement),
            seeds=seeds,
            lr_grid=rates,
            lr=single[0] if single else None,
            data=data or None,
            shares=_shares(budgets, seeds),
            search_seeds=search_seeds,
            claims=claims,
        )
        for name in names
    }
    if claims:
        console.print(_power(seeds), highlight=False)
    found: dict[str, lab.Results] = {}
    for folder, comparison in comparisons.items():
        try:
            results = _run(comparison, folder, console, workers, threads, places, cluster)
            written = lab.write_report(folder).resolve()
            print_results(console, results)
            print_claims(console, results, folder)
            console.print(f"Report: {plain(str(written))}", highlight=False, soft_wrap=True)
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one changes nothing
            print("lehr: stopped; what is finished is kept, and the same command goes on from there", file=sys.stderr)
            raise typer.Exit(130) from None
        found[folder.name] = results
    if whole:
        print_overview(console, found)


def _folder(name: str, out: str, whole: bool) -> Path:
    """Where the runs of a task go; those of a folder of tasks each into a folder of their own."""
    file = file_of(name)
    called = file.stem if file else name.replace("/", "-")
    return Path(out or "lehr") / called if whole else Path(out or f"lehr-{called}")


def _run(
    comparison: lab.Comparison,
    out: Path,
    console: Console,
    processes: int,
    threads: int,
    places: Sequence[str],
    cluster: lab.RayCluster | None,
) -> lab.Results:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("runs"),
        TimeRemainingColumn(),
    )
    began = time.monotonic()
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task(plain(f"{comparison.title} {comparison.settings.budget}"), total=None)
        lines: dict[str, Any] = {}

        def watch(under_way: list[tuple[Job, float]], done: int, total: int) -> None:
            progress.update(bar, completed=done + sum(part for _, part in under_way), total=total)
            for file in set(lines) - {job.file for job, _ in under_way}:
                progress.remove_task(lines.pop(file))
            for job, part in under_way:
                if job.file not in lines:
                    lines[job.file] = progress.add_task(plain(f"  {job.method.name}, {_doing(job)}"), total=1.0)
                progress.update(lines[job.file], completed=part)

        results = lab.run_comparison(
            comparison, out, command=_command(), processes=processes, threads=threads, places=places, on=cluster,
            watch=watch,
        )  # fmt: skip
    console.print(
        f"{results.total.runs} runs in {plain(str(out))}, {duration(time.monotonic() - began)}", highlight=False
    )
    return results


def _cluster(on: str, address: str, gpus: float, processes_per_device: int) -> lab.RayCluster | None:
    if on not in ("processes", "ray"):
        raise ValueError(f"--on takes processes or ray; got {shown(on)}")
    if on == "processes" and (address or gpus):
        raise ValueError("--address and --gpus are for Ray: give --on ray as well")
    if on == "ray" and processes_per_device > 1:
        raise ValueError("--processes-per-device is for processes; on Ray, --gpus 0.5 lets two runs share a GPU")
    return lab.RayCluster(address or None, gpus) if on == "ray" else None


def _power(seeds: int) -> str:
    """What can be known of a claim before its runs."""
    if seeds < 2:
        return "One seed shows no claim, since it has no spread: give --seeds 5, say."
    more = 2 * seeds
    return (
        f"{seeds:,} seeds show a difference of {smallest_gap(1.0, seeds):.1f} times its standard deviation in four "
        f"cases of five; {more:,} seeds one of {smallest_gap(1.0, more):.1f} times."
    )


def _doing(job: Job) -> str:
    if job.searches:
        return f"trying {job.lr:g}"
    return f"seed {job.seed}" if job.share == 1.0 else f"seed {job.seed}, {100 * job.share:g} % of the budget"


def _command() -> str:
    """The command as a person would give it again."""
    return shlex.join(["lehr", *sys.argv[1:]])


def _rates(option: str, text: str) -> tuple[float, ...]:
    rates = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            rate = float(part)
        except ValueError:
            raise ValueError(f"{option}: {part!r} is not a learning rate") from None
        if not 0.0 < rate < float("inf"):
            raise ValueError(f"{option}: a learning rate must be above 0 and finite; got {part}")
        rates.append(rate)
    return tuple(sorted(set(rates)))


def _shares(text: str, seeds: int) -> tuple[tuple[float, int], ...]:
    """Shares below 1 and their seeds, in a text such as "1%x5,10%,50%,100%"; the whole budget runs in any case."""
    shares: dict[float, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = re.fullmatch(r"([\d.]+)\s*%\s*(?:x\s*(\d+))?", part)
        share = float(match[1]) / 100.0 if match and match[1].count(".") < 2 and match[1] != "." else 0.0
        if match is None or not 0.0 < share <= 1.0:
            raise ValueError(f"--budgets: {part!r} is not a share of the budget; write 1%,10%,50% or, with seeds, 1%x5")
        if share == 1.0 and match[2]:
            raise ValueError("--budgets: the seeds of 100% are given by --seeds")
        if match[2] and not int(match[2]):
            raise ValueError(f"--budgets: {part!r} asks for no seeds")
        if share in shares:
            raise ValueError(f"--budgets names {match[1]}% twice")
        shares[share] = int(match[2] or seeds)
    return tuple(sorted((share, count) for share, count in shares.items() if share != 1.0))
