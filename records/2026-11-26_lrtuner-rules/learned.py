"""The learned schedule, trained further on some numbers of the development half and judged on others.

python records/2026-11-26_lrtuner-rules/learned.py

What is there is not made again: the weights, and the runs.
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean, median

import torch
from zoo_half import FAMILY_NAMES, grids

import lehr
from lehr.lab.zoo import FAMILIES, MemberWorld

HERE = Path(__file__).parent
WEIGHTS, RUNS = HERE / "learned-on-the-zoo.safetensors", HERE / "learned.json"
LEARNED, JUDGED = (1, 2, 3), (4, 5, 6)
SEEDS = (20, 21)


def evolve() -> None:
    """180 generations from the pretrained weights."""
    worlds = [MemberWorld(f"{name} {k}", FAMILIES[name].member(k)) for k in LEARNED for name in FAMILY_NAMES]
    pretrained = lehr.LearnedSchedule.pretrained()
    schedule = lehr.learned.evolve(
        worlds, generations=180, first=pretrained, meta_lr=0.02, folder=HERE / "evolution", report=print
    )
    schedule.save(WEIGHTS)


def judge() -> list[dict[str, object]]:
    """Runs of 1,000 updates of both, from the edges of range tests."""
    rows: list[dict[str, object]] = []
    for grid in grids():
        if grid.number not in JUDGED:
            continue
        world = MemberWorld(grid.family, grid.member)
        edges = [world.edge(seed) for seed in SEEDS]
        for name in ("pretrained", "on the zoo"):
            variants = [
                lehr.learned.Variant(
                    lehr.LearnedSchedule.pretrained() if name == "pretrained" else lehr.LearnedSchedule.load(WEIGHTS),
                    seed, edge,
                )
                for seed, edge in zip(SEEDS, edges, strict=True)
            ]  # fmt: skip
            for seed, edge, error in zip(SEEDS, edges, world.judge(variants, 1_000), strict=True):
                rows.append(
                    {
                        "schedule": name, "family": grid.family, "number": grid.number, "seed": seed, "edge": edge,
                        "error": error, "worth": grid.worth(error),
                    }
                )  # fmt: skip
    return rows


def main() -> None:
    torch.set_num_threads(1)
    if not WEIGHTS.exists():
        evolve()
    if not RUNS.exists():
        RUNS.write_text(json.dumps(judge(), indent=1) + "\n")
    rows = json.loads(RUNS.read_text())
    for name in ("pretrained", "on the zoo"):
        worth = sorted(row["worth"] for row in rows if row["schedule"] == name)
        print(
            f"{name:11} n {len(worth)}  median {median(worth):.2f}  mean {fmean(worth):.2f}  "
            f"lowest tenth {worth[len(worth) // 10]:.2f}"
        )


if __name__ == "__main__":
    main()
