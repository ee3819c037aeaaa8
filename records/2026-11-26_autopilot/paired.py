"""The autopilot less each method without tuning, family by family: what the 16 trainings can tell of the mean.

    python paired.py

A family's two trainings are averaged first, since they share data and network. Written after the runs were known.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from statistics import fmean, stdev

from lehr.lab.statistics import holm, paired_test

HERE = Path(__file__).parent
METHODS = ("schedule_free", "third", "prodigy", "lrtuner", "learned", "one_cycle", "folk")


def by_family(by_task: dict[str, list[float]]) -> dict[str, float]:
    found: dict[str, list[float]] = defaultdict(list)
    for task, runs in by_task.items():
        found[task.split()[0]].append(fmean(runs))
    return {family: 100.0 * fmean(means) for family, means in found.items()}


def main() -> None:
    summary = json.loads((HERE / "summary-unseen.json").read_text())
    pilot = by_family(summary["autopilot"]["by_task"])
    gaps = {
        method: [pilot[family] - other for family, other in sorted(by_family(summary[method]["by_task"]).items())]
        for method in METHODS
    }
    tests = {method: paired_test(values) for method, values in gaps.items()}
    corrected = holm({method: p for method, (_, _, p) in tests.items() if p is not None})
    print("| less | n | points of the budget | 95 % | p |")
    print("|---|---:|---:|---|---:|")
    for method, values in gaps.items():
        low, high, _ = tests[method]
        print(
            f"| {method} | {len(values)} | {fmean(values):+.0f} ± {stdev(values):.0f} | {low:+.0f} to {high:+.0f} "
            f"| {corrected[method]:.3f} |"
        )


if __name__ == "__main__":
    main()
