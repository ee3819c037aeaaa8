"""The report: `results.json` as one HTML file that works offline."""

from __future__ import annotations

import csv
import gzip
import io
import math
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Final

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from lehr.lab import plots
from lehr.lab.claims import Claim, examine
from lehr.lab.decisions import decisions
from lehr.lab.files import write_text
from lehr.lab.results import Results, verdict
from lehr.lab.sealed import read_bytes
from lehr.lab.statements import Statement, findings, read_statements
from lehr.lab.statistics import MOST_PAIRS, smallest_gap

AGAINST_BUDGET: Final = (
    "Mean and standard deviation over the seeds. Each run's schedule is fitted to its own share of the budget; peak "
    "rates are those chosen for the whole, unless a method finds its own."
)


COLUMNS: Final = (
    "method", "policy", "seed", "share", "lr", "test", "validation", "diverged_at", "failure", "updates", "seconds",
    "forward_passes", "evaluation_passes", "probe_passes",
)  # fmt: skip
"""What the table of runs has of each."""

TUNER: Final = (
    "Its decisions on the learning rate (hover for the losses), and below the best step that each probe saw: 1 is the "
    "step that was made, so far above it the rate is too low. Near the best rate single probes are mostly noise."
)


def read_results(folder: str | Path) -> Results:
    """The results of a comparison from the `results.json` in its folder.

    Args:
        folder: where `lehr compare` put them.

    Raises:
        ValueError: if the file is missing, damaged, or of another version of lehr.

    >>> import tempfile
    >>> from lehr import lab
    >>> folder, methods = tempfile.mkdtemp(), lab.load_methods("linear")
    >>> made = lab.run_comparison(lab.Comparison("digits", methods, lab.Settings("4steps"), seeds=1), folder)
    >>> read_results(folder).best
    'linear'
    """
    path = Path(folder) / "results.json"
    return Results.from_json(read_bytes(path), str(path))


def write_report(folder: str | Path) -> Path:
    """Write `report.html` from the `results.json` and the claims in the folder, and nothing else.

    Args:
        folder: where `lehr compare` put its results.

    Raises:
        ValueError: if `results.json` is missing, damaged, or of another version of lehr; or if `claims.json` is
            damaged or of another.

    >>> import tempfile
    >>> from lehr import lab
    >>> folder, methods = tempfile.mkdtemp(), lab.load_methods("linear")
    >>> made = lab.run_comparison(lab.Comparison("digits", methods, lab.Settings("4steps"), seeds=1), folder)
    >>> write_report(folder).name
    'report.html'
    """
    path = Path(folder) / "report.html"
    write_text(path, render(read_results(folder), read_statements(folder)))
    return path


