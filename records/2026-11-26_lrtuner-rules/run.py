"""Runs of 1,000 updates by LRTuner's rule and by others, on the development half; a file each, not made again.

python records/2026-11-26_lrtuner-rules/run.py --rules tuner ramp ramp-hold ramp-low
"""

from __future__ import annotations

import argparse
import json
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, median

import torch
from ramp import Choices, Ramp
from zoo_half import Grid, grids

import lehr
from lehr.lab.files import write_json
from lehr.lab.seeds import seed_everything

HERE = Path(__file__).parent
START = 1e-6
"""The optimizer's rate, which says nothing."""

RULES: dict[str, Callable[[], lehr.Policy]] = {
    "tuner": lehr.LRTuner,
    "ramp": lambda: Ramp(Choices()),
    "ramp-hold": lambda: Ramp(Choices(hold=True)),
    "ramp-high": lambda: Ramp(Choices(drop=1.0, hold=True)),
    "ramp-low": lambda: Ramp(Choices(drop=4.0, shift=0.5)),
}


def make_run(grid: Grid, rule: str) -> dict[str, object]:
    """One run from seed 0: its error, what that is worth, and the chosen rate."""
    seed_everything(0)
    training = grid.member.training(0)
    training.set_peak(START)
    policy = RULES[rule]()
    lehr.fit(training, "1000steps", policy, progress=False)
    for module in training.modules:
        module.eval()
    with torch.no_grad():
        error = grid.member.evaluate(training, "validation")
    rate = START * (policy.level if isinstance(policy, Ramp) else policy.history[-1].goal)
    return {
        "rule": rule, "family": grid.family, "number": grid.number, "optimizer": grid.member.recipe.optimizer,
        "error": error if math.isfinite(error) else None, "worth": grid.worth(error),
        "octaves_from_best": math.log2(rate) - grid.best,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rules", nargs="+", choices=RULES, default=list(RULES))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    (HERE / "runs").mkdir(exist_ok=True)
    for rule in arguments.rules:
        rows = []
        for grid in grids():
            path = HERE / "runs" / f"{grid.family}-{grid.number}-{rule}.json"
            if not path.exists():
                write_json(path, make_run(grid, rule))
            rows.append(json.loads(path.read_text()))
        for kind in ("all", "adamw", "others"):
            own = [row for row in rows if kind == "all" or (row["optimizer"] == "adamw") == (kind == "adamw")]
            worth = sorted(row["worth"] for row in own)
            off = [row["octaves_from_best"] for row in own]
            print(
                f"{rule:10} {kind:7} n {len(own):2}  median {median(worth):.2f}  mean {fmean(worth):.2f}  "
                f"lowest tenth {worth[len(worth) // 10]:.2f}  lowest {worth[0]:.2f}  "
                f"octaves off {fmean(off):+.1f} ± {(sum((x - fmean(off)) ** 2 for x in off) / len(off)) ** 0.5:.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
