"""The oracle's error against the rate, a panel a training, with the rates that two methods chose and what came."""

from __future__ import annotations

import json
import math
from pathlib import Path
from statistics import mean
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from analyse import ORACLES

HERE = Path(__file__).parent
WARM_UPS = {0.2: "linear, 20 % warm-up", 0.0: "linear, no warm-up"}
METHODS = {"autopilot": ("autopilot", "v", "C3"), "third": ("a third of the edge", "x", "0.3")}
HIGHEST = 1.6
"""Times the oracle's error at which the panels end; what is worse lies on the edge."""


def panel(axes: Any, oracle: dict[str, Any]) -> None:
    """The curves of a training, and the methods' runs."""
    best = mean(oracle["curve"]["1.0"])
    for warm_up, label in WARM_UPS.items():
        rows = sorted(
            (row["rate"], mean(row["errors"]) / best)
            for row in oracle["grid"]
            if row["warm_up"] == warm_up and None not in row["errors"]
        )
        axes.plot(*zip(*rows, strict=True), ".-", ms=3, lw=1, label=label)
    rates = [row["rate"] for row in oracle["grid"]]
    for method, (label, marker, color) in METHODS.items():
        stem = f"{oracle['family']}-{oracle['number']}-{oracle['updates']}-{method}"
        runs = [json.loads(path.read_text("utf-8")) for path in sorted((HERE / "runs").glob(f"{stem}-[0-9].json"))]
        points = [(run["rate"], shown(run["error"], best)) for run in runs if run["rate"]]
        inside = [(min(max(rate, min(rates) / 2), max(rates) * 2), worse) for rate, worse in points]
        if inside:
            axes.plot(*zip(*inside, strict=True), marker, color=color, ms=5, ls="", label=label, clip_on=False)
    axes.set_xscale("log")
    axes.set_xlim(min(rates) / 2.2, max(rates) * 2.2)
    axes.set_ylim(0.95, HIGHEST)
    axes.set_title(f"{oracle['family']}, {oracle['updates']:,}", fontsize=8)
    axes.tick_params(labelsize=7)


def shown(error: float | None, best: float) -> float:
    """An error in units of the best, within the panel."""
    return HIGHEST if error is None or not math.isfinite(error) else min(HIGHEST, error / best)


def main() -> None:
    oracles = [json.loads(path.read_text("utf-8")) for path in sorted(ORACLES.glob("*-0-*.json"))]
    oracles = [oracle for oracle in oracles if oracle["half"] == "unseen"]
    oracles.sort(key=lambda one: (one["family"], one["updates"]))
    figure, grid = plt.subplots(4, 4, figsize=(10, 9), sharey=True)
    for axes, oracle in zip(grid.flat, oracles, strict=True):
        panel(axes, oracle)
    figure.legend(*grid.flat[0].get_legend_handles_labels(), loc="lower center", ncols=4, frameon=False, fontsize=8)
    figure.supxlabel("peak rate", y=0.04, fontsize=9)
    figure.supylabel("validation error, in units of the oracle's", fontsize=9)
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    figure.savefig(HERE / "sensitivity.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