def render(results: Results, statements: Sequence[Statement] = ()) -> str:
    """The page as text.

    Args:
        results: of a comparison.
        statements: claims that were stated in its folder.
    """
    metric = results.metric
    environment = Environment(
        loader=PackageLoader("lehr.lab"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["metric"] = lambda value: "-" if value is None else metric.show(value)
    environment.filters["points"] = lambda value: "-" if value is None else metric.show_gap(value)
    environment.filters["p"] = lambda value: "-" if value is None else f"{value:.3f}" if value >= 0.001 else "< 0.001"
    environment.filters["duration"] = duration
    direction = "Higher" if metric.higher_is_better else "Lower"
    runs = "one run" if results.search_seeds == 1 else f"the mean of {results.search_seeds} runs"
    searched = f"On validation, {runs} for each rate, with seeds of their own. A ring marks the rate that was chosen."
    figures = [
        ("Result", f"Each dot is one run; the diamond is the mean with its 95 % interval. {direction} is better.",
         plots.final_metric(results)),
        (f"Validation {metric.name}", "Mean over the seeds; the band spans them. Drag to zoom, double-click for all.",
         plots.curves(results, "validation", metric.title)),
        ("Training loss", "Mean over the batches since the last point.",
         plots.curves(results, "train_loss", "training loss", log=True)),
        ("Learning rate", "As it was set, update by update.", plots.rates(results)),
        ("What the tuner saw", TUNER, decisions(results)),
        (f"Test {metric.name} against budget", AGAINST_BUDGET, plots.against_budget(results)),
        ("Gap to the best, at each budget", "Difference of means; zero is the best method of that budget.",
         plots.gap_to_best(results)),
        ("Choosing the peak rate", searched, plots.search(results)),
        ("Against time", "Training only: neither evaluations nor range tests of a method's own.",
         plots.against_cost(results, "seconds", "seconds of training")),
        ("Against forward passes", "Of one batch, those of probes and range tests included.",
         plots.against_cost(results, "passes", "forward passes")),
    ]  # fmt: skip
    return environment.get_template("report.html.j2").render(
        found=results,
        metric=metric,
        verdict=verdict(results),
        power=power(results),
        undecided=undecided(results),
        claims=findings(results, statements),
        colours=plots.style(results.names),
        plotly=packed(get_plotlyjs()),
        figures=[(title, note, _embedded(figure)) for title, note, figure in figures if figure is not None],
        total=results.total,
        failed=[run for run in (*results.runs, *results.smaller_runs) if run.diverged_at is not None],
        explained=[run for run in results.runs if run.explanation],
        table=b64encode(csv_of(results).encode()).decode(),
        tests=sum(row.against_best is not None and row.against_best.p is not None for row in results.methods),
    )


def power(results: Results) -> str | None:
    """How large a gap must be for so few seeds to show it; None where there is nothing to compare.

    The standard deviation of the differences is the median over the methods.
    """
    spreads = []
    for row in results.methods:
        gap = row.against_best
        if gap is not None and gap.high is not None and gap.low is not None and gap.n > 1:
            from scipy import stats

            reach = float(stats.t.ppf(0.975, gap.n - 1)) / math.sqrt(gap.n)
            spreads.append((gap.high - gap.low) / 2.0 / reach)
    if not spreads:
        return None
    sd, show = median(spreads), results.metric.show_gap
    gap_shown = show(smallest_gap(sd, min(results.seeds, MOST_PAIRS)))[1:]
    return (
        f"With {results.seeds} seeds and the spread of these differences (sd {show(sd)[1:]}), a gap below {gap_shown} "
        "is likely to pass for a tie (power 80 %, one test)."
    )


def undecided(results: Results) -> str | None:
    """The ties that more seeds could decide, and how many that would take; None if there are none."""
    ties = examine(results, [Claim(str(results.best), name) for name in results.tied_with_best])
    needed = [f"{one.claim.worse} ({one.needed:,} seeds)" for one in ties if one.needed is not None]
    if not needed:
        return None
    return (
        f"{results.seeds} seeds cannot tell {results.best} from {', '.join(needed)}: in brackets, how many would show "
        "a gap as large as the one seen, if the spread is what these runs say (power 80 %)."
    )


def csv_of(results: Results) -> str:
    """Every run as a line of comma-separated values, with what else was measured on the test set."""
    lines = io.StringIO()
    table = csv.writer(lines, lineterminator="\n")
    every = (*results.runs, *results.smaller_runs, *results.search_runs)
    others = sorted({name for run in every for name in run.test_numbers})
    table.writerow([*COLUMNS, *(_cell(f"test {name}") for name in others)])
    for run in every:
        numbers = [run.test_numbers.get(name) for name in others]
        table.writerow([*(_cell(getattr(run, name)) for name in COLUMNS), *numbers])
    return lines.getvalue()


def _cell(value: object) -> object:
    """The value; a text that a spreadsheet would take for a formula is marked as a text."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def duration(seconds: float | None) -> str:
    """Seconds as a person would say them.

    >>> duration(3725)
    '1 h 2 min'
    """
    if seconds is None:
        return "-"
    if seconds < 100:
        return f"{seconds:.3g} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60} min"


def packed(script: str) -> str:
    """A script as base64 of its gzip: about 40 % of its size, which the page unpacks by itself."""
    return b64encode(gzip.compress(script.encode(), 9, mtime=0)).decode()


def _embedded(figure: go.Figure) -> str:
    """The figure's data, for the page to draw; nothing in it ends a script."""
    text: str = figure.to_json()
    return text.replace("<", "\\u003c")
