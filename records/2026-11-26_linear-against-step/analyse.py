"""Verdicts, tables and figure by the rule in README.md: `python analyse.py`; it stops if a run is missing."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure
from on_cuda import GRID, HERE, METHODS, SEARCH, SEEDS, SHARES, UPDATES, Job, best_rate
from scipy import stats

from lehr.lab.files import write, write_json
from lehr.lab.statistics import holm, pairs_needed, summarise

MARGIN, LEVEL = 1.0, 0.05
STEPS = ("step 30/60", "step 60/90")
COLOURS = {
    "linear": "#2456a6",
    "step 30/60": "#d1495b",
    "step 60/90": "#8d6cab",
    "cosine": "#e9a23b",
    "knee": "#2a9d8f",
    "rex": "#9aa3ae",
}
Runs = dict[tuple[str, float], list[dict[str, Any]]]


def load(job: Job) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(job.file.read_text())
    return found


def searched(task: str) -> dict[str, dict[float, list[dict[str, Any]]]]:
    """Method -> rate -> the runs of the search."""
    return {
        method: {lr: [load(Job(task, method, seed, 1.0, lr)) for seed in SEARCH] for lr in GRID} for method in METHODS
    }


def reported(task: str) -> Runs:
    """Method and share -> its runs, seed by seed."""
    return {
        (method, share): [load(Job(task, method, seed, share, 0.0)) for seed in range(SEEDS)]
        for method in METHODS
        for share in SHARES
    }


def accuracies(runs: Runs, method: str, share: float) -> list[float]:
    """On the test set, in percent, seed by seed."""
    return [100 * run["test"] for run in runs[method, share]]


def gaps(runs: Runs, one: str, other: str, share: float) -> list[float]:
    """Test accuracy of one less that of the other, in points, seed by seed."""
    return [a - b for a, b in zip(accuracies(runs, one, share), accuracies(runs, other, share), strict=True)]


def p_outside(values: list[float], margin: float) -> float:
    """The p-value of two one-sided t-tests: that the mean lies outside of the margin (Schuirmann 1987)."""
    return max(
        float(stats.ttest_1samp(values, -margin, alternative="greater").pvalue),
        float(stats.ttest_1samp(values, margin, alternative="less").pvalue),
    )


def ahead(mean: float, p: float) -> str:
    """The verdict on "linear beats step" at a share."""
    return "cannot tell" if p >= LEVEL else "holds" if mean > 0.0 else "contradicted"


def tied(p: float, p_tie: float) -> str:
    """The verdict on "they tie" at the full budget."""
    return "holds" if p_tie < LEVEL else "contradicted" if p < LEVEL else "cannot tell"


def duel(runs: Runs, step: str) -> list[dict[str, Any]]:
    """Linear less this step schedule at each share, Holm-corrected over the shares."""
    values = {share: gaps(runs, "linear", step, share) for share in SHARES}
    plain = {str(share): float(stats.ttest_1samp(found, 0.0).pvalue) for share, found in values.items()}
    corrected = holm(plain)
    rows = []
    for share, found in values.items():
        gap, p = summarise(found), corrected[str(share)]
        assert gap.sd is not None
        row = {
            "share": share, "n": gap.n, "gap": asdict(gap), "p": plain[str(share)], "p_holm": p,
            "verdict": ahead(gap.mean, p), "seeds_needed": pairs_needed(gap.sd, abs(gap.mean)),
        }  # fmt: skip
        if share == 1.0:
            row |= {"p_tie": p_outside(found, MARGIN), "tie": tied(p, p_outside(found, MARGIN))}
        rows.append(row)
    return rows


def ranks(runs: Runs) -> dict[str, float]:
    """The mean rank of each schedule over the shares, by its mean accuracy."""
    every: dict[str, list[float]] = {method: [] for method in METHODS}
    for share in SHARES:
        means = [fmean(accuracies(runs, method, share)) for method in METHODS]
        for method, rank in zip(METHODS, stats.rankdata([-mean for mean in means]), strict=True):
            every[method].append(float(rank))
    return {method: fmean(found) for method, found in every.items()}


def draw(everything: dict[str, Runs]) -> Figure:
    """How far each schedule is ahead of step decay at 60 and 90 %, with standard errors."""
    figure = Figure(figsize=(8.4, 3.4), layout="constrained")
    for axes, (task, runs) in zip(figure.subplots(1, len(everything)), everything.items(), strict=True):
        axes.axhline(0.0, color=COLOURS["step 60/90"], linewidth=1.6, label="step 60/90")
        for k, method in enumerate(name for name in METHODS if name != "step 60/90"):
            found = [summarise(gaps(runs, method, "step 60/90", share)) for share in SHARES]
            axes.errorbar(
                [place + 0.05 * (k - 2) for place in range(len(SHARES))], [one.mean for one in found],
                [(one.sd or 0.0) / math.sqrt(one.n) for one in found], color=COLOURS[method], linewidth=1.4,
                marker="o", markersize=3, capsize=2, label=method,
            )  # fmt: skip
        axes.set(xlabel="share of the budget", title=task, ylabel="points ahead of step 60/90")
        axes.set_xticks(range(len(SHARES)), [f"{100 * share:g} %" for share in SHARES])
        axes.grid(color="#e3e6eb")
        axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return figure


def table(runs: Runs, task: str) -> list[str]:
    """Test accuracy of each schedule at each share."""
    found = ranks(runs)
    lines = [f"| {task} | rate | {' | '.join(f'{100 * share:g} %' for share in SHARES)} | mean rank |"]
    lines.append("|---|---:|" + len(SHARES) * "---:|" + "---:|")
    for method in sorted(METHODS, key=lambda name: found[name]):
        cells = [summarise(accuracies(runs, method, share)) for share in SHARES]
        shown = " | ".join(f"{one.mean:.2f} ± {one.sd:.2f}" for one in cells)
        lines.append(f"| {method} | {runs[method, 1.0][0]['lr']:g} | {shown} | {found[method]:.1f} |")
    return lines


def main() -> None:
    summary: dict[str, Any] = {}
    everything = {}
    for task in UPDATES:
        search, runs = searched(task), reported(task)
        everything[task] = runs
        rates = {method: best_rate(task, method) for method in METHODS}
        assert all(run["lr"] == rates[method] for (method, _), several in runs.items() for run in several), task
        print("\n".join([f"\n| {task} | {' | '.join(f'{lr:g}' for lr in GRID)} |", "|---|" + len(GRID) * "---:|"]))
        for method, by_rate in search.items():
            shown = [100 * fmean(run["validation"] for run in several) for several in by_rate.values()]
            best = GRID.index(rates[method])
            cells = [f"**{one:.1f}**" if k == best else f"{one:.1f}" for k, one in enumerate(shown)]
            print(f"| {method} | {' | '.join(cells)} |")
        print("", *table(runs, task), "", sep="\n")
        duels = {step: duel(runs, step) for step in STEPS}
        for step, rows in duels.items():
            for row in rows:
                gap = row["gap"]
                tie = f", tie: {row['tie']} (p {row['p_tie']:.3f})" if "tie" in row else ""
                print(
                    f"| linear - {step} | {100 * row['share']:g} % | {gap['mean']:+.2f} ± {gap['sd']:.2f} | "
                    f"{gap['low']:+.2f} to {gap['high']:+.2f} | {row['p']:.4f} | {row['p_holm']:.4f} | "
                    f"{row['verdict']}{tie} | {row['seeds_needed']} |"
                )
        files = [run for several in runs.values() for run in several]
        trials = [run for by_rate in search.values() for several in by_rate.values() for run in several]
        cost = {
            name: {"runs": len(several), "updates": sum(run["updates"] for run in several)}
            for name, several in (("reported", files), ("search", trials))
        }
        print(cost, {(run["device"], run["environment"]["commit"]) for run in files + trials})
        summary[task] = {
            "rates": rates, "at_an_edge": [method for method, lr in rates.items() if lr in (GRID[0], GRID[-1])],
            "methods": {
                method: {f"{100 * share:g}%": asdict(summarise(accuracies(runs, method, share))) for share in SHARES}
                | {"mean_rank": ranks(runs)[method]}
                for method in METHODS
            },
            "linear_against": duels, "cost": cost,
        }  # fmt: skip
    write_json(HERE / "summary.json", summary, indent=1)
    write(HERE / "ahead_of_step.png", lambda part: draw(everything).savefig(part, dpi=120, format="png"))


if __name__ == "__main__":
    main()
