"""Table and figure of this record, from the runs beside it: `python analyse.py`."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure
from scipy import stats

from lehr.lab.files import write, write_json
from lehr.lab.statistics import holm, summarise

HERE = Path(__file__).parent
COLOURS = {"fixed": "#20242b", "triangular": "#d1495b", "linear": "#2456a6", "exp": "#e9a23b"}
Runs = dict[str, dict[int, dict[str, Any]]]


def load(scale: int) -> Runs:
    """Method -> seed -> run."""
    runs: Runs = defaultdict(dict)
    for path in sorted((HERE / "runs").glob(f"scale-{scale}_*.json")):
        run = json.loads(path.read_text())
        runs[run["method"]][run["seed"]] = run
    return dict(sorted(runs.items(), key=lambda item: -fmean(run["test"] for run in item[1].values())))


def against(runs: Runs, one: str) -> list[dict[str, Any]]:
    """Every other method's gap to `one`, in points, seed by seed."""
    rows = []
    for other in runs:
        seeds = sorted(runs[one].keys() & runs[other].keys())
        gaps = [100 * (runs[one][seed]["test"] - runs[other][seed]["test"]) for seed in seeds]
        if other != one and len(gaps) > 1:
            rows.append(
                {"other": other, "gap": asdict(summarise(gaps)), "p": float(stats.ttest_1samp(gaps, 0.0).pvalue)}
            )
    corrected = holm({row["other"]: row["p"] for row in rows})
    return [{**row, "p_holm": corrected[row["other"]]} for row in rows]


def matched(runs: Runs) -> list[dict[str, Any]]:
    """For each seed, after how many updates each method first came to what `fixed` ends with."""
    rows = []
    for seed, fixed in runs.get("fixed", {}).items():
        for method in runs:
            if method != "fixed" and seed in runs[method]:
                hits = [update for update, test, _ in runs[method][seed]["curve"] if test >= fixed["test"]]
                rows.append({"seed": seed, "method": method, "updates": hits[0] if hits else None,
                             "of": fixed["iterations"]})  # fmt: skip
    return rows


def draw(runs: Runs, scale: int) -> None:
    figure = Figure(figsize=(7.2, 3.8), layout="constrained")
    axes = figure.add_subplot()
    for method in sorted(runs, key=lambda name: name in COLOURS):
        curves = [run["curve"] for run in runs[method].values()]
        updates = [row[0] for row in curves[0]]
        means = [100 * fmean(curve[k][1] for curve in curves) for k in range(len(updates))]
        style = {"color": COLOURS[method], "linewidth": 2.2} if method in COLOURS else {"linewidth": 1.0, "alpha": 0.8}
        axes.plot(updates, means, marker="o", markersize=3, label=f"{method} (n = {len(curves)})", **style)
    axes.set(xlabel="updates", ylabel="test accuracy (%)", ylim=(35, None))
    axes.grid(color="#e3e6eb")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    write(HERE / f"scale_{scale}.png", lambda part: figure.savefig(part, dpi=120, format="png"))


def main() -> None:
    summary = {}
    for scale in (1, 5):
        runs = load(scale)
        if not runs:
            continue
        print(f"\nscale {scale}\nmethod        n   updates   test accuracy   seconds a run   forward passes")
        rows = {}
        for method, by_seed in runs.items():
            found = summarise([100 * run["test"] for run in by_seed.values()])
            first = next(iter(by_seed.values()))
            rows[method] = {
                "test": asdict(found), "schedule": first["schedule"], "peak": first["peak"],
                "iterations": first["iterations"], "seconds": sum(run["seconds"] for run in by_seed.values()),
                "forward_passes": sum(run["forward_passes"] for run in by_seed.values()),
                "best_on_the_way": [100 * max(row[1] for row in run["curve"]) for run in by_seed.values()],
            }  # fmt: skip
            spread = "" if found.sd is None else f" ± {found.sd:.2f}"
            print(f"{method:<12}{found.n:>3}{first['iterations']:>10,}{found.mean:>11.2f}{spread:<8}"
                  f"{rows[method]['seconds'] / found.n:>12,.0f}{rows[method]['forward_passes']:>17,}")  # fmt: skip
        tests = {one: against(runs, one) for one in ("triangular", "linear") if one in runs}
        for one, others in tests.items():
            for row in others:
                gap = row["gap"]
                interval = f"[{gap['low']:+.2f}, {gap['high']:+.2f}]"
                print(f"{one} against {row['other']}: {gap['mean']:+.2f} points {interval},")
                print(f"    n = {gap['n']}, p = {row['p']:.4f}, Holm {row['p_holm']:.4f}")
        first = [row for row in matched(runs) if row["method"] in ("triangular", "linear")]
        for row in first:
            print(f"seed {row['seed']}: {row['method']} had fixed's result of {row['of']:,} after {row['updates']}")
        summary[f"scale {scale}"] = {"methods": rows, "against": tests, "matched": matched(runs)}
        draw(runs, scale)
    write_json(HERE / "summary.json", summary, indent=1)


if __name__ == "__main__":
    main()
