"""Verdicts, table and figure by the rule in README.md: `python analyse.py`; a claim without its runs stays open."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from statistics import fmean, stdev
from typing import Any

from matplotlib.figure import Figure
from run import HERE, METHODS, Job
from scipy import stats

from lehr.lab.files import write, write_json
from lehr.lab.statistics import holm, summarise

SEEDS, MARGIN, LEVEL = 5, 1.0, 0.05
CLAIMS = {
    "triangular = fixed": ("triangular", "fixed"),
    "exp > triangular": ("exp", "triangular"),
    "linear > triangular": ("linear", "triangular"),
}
COLOURS = {
    "fixed": "#20242b",
    "triangular": "#d1495b",
    "linear": "#2456a6",
    "exp": "#e9a23b",
    "triangular2": "#8d6cab",
    "exp_range": "#2a9d8f",
    "decay": "#9aa3ae",
}
Runs = dict[str, list[dict[str, Any]]]


def load() -> Runs:
    """Method -> its runs, seed by seed, where none is missing."""
    files = {name: [Job(name, seed).file for seed in range(SEEDS)] for name in METHODS}
    return {
        name: [json.loads(file.read_text()) for file in several]
        for name, several in files.items()
        if all(file.exists() for file in several)
    }


def gaps(runs: Runs, one: str, other: str) -> list[float]:
    """Test accuracy of one less that of the other, in points, seed by seed."""
    return [100 * (a["test"] - b["test"]) for a, b in zip(runs[one], runs[other], strict=True)]


def equivalence(values: list[float], margin: float) -> float:
    """The p-value of two one-sided t-tests: that the mean lies outside of the margin (Schuirmann 1987)."""
    return max(
        float(stats.ttest_1samp(values, -margin, alternative="greater").pvalue),
        float(stats.ttest_1samp(values, margin, alternative="less").pvalue),
    )


def verdict(claim: str, mean: float, p: float, p_equal: float | None) -> str:
    if p_equal is not None and p_equal < LEVEL:
        return "holds"
    if p < LEVEL:
        return "holds" if p_equal is None and mean > 0 else "contradicted"
    return f"cannot tell with n = {SEEDS}"


def draw(runs: Runs) -> None:
    figure = Figure(figsize=(7.2, 3.8), layout="constrained")
    axes = figure.add_subplot()
    for method, several in runs.items():
        updates = [row[0] for row in several[0]["course"]]
        means = [100 * fmean(run["course"][k][3] for run in several) for k in range(len(updates))]
        axes.plot(updates, means, color=COLOURS[method], linewidth=1.6, label=f"{method} (n = {len(several)})")
    axes.set(xlabel="updates", ylabel="test accuracy (%)", ylim=(50, None))
    axes.grid(color="#e3e6eb")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    write(HERE / "accuracy.png", lambda part: figure.savefig(part, dpi=120, format="png"))


def main() -> None:
    runs = load()
    methods = {}
    for name, several in runs.items():
        found = summarise([100 * run["test"] for run in several])
        methods[name] = {
            "test": asdict(found), "updates": several[0]["updates"], "schedule": several[0]["schedule"],
            "seconds": max(run["seconds_beside_others"] for run in several),
        }  # fmt: skip
        print(f"| {name} | {several[0]['updates']:,} | {found.n} | {found.mean:.2f} ± {found.sd:.2f} |")
    every = {claim: gaps(runs, *pair) for claim, pair in CLAIMS.items() if runs.keys() >= set(pair)}
    for claim in CLAIMS.keys() - every.keys():
        print(f"{claim}: open, its runs are missing")
    found = {claim: float(stats.ttest_1samp(values, 0.0).pvalue) for claim, values in every.items()}
    corrected = holm({claim: found.get(claim, 1.0) for claim in CLAIMS})  # an open claim still counts as a question
    claims = {}
    for claim, values in every.items():
        equal = equivalence(values, MARGIN) if "=" in claim else None
        said = verdict(claim, fmean(values), corrected[claim], equal)
        claims[claim] = {
            "gap": fmean(values), "sd": stdev(values), "n": len(values), "p": corrected[claim], "p_equal": equal,
            "verdict": said,
        }  # fmt: skip
        tested = f"p = {corrected[claim]:.3f} (Holm)" + ("" if equal is None else f", p of TOST {equal:.3f}")
        reach = stats.t.ppf(0.975, len(values) - 1) * stdev(values) / math.sqrt(len(values))
        print(f"{claim}: {fmean(values):+.2f} ± {reach:.2f} points, {tested}: {said}")
    write_json(HERE / "summary.json", {"methods": methods, "claims": claims}, indent=1)
    draw(runs)


if __name__ == "__main__":
    main()
