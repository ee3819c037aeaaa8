"""The results of a comparison as tables in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lehr import lab
from lehr.lab.report import duration
from lehr.lab.statements import findings, read_statements


def print_results(console: Console, results: lab.Results) -> None:
    """Print what the methods came to, and who won."""
    console.print(_methods(results))
    if results.budgets:
        console.print(_budgets(results))
    console.print(f"\n{plain(lab.verdict(results))}", highlight=False)


def print_claims(console: Console, results: lab.Results, folder: Path) -> None:
    """Print what the results say of each claim that was stated in their folder."""
    for sentence in findings(results, read_statements(folder)):
        console.print(plain(sentence), highlight=False)


def print_overview(console: Console, found: Mapping[str, lab.Results]) -> None:
    """Print how each method stands on each of several tasks.

    Args:
        console: where.
        found: results by the name of the task.
    """
    names = list(dict.fromkeys(name for results in found.values() for name in results.names))
    table = Table(title="All tasks", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("method", overflow="fold", min_width=15)
    for task in found:
        table.add_column(plain(task))
    for name in names:
        table.add_row(plain(name), *(_standing(results, name) for results in found.values()))
    console.print(table)


def _standing(results: lab.Results, name: str) -> str:
    row = results.of(name)
    return f"{results.metric.show(row.test.mean) if row.test else '-'} {results.standing(row)}"


def plain(text: str) -> str:
    """Text as it is, whatever it holds: neither rich's markup nor a terminal's control characters."""
    return escape("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text))


def _methods(results: lab.Results) -> Table:
    metric = results.metric
    title = f"Test {plain(metric.name)} after {plain(results.setting.budget)}"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("method", overflow="fold", min_width=15)  # the one that gives way where there is little room
    table.add_column("", no_wrap=True)
    for heading in ("mean", "sd", "gap", "p", "peak", "a run"):
        table.add_column(heading, justify="right", no_wrap=True)
    digits = 2 if metric.percent else 4
    for row in results.methods:
        gap, test, cost = row.against_best, row.test, row.cost
        standing = results.standing(row)
        table.add_row(
            plain(row.method),
            "" if standing == "untested" else standing.replace(" of ", "/"),
            metric.show(test.mean) if test else "-",
            f"{metric.scale * test.sd:.{digits}f}" if test and test.sd is not None else "-",
            f"{metric.scale * gap.difference:.{digits}f}" if gap else "",
            f"{gap.p:.3f}" if gap and gap.p is not None else "",
            f"{row.lr:.4g}{' †' if row.finds_peak else ''}",
            duration(cost.seconds / cost.runs),
            style="bold" if row.method == results.best else None,
        )
    if any(row.finds_peak for row in results.methods):
        table.caption, table.caption_justify = "† found by its own search (the median)", "left"
    return table


def _budgets(results: lab.Results) -> Table:
    """What each share of the budget says of the full one."""
    table = Table(title="How well less of the budget foretells it", title_justify="left", box=SIMPLE_HEAD)
    for heading in ("budget", "updates"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("test best", overflow="fold", min_width=10)
    table.add_column("mean", justify="right", no_wrap=True)
    table.add_column("validation best", overflow="fold", min_width=10)
    for heading in ("rank corr.", "lost at 100 %"):
        table.add_column(heading, justify="right")
    for row in results.budgets:
        test = row.of(row.best).test if row.best is not None else None
        table.add_row(
            f"{100 * row.share:g} %",
            f"{row.updates:,}",
            plain(row.best or "-"),
            results.metric.show(test.mean) if test else "-",
            plain(row.leads_on_validation or "-"),
            "-" if row.rank_correlation is None else f"{row.rank_correlation:.2f}",
            ("it diverges" if row.leads_on_validation else "-")
            if row.lost_at_full is None
            else f"{results.metric.scale * row.lost_at_full:.2g}",
        )
    return table
