"""Tables and the figure from `runs/`: `python analyse.py`."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import matplotlib.pyplot as plt
from scipy import stats

from lehr import lab

HERE = Path(__file__).parent
TASKS = ("digits", "fashion-mnist", "cifar10", "tinyshakespeare")
SCHEDULES = ("linear", "warmup_linear", "knee", "cosine", "constant")
SEARCH = 1_000_003


def runs() -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((HERE / "runs").glob("*.json"))]


def main() -> None:
    found = [run for run in runs() if run["job"]["task"] in TASKS]
    summary = {name: of_task(name, [run for run in found if run["job"]["task"] == name]) for name in TASKS}
    (HERE / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    for name, rows in summary.items():
        print(
            f"\n{name}\n| method | start / peak | n | test | validation | cost of probes |\n"
            "|---|---|---:|---:|---:|---:|"
        )
        for row in rows["rows"]:
            print(
                f"| {row['method']} | {row['start']} | {row['n']} | {_show(row['test'])} | {_show(row['validation'])} "
                f"| {row['probing']:.3f} |"
            )
        print({key: value for key, value in rows.items() if key != "rows"})
    draw(found)
    readme = (HERE / "README.md").read_text()
    before, _, rest = readme.partition("<!-- tables -->")
    _, _, after = rest.partition("<!-- end of tables -->")
    text = f"{before}<!-- tables -->\n{tables(summary)}<!-- end of tables -->{after}"
    (HERE / "README.md").write_text(text)


def tables(summary: dict[str, Any]) -> str:
    """What the README shows."""
    lines = []
    for name, found in summary.items():
        metric = lab.load_task(name).metric
        unit = f"test {metric.name} (%)" if metric.higher_is_better else f"test {metric.name}"
        scale = 100.0 if metric.higher_is_better else 1.0
        lines += [f"### {name}", "", f"| method | start / tuned peak | n | {unit} | cost of probes | diverged |"]
        lines += ["|---|---|---:|---:|---:|---:|"]
        for row in found["rows"]:
            test = row["test"]
            shown = "-" if test is None else f"{scale * test['mean']:.{2 if scale > 1 else 3}f}"
            spread = "" if test is None or row["n"] < 2 else f" ± {scale * test['sd']:.{2 if scale > 1 else 3}f}"
            cost = f"{100 * row['probing']:.1f} %" if row["probing"] else ""
            start = row["start"].replace("lr ", "tuned: ")
            lines.append(
                f"| {row['method']} | {start} | {row['n']} | {shown}{spread} | {cost} | {row['diverged'] or ''} |"
            )
        lines.append("")
    return "\n".join(lines) + "\n"


def of_task(name: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    sign = 1.0 if lab.load_task(name).metric.higher_is_better else -1.0
    final = [run for run in found if run["job"]["seed"] < SEARCH]
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for run in final:
        job = run["job"]
        if job["share"] == 1.0:
            groups[job["method"], f"{job['start']:g}x" if job["start"] else f"lr {job['lr']:g}"].append(run)
    rows = [row_of(method, start, each) for (method, start), each in groups.items()]
    tuner = [run for run in final if run["job"]["method"] == "lrtuner"]
    if tuner:
        rows.append(row_of("lrtuner", "all starts", tuner))
    tuned = [row for row in rows if row["method"] in SCHEDULES and row["test"]]
    rows.sort(key=lambda row: (row["method"] not in SCHEDULES, row["method"], row["start"]))
    if not tuned or not tuner:
        return {"rows": rows}
    best = max(tuned, key=lambda row: sign * row["validation"]["mean"])
    whole = next(row for row in rows if row["start"] == "all starts")
    search = [run for run in found if run["job"]["seed"] >= SEARCH]
    return {
        "rows": rows,
        "best_tuned": best["method"],
        "gap": sign * (whole["test"]["mean"] - best["test"]["mean"]),
        "sd_of_best": best["test"]["sd"],
        "within_one_sd": sign * (whole["test"]["mean"] - best["test"]["mean"]) >= -best["test"]["sd"],
        "paired": paired(final, best["method"], sign),
        "reaches_it_after": [share_to_reach(run["run"], best["validation"]["mean"], sign) for run in tuner],
        "effective_budget": effective(final, sign, whole["validation"]["mean"]),
        "search_updates": sum(run["run"]["updates"] for run in search),
        "updates": tuner[0]["run"]["updates"],
        "searched": {
            run["job"]["method"]: sum(r["job"]["method"] == run["job"]["method"] for r in search) for run in search
        },
    }


def row_of(method: str, start: str, each: list[dict[str, Any]]) -> dict[str, Any]:
    made = [run["run"] for run in each]
    return {
        "method": method,
        "start": start,
        "n": len(made),
        "seeds": sorted({run["job"]["seed"] for run in each}),
        "diverged": sum(run["diverged_at"] is not None for run in made),
        "test": _summary([run["test"] for run in made if run["test"] is not None]),
        "validation": _summary([run["validation"] for run in made if run["validation"] is not None]),
        "probing": fmean(run["probe_passes"] / (3 * max(1, run["updates"])) for run in made),
        "seconds": fmean(run["seconds"] for run in made),
        "peak": _summary([max(rate for _, rate in run["rates"]) for run in made]),
    }


def paired(final: list[dict[str, Any]], best: str, sign: float) -> dict[str, float]:
    """LRTuner, its starts averaged, against the best tuned schedule, seed by seed."""
    gaps = []
    for seed in sorted({run["job"]["seed"] for run in final}):
        own = [run["run"]["test"] for run in final if (run["job"]["method"], run["job"]["seed"]) == ("lrtuner", seed)]
        other = [
            run["run"]["test"]
            for run in final
            if (run["job"]["method"], run["job"]["seed"], run["job"]["share"]) == (best, seed, 1.0)
        ]
        if own and other and None not in own + other:
            gaps.append(sign * (fmean(own) - other[0]))
    if len(gaps) < 2:
        return {}
    test = stats.ttest_1samp(gaps, 0.0)
    low, high = test.confidence_interval(0.95)
    return {"mean": fmean(gaps), "low": float(low), "high": float(high), "p": float(test.pvalue), "n": len(gaps)}


def share_to_reach(run: dict[str, Any], goal: float, sign: float) -> float | None:
    """The share of the budget after which validation is as good as the tuned schedule's at its end."""
    return next((row["progress"] for row in run["curve"] if sign * (row["validation"] - goal) >= 0.0), None)


