"""What it costs to train at a rate that is off, by the grids: linear with 20 % warm-up for 1,000 updates.

python records/2026-11-26_lrtuner-rules/octaves.py
"""

from __future__ import annotations

import math
from statistics import fmean, median

import numpy as np
from zoo_half import Grid, grids


def worth_at(grid: Grid, octaves: float) -> float:
    """What the best rate times 2^octaves is worth; 5 % beyond the grid."""
    rates = [math.log2(rate) for rate in grid.rates]
    at = grid.best + octaves
    if not rates[0] <= at <= rates[-1]:
        return 0.05
    return min(1.0, grid.worth(math.exp(np.interp(at, rates, np.log(grid.errors[1_000])))))


def main() -> None:
    for octaves in (-3.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0):
        worth = sorted(worth_at(grid, octaves) for grid in grids())
        print(
            f"{octaves:+.1f} octaves  n {len(worth)}  median {median(worth):.2f}  mean {fmean(worth):.2f}  "
            f"lowest tenth {worth[len(worth) // 10]:.2f}"
        )


if __name__ == "__main__":
    main()
