"""The score of every method: which share of the budget the oracle needs for the same validation error.

python records/2026-11-26_autopilot/analyse.py --half unseen [--number 1] [--shorter]
"""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from statistics import mean, median, stdev

from lehr.lab.zoo import FAMILIES

HERE = Path(__file__).parent
ORACLES = HERE.parent / "2026-11-26_zoo" / "oracles"
TOLERANCE = 0.1
"""By which share of the oracle's error a run must be worse to count as lost."""


def effective_budget(curve: dict[str, list[float]], error: float | None) -> float:
    """The share of the budget at which the oracle's mean error is this, on its own runs; linear between them.

    The oracle's error is made monotone. Beyond its longest run the share is that of the longest, and below its shortest
    the share falls in proportion to the error.
    """
    points: list[tuple[float, float]] = []
    for share, errors in sorted((float(share), errors) for share, errors in curve.items()):
        if math.isfinite(reached := mean(errors)):  # the shortest runs may diverge at the rate of the whole budget
            points.append((share, min(reached, points[-1][1] if points else math.inf)))
    if error is None or not math.isfinite(error):
        return 0.0
    if error >= points[0][1]:
        return points[0][0] * points[0][1] / error
    for (a, high), (b, low) in pairwise(points):
        if low <= error:
            return b if high == low else a + (b - a) * (high - error) / (high - low)
    return points[-1][0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--half", choices=("development", "unseen"), required=True)
    parser.add_argument("--number", type=int, default=0, help="of each family")
    parser.add_argument("--shorter", action="store_true", help="the shorter budget of each family alone")
    arguments = parser.parse_args()
    half, name = arguments.half, arguments.half
    name += f"-{arguments.number}" * (arguments.number > 0) + "-shorter" * arguments.shorter
    oracles = {
        (one["family"], one["number"], one["updates"]): one
        for path in sorted(ORACLES.glob(f"*-{arguments.number}-*.json"))
        if (one := json.loads(path.read_text(encoding="utf-8")))["half"] == half
        and not (arguments.shorter and one["updates"] != FAMILIES[one["family"]].updates[0])
    }
    scores: dict[str, dict[tuple[str, int], list[float]]] = defaultdict(lambda: defaultdict(list))
    rates: dict[str, list[float]] = defaultdict(list)
    worse: dict[str, int] = defaultdict(int)
    lost: dict[str, list[float]] = defaultdict(list)
    for path in sorted((HERE / "runs").glob("*.json")):
        run = json.loads(path.read_text(encoding="utf-8"))
        key = (run["family"], run["number"], run["updates"])
        if key not in oracles:
            continue
        oracle = oracles[key]
        method = run["method"]
        scores[method][key[0], key[2]].append(effective_budget(oracle["curve"], run["error"]))
        lost[method].append(run["spent"] / run["updates"])
        if run["rate"]:
            rates[method].append(math.log2(run["rate"] / oracle["best"]["rate"]))
        bound = (1.0 + TOLERANCE) * mean(oracle["curve"]["1.0"])
        worse[method] += run["error"] is None or run["error"] > bound
    table = {}
    print(f"{half}, number {arguments.number}: {len(oracles)} trainings, the mean of the runs of each\n")
    print("method                n   median  worst  mean   > 10 % worse   trials   rate off, octaves")
    for method, by_task in sorted(scores.items(), key=lambda item: -median(mean(runs) for runs in item[1].values())):
        means = [mean(runs) for runs in by_task.values()]
        count = sum(len(runs) for runs in by_task.values())
        off = f"{mean(rates[method]):+.1f} +- {stdev(rates[method]):.1f}" if len(rates[method]) > 1 else ""
        print(
            f"{method:19} {count:4}   {median(means):5.0%}  {min(means):5.0%}  {mean(means):5.0%}"
            f"   {worse[method]:3} of {count:3}      {mean(lost[method]):5.1%}   {off}"
        )
        table[method] = {
            "runs": count, "median": median(means), "worst": min(means), "mean": mean(means), "worse": worse[method],
            "trials": mean(lost[method]),
            "by_task": {f"{family} {updates}": runs for (family, updates), runs in by_task.items()},
        }  # fmt: skip
    print()
    methods = sorted(scores)
    print("training               " + "".join(f"{method[:13]:>14}" for method in methods))
    for family, updates in sorted({key for by_task in scores.values() for key in by_task}):
        cells = [scores[method].get((family, updates)) for method in methods]
        print(f"{family:15} {updates:6} " + "".join(f"{mean(c):14.0%}" if c else f"{'-':>14}" for c in cells))
    (HERE / f"summary-{name}.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