def effective(final: list[dict[str, Any]], sign: float, reached: float) -> float | str | None:
    """The share of the budget at which the tuned warm-up and linear decay would have come as far."""
    by_share: dict[float, list[float]] = defaultdict(list)
    for run in final:
        if run["job"]["method"] == "warmup_linear" and run["run"]["validation"] is not None:
            by_share[run["job"]["share"]].append(run["run"]["validation"])
    points = sorted((share, sign * fmean(values)) for share, values in by_share.items())
    goal = sign * reached
    if not points or goal > points[-1][1]:
        return "more than the whole" if points else None
    if goal <= points[0][1]:
        return points[0][0]
    for (s0, v0), (s1, v1) in pairwise(points):
        if v0 <= goal <= v1:
            return s0 + (s1 - s0) * (goal - v0) / (v1 - v0)
    return None


def _summary(values: list[float]) -> dict[str, float] | None:
    if not values:
        return None
    return {
        "mean": fmean(values),
        "sd": stdev(values) if len(values) > 1 else math.nan,
        "min": min(values),
        "max": max(values),
    }


def _show(summary: dict[str, float] | None) -> str:
    return "-" if summary is None else f"{summary['mean']:.4f} ± {summary['sd']:.4f}"


def draw(found: list[dict[str, Any]]) -> None:
    """Final results against the start, with the tuned schedules as lines; and one run's decisions."""
    figure, axes = plt.subplots(1, 4, figsize=(13, 3.2), layout="constrained")
    colours = {"lrtuner": "#2456a6", "gen": "#2a9d8f", "lqa": "#e9a23b", "plateau": "#d1495b", "qlabgrad": "#7b4fa3"}
    for ax, name in zip(axes, TASKS, strict=True):
        metric = lab.load_task(name).metric
        scale = 100.0 if metric.higher_is_better else 1.0
        final = [run for run in found if run["job"]["task"] == name and run["job"]["seed"] < SEARCH]
        for method, colour in colours.items():
            points = [
                (run["job"]["start"], scale * run["run"]["test"])
                for run in final
                if run["job"]["method"] == method and run["run"]["test"] is not None
            ]
            if points:
                ax.plot(*zip(*points, strict=True), "o", ms=4, color=colour, alpha=0.7, label=method)
        for style, method in (("-", "warmup_linear"), ("--", "linear"), (":", "constant")):
            made = [
                scale * run["run"]["test"]
                for run in final
                if (run["job"]["method"], run["job"]["share"]) == (method, 1.0) and run["run"]["test"] is not None
            ]
            if made:
                ax.axhline(fmean(made), color="#20242b", ls=style, lw=1, label=f"{method}, tuned")
        ax.set_xscale("log")
        ax.set_title(name, fontsize=10)
        ax.set_xlabel("start / tuned peak")
        ax.set_ylabel(f"test {metric.name}" + (" (%)" if metric.higher_is_better else ""))
        ax.grid(alpha=0.2)
    axes[0].legend(fontsize=7, frameon=False)
    figure.savefig(HERE / "starts.svg")


if __name__ == "__main__":
    main()
