"""The report: `results.json` as one HTML file that works offline."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined, TemplateError
from plotly.offline import get_plotlyjs

from lehr.lab import plots
from lehr.lab.decisions import decisions
from lehr.lab.files import write_text
from lehr.lab.records import read_json
from lehr.lab.task import Metric

AGAINST_BUDGET: Final = (
    "Mean and standard deviation over the seeds. Each run's schedule is fitted to its own share of the budget; peak "
    "rates are those chosen for the whole, unless a method finds its own."
)


TUNER: Final = (
    "Its decisions on the learning rate (hover for the losses), and below the best step that each probe saw: 1 is the "
    "step that was made, so far above it the rate is too low. Near the best rate single probes are mostly noise."
)


def write_report(out: Path) -> Path:
    """Write `report.html` from the `results.json` in the folder, and nothing else.

    Raises:
        ValueError: if `results.json` is missing or damaged.
    """
    found = read_json(out / "results.json")
    try:
        page = render(found)
    except (LookupError, TypeError, AttributeError, StopIteration, TemplateError) as error:
        raise ValueError(
            f"{out / 'results.json'} is not what lehr compare writes ({type(error).__name__}: {error}); "
            "give its command again"
        ) from error
    write_text(out / "report.html", page)
    return out / "report.html"


def render(found: dict[str, Any]) -> str:
    """The page as text."""
    metric = _metric(found)
    environment = Environment(
        loader=PackageLoader("lehr.lab"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["metric"] = lambda value: "-" if value is None else metric.show(value)
    environment.filters["points"] = lambda value: "-" if value is None else _points(value, metric)
    environment.filters["p"] = lambda value: "-" if value is None else f"{value:.3f}" if value >= 0.001 else "< 0.001"
    environment.filters["duration"] = duration
    direction = "Higher" if metric.higher_is_better else "Lower"
    runs = "one run" if found["search_seeds"] == 1 else f"the mean of {found['search_seeds']} runs"
    searched = f"On validation, {runs} for each rate, with seeds of their own."
    figures = [
        ("Result", f"Each dot is one run; the diamond is the mean with its 95 % interval. {direction} is better.",
         plots.final_metric(found)),
        (f"Validation {metric.name}", "Mean over the seeds; the band spans them. Drag to zoom, double-click for all.",
         plots.curves(found, "validation", plots.metric_title(found))),
        ("Training loss", "Mean over the batches since the last point.",
         plots.curves(found, "train_loss", "training loss", log=True)),
        ("Learning rate", "As it was set, update by update.", plots.rates(found)),
        ("What the tuner saw", TUNER, decisions(found)),
        (f"Test {metric.name} against budget", AGAINST_BUDGET, plots.against_budget(found)),
        ("Gap to the best, at each budget", "Difference of means; zero is the best method of that budget.",
         plots.gap_to_best(found)),
        ("Choosing the peak rate", searched, plots.search(found)),
    ]  # fmt: skip
    return environment.get_template("report.html.j2").render(
        found=found,
        metric=metric,
        verdict=verdict(found),
        colours=plots.style([row["method"] for row in found["methods"]]),
        plotly=get_plotlyjs(),
        figures=[(title, note, _embedded(figure)) for title, note, figure in figures if figure is not None],
        total=_total(found),
        tests=sum(bool(row["against_best"]) and row["against_best"]["p"] is not None for row in found["methods"]),
    )


def verdict(found: dict[str, Any]) -> str:
    """Who won, and how sure that is, in one or two sentences."""
    metric, best = _metric(found), found["best"]
    if best is None:
        return (
            "No method finished all its runs with a finite loss and result. Lower the peak rate, or look at the task."
        )
    rows = {row["method"]: row for row in found["methods"]}
    reached = f"{best} reached {metric.show(rows[best]['test']['mean'])}"
    diverged = [name for name, row in rows.items() if row["diverged"]]
    ending = f" {_listed(diverged)} diverged at least once." if diverged else ""
    if len(rows) == 1:
        return f"{reached}, alone."
    if found["seeds"] < 2:
        return f"{reached}, ahead of the others, but one seed cannot show how much of that is chance.{ending}"
    tied = found["tied_with_best"]
    worse = [name for name in rows if name != best and name not in tied and name not in diverged]
    if not tied and not worse:
        return f"{reached}; no other method finished all its runs.{ending}"
    if not tied:
        return f"{best} won with {metric.show(rows[best]['test']['mean'])}; no other method ties with it.{ending}"
    ties = "ties" if len(tied) == 1 else "tie"
    tie = f"{reached}, but {_listed(tied)} {ties} with it: the difference may well be chance."
    return f"{tie}{f' Worse: {_listed(worse)}.' if worse else ''}{ending}"


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
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _metric(found: dict[str, Any]) -> Metric:
    kept = found["metric"]
    return Metric(kept["name"], lambda outputs, _: outputs, kept["higher_is_better"], kept["percent"])


def _points(value: float, metric: Metric) -> str:
    """A difference of metrics: percentage points where the metric is a percentage."""
    return f"{100 * value:+.2f}" if metric.percent else f"{value:+.4f}"


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _embedded(figure: Any) -> str:
    html: str = figure.to_html(
        full_html=False, include_plotlyjs=False, config={"displayModeBar": False, "responsive": True}
    )
    return html


def _total(found: dict[str, Any]) -> dict[str, float]:
    names = ("runs", "updates", "seconds", "forward_passes", "evaluation_passes")
    smaller = {n: sum(run[n] for run in found["smaller_runs"]) for n in names if n != "runs"}
    smaller["runs"] = len(found["smaller_runs"])
    return {
        n: smaller[n] + sum(row[part][n] for row in found["methods"] for part in ("cost", "search_cost")) for n in names
    }
