"""What a climb of the rate shows on its way, and how far from the best rate of the whole run that is.

python records/2026-11-26_lrtuner-rules/signals.py

A fast climb goes 3.75 decades in 100 updates from a thousandth of the first step's edge; a slow one an octave in 30
updates, from six octaves below the best rate, so that it shows what a climb could see at best.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import median

import torch
from zoo_half import Grid, grids

import lehr
from lehr.lab.seeds import seed_everything
from lehr.training.update import parameters_of
from lehr.trials.rate_setter import RateSetter
from lehr.tuning.first_edge import first_edge

HERE = Path(__file__).parent
Row = tuple[float, float, float, float]
"""Rate, loss, gradient times the step before it, gradient times its own step."""


def climb(grid: Grid, seed: int, *, slow: bool) -> list[Row]:
    """A climb from a fresh start, until the loss has risen to five times that of the start."""
    seed_everything(seed)
    training = grid.member.training(seed)
    training.set_peak(1.0)
    if slow:
        start, octaves, updates = 2.0 ** (grid.best - 6.0), 1.0 / 30.0, 360
    else:
        with training.untouched():
            training.backward()
            start = (first_edge(lehr.Probe(training, batches=3)) or 1.0) / 1_000.0
        octaves, updates = 0.0375 * math.log2(10.0), 200
    parameters = list(parameters_of(training.optimizers))
    rows: list[Row] = []
    step = [torch.zeros_like(parameter) for parameter in parameters]
    with RateSetter(training.optimizers, "climb") as setter:
        for update in range(updates):
            setter.set(rate := start * 2.0 ** (octaves * update))
            before = [parameter.detach().clone() for parameter in parameters]
            loss = float(training.backward())
            gradient = [torch.zeros_like(p) if p.grad is None else p.grad.detach().clone() for p in parameters]
            training.update()
            along = float(sum((g * d).sum() for g, d in zip(gradient, step, strict=True)))
            step = [p.detach() - old for p, old in zip(parameters, before, strict=True)]
            own = float(sum((g * d).sum() for g, d in zip(gradient, step, strict=True)))
            rows.append((rate, loss, along, own))
            if not math.isfinite(loss) or (update > 5 and loss > 5.0 * abs(sum(row[1] for row in rows[:5]) / 5)):
                break
    return rows


def smooth(values: list[float], updates: int) -> list[float]:
    """An exponential mean, its beginning corrected."""
    mean = weight = 0.0
    means = []
    for value in values:
        mean += ((value if math.isfinite(value) else 1e30) - mean) / updates
        weight += (1.0 - weight) / updates
        means.append(mean / weight)
    return means


def lowest_loss(updates: int) -> Callable[[list[Row]], float]:
    """The rate at which the smoothed loss is lowest, less its lag."""

    def at(rows: list[Row]) -> float:
        losses = smooth([row[1] for row in rows], updates)
        low = min(range(updates, len(losses)), key=losses.__getitem__, default=len(losses) - 1)
        return rows[max(0, low - updates // 2)][0]

    return at


def product_turns(updates: int) -> Callable[[list[Row]], float]:
    """The rate at which the product of a gradient with the step before it turns positive, smoothed."""

    def at(rows: list[Row]) -> float:
        means = smooth([row[2] for row in rows[1:]], updates)
        return rows[next((k for k in range(updates, len(means)) if means[k] > 0.0), len(means) - 1)][0]

    return at


def curvature_exceeds(share: float, updates: int) -> Callable[[list[Row]], float]:
    """The rate at which curvature along the step is that share of the slope, smoothed: r* falls to its inverse."""

    def at(rows: list[Row]) -> float:
        change = smooth([after[2] - before[3] for before, after in pairwise(rows)], updates)
        slope = smooth([-row[3] for row in rows], updates)
        found = (k for k in range(updates, len(change)) if slope[k] > 0.0 and change[k] > share * slope[k])
        return rows[next(found, len(change) - 1)][0]

    return at


SIGNALS = {
    "lowest loss, over 5": lowest_loss(5),
    "lowest loss, over 10": lowest_loss(10),
    "lowest loss, over 30": lowest_loss(30),
    "lowest loss, over 40": lowest_loss(40),
    "product turns, over 10": product_turns(10),
    "product turns, over 20": product_turns(20),
    "curvature is the slope, over 20": curvature_exceeds(1.0, 20),
    "curvature is half of it, over 20": curvature_exceeds(0.5, 20),
}


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    table = {}
    for slow in (False, True):
        climbs = [(grid, climb(grid, seed, slow=slow)) for grid in grids() for seed in (0, 1)]
        for name, signal in SIGNALS.items():
            off = sorted(grid.best - math.log2(signal(rows)) for grid, rows in climbs)
            mean = sum(off) / len(off)
            spread = (sum((x - mean) ** 2 for x in off) / len(off)) ** 0.5
            tenths = [off[len(off) // 10], median(off), off[-1 - len(off) // 10]]
            table[f"{'slow' if slow else 'fast'}: {name}"] = {
                "n": len(off),
                "sd": spread,
                "tenth, median, last": tenths,
            }
            print(
                f"{'slow' if slow else 'fast'}  {name:34} n {len(off)}  sd {spread:.1f} octaves  "
                f"best rate over it, in octaves: {tenths[0]:+.1f} {tenths[1]:+.1f} {tenths[2]:+.1f}",
                flush=True,
            )
    (HERE / "signals.json").write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
