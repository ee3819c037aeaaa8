"""Tables and figure of this record, from the runs beside it: `python analyse.py`."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure
from scipy import stats

from lehr.lab.statistics import holm, summarise

HERE = Path(__file__).parent
TASKS = {
    "digits": ("digits, MLP, SGD", True, "accuracy (%)"),
    "tinyshakespeare": ("tinyshakespeare, transformer, AdamW", False, "loss per token"),
    "cifar10": ("cifar10, CNN with batch norm, SGD", True, "accuracy (%)"),
}
COLOURS = {"linear": "#2456a6", "step": "#d1495b"}


def load(task: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text())["run"] for path in sorted((HERE / task / "runs").glob("*.json"))]


def by_share(runs: list[dict[str, Any]]) -> dict[float, dict[str, dict[int, float | None]]]:
    """share -> method -> seed -> test result, of the runs that are reported."""
    table: dict[float, dict[str, dict[int, float | None]]] = defaultdict(lambda: defaultdict(dict))
    for run in runs:
        if run["seed"] < 1_000_000:
            table[run["share"]][run["method"]][run["seed"]] = run["test"]
    return dict(sorted(table.items()))


def mean_ranks(table: dict[float, dict[str, dict[int, float | None]]], sign: float) -> dict[str, list[float]]:
    """For each method its rank at each share, by the mean result; what diverged comes last."""
    ranks: dict[str, list[float]] = defaultdict(list)
    for methods in table.values():
        names = sorted(methods)
        scores = [
            fmean(sign * value for value in methods[name].values()) if None not in methods[name].values() else -1e9
            for name in names
        ]
        for name, rank in zip(names, stats.rankdata([-score for score in scores]), strict=True):
            ranks[name].append(float(rank))
    return ranks


def linear_against_step(table: dict[float, dict[str, dict[int, float]]], sign: float) -> list[dict[str, Any]]:
    rows = []
    for share, methods in table.items():
        gaps = [sign * (methods["linear"][seed] - methods["step"][seed]) for seed in sorted(methods["linear"])]
        p = float(stats.ttest_1samp(gaps, 0.0).pvalue)
        rows.append({"share": share, "n": len(gaps), "gap": summarise(gaps), "p": p})
    corrected = holm({str(row["share"]): row["p"] for row in rows})
    return [{**row, "gap": asdict(row["gap"]), "p_holm": corrected[str(row["share"])]} for row in rows]


def draw(tables: dict[str, dict[float, dict[str, dict[int, float]]]]) -> None:
    figure = Figure(figsize=(4.6 * len(tables), 4.6), layout="constrained")
    for axes, (task, table) in zip(figure.subplots(1, len(tables), squeeze=False)[0], tables.items(), strict=True):
        title, higher, label = TASKS[task]
        scale, sign = (100.0, 1.0) if higher else (1.0, -1.0)
        names = sorted({name for methods in table.values() for name in methods}, key=lambda n: n in COLOURS)
        for name in names:
            gaps = []
            for methods in table.values():
                best = max(sign * fmean(v.values()) for v in methods.values() if None not in v.values())
                values = methods[name].values()
                gaps.append(scale * (sign * fmean(values) - best) if None not in values else float("nan"))
            style = {"color": COLOURS[name], "linewidth": 2.4} if name in COLOURS else {"linewidth": 1.1, "alpha": 0.75}
            axes.plot(list(table), gaps, marker="o", markersize=3, label=name, **style)
        axes.set(xscale="log", xlabel="share of the budget", ylabel=f"behind the best: {label}", title=title)
        axes.set_xticks(list(table), [f"{100 * share:g} %" for share in table])
        axes.minorticks_off()
        worst = min(line.get_ydata()[3] for line in axes.lines)
        axes.set_ylim(bottom=max(axes.get_ylim()[0], 8 * worst), top=-0.02 * 8 * worst)
        axes.grid(color="#e3e6eb")
        axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(HERE / "behind_the_best.png", dpi=130)


def main() -> None:
    summary: dict[str, Any] = {}
    tables = {}
    for task, (title, higher, _) in TASKS.items():
        runs = load(task)
        if not runs:
            continue
        sign, scale = (1.0, 100.0) if higher else (-1.0, 1.0)
        table = tables[task] = by_share(runs)
        ranks = mean_ranks(table, sign)
        searched = [run for run in runs if run["seed"] >= 1_000_000]
        print(f"\n{title}")
        print("method        " + "".join(f"{100 * share:>16g} %" for share in table) + "   mean rank   peak")
        for name in sorted(ranks, key=lambda name: fmean(ranks[name])):
            cells = []
            for methods in table.values():
                values = [value for value in methods[name].values() if value is not None]
                one = summarise(values)
                lost = len(methods[name]) - len(values)
                cells.append(f"{scale * one.mean:9.2f} ± {scale * (one.sd or 0):5.2f}" + ("!" * lost))
            peak = next(run["lr"] for run in runs if run["method"] == name and run["seed"] < 1_000_000)
            print(f"{name:14}" + "".join(f"{cell:>18}" for cell in cells) + f"{fmean(ranks[name]):>10.1f}   {peak:g}")
        duel = linear_against_step(table, sign)
        for row in duel:
            gap = row["gap"]
            print(
                f"  linear - step at {100 * row['share']:g} %: {scale * gap['mean']:+.2f} "
                f"({scale * gap['low']:+.2f} to {scale * gap['high']:+.2f}), n={row['n']}, p={row['p']:.4f}, "
                f"Holm {row['p_holm']:.4f}"
            )
        reported = [run for run in runs if run["seed"] < 1_000_000]
        cost = {
            kind: {
                "runs": len(group),
                "seconds": sum(run["seconds"] for run in group),
                "forward_passes": sum(run["forward_passes"] for run in group),
                "evaluation_passes": sum(run["evaluation_passes"] for run in group),
            }
            for kind, group in (("reported", reported), ("search", searched))
        }
        print("  cost", cost)
        summary[task] = {
            "methods": {
                name: {
                    f"{100 * share:g}%": asdict(summarise([v for v in methods[name].values() if v is not None]))
                    | {"diverged": sum(v is None for v in methods[name].values())}
                    for share, methods in table.items()
                }
                | {"ranks": ranks[name], "mean_rank": fmean(ranks[name])}
                for name in ranks
            },
            "linear_against_step": duel,
            "cost": cost,
        }
    draw(tables)
    (HERE / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    main()
