"""The oracle of each member of the zoo: linear decay with rate and warm-up searched together, three seeds.

    python records/2026-11-26_zoo/run.py --half development

Each member and budget is a file in oracles/; what is there is not computed again.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from statistics import mean

import torch

import lehr
from lehr.lab.files import write
from lehr.lab.zoo import FAMILIES, Member
from lehr.lab.zoo.stack import StackRun, train_stack

HERE = Path(__file__).parent
SEEDS = range(3)
WARM_UPS = (0.0, 0.05, 0.2)
SHARES = (0.125, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
WIDE = [10.0 ** (exponent / 2) for exponent in range(-11, 6)]
"""Rates of the first look, from 3e-6 to 300, from which nine at factors of two are centred."""


def schedule(warm_up: float) -> lehr.Schedule:
    """Linear to zero after a warm-up of that share."""
    return lehr.Linear().after_warmup(warm_up) if warm_up else lehr.Linear()


def centre(member: Member) -> float:
    """The best rate of a short run with one seed."""
    errors = train_stack(member, [StackRun(0, rate, schedule(0.05)) for rate in WIDE], 300)
    return WIDE[min(range(len(WIDE)), key=errors.__getitem__)]


def search(member: Member, updates: int, middle: float) -> list[dict[str, object]]:
    """The errors of nine rates and three warm-ups; more rates where the best lies at the edge."""
    rows: list[dict[str, object]] = []
    exponents = list(range(-4, 5))
    while exponents:
        keys = [(middle * 2.0**e, warm_up) for e in exponents for warm_up in WARM_UPS]
        runs = [StackRun(seed, rate, schedule(warm_up)) for rate, warm_up in keys for seed in SEEDS]
        errors = train_stack(member, runs, updates)
        for index, (rate, warm_up) in enumerate(keys):
            found = errors[index * len(SEEDS) : (index + 1) * len(SEEDS)]
            rows.append({"rate": rate, "warm_up": warm_up, "errors": [e if math.isfinite(e) else None for e in found]})
        best, rates = best_of(rows)["rate"], sorted({float(row["rate"]) for row in rows})
        low, high = round(math.log2(rates[0] / middle)), round(math.log2(rates[-1] / middle))
        exponents = [low - 2, low - 1] if best == rates[0] else [high + 1, high + 2] if best == rates[-1] else []
    return rows


def best_of(rows: list[dict[str, object]]) -> dict[str, object]:
    """The row of the lowest mean error."""
    return min(rows, key=lambda row: mean(math.inf if error is None else error for error in row["errors"]))


def oracle(family: str, number: int, updates: int) -> dict[str, object]:
    """The search, and what the best rate and warm-up reach at other budgets."""
    began = time.monotonic()
    member = FAMILIES[family].member(number)
    rows = search(member, updates, centre(member))
    best = best_of(rows)
    runs = [StackRun(seed, best["rate"], schedule(best["warm_up"]), share) for share in SHARES for seed in SEEDS]
    longest = round(updates * max(SHARES))
    runs = [StackRun(run.seed, run.rate, run.schedule, run.share / max(SHARES)) for run in runs]
    errors = train_stack(member, runs, longest)
    curve = {str(share): errors[3 * index : 3 * index + 3] for index, share in enumerate(SHARES)}
    return {
        "family": family, "number": number, "updates": updates, "half": FAMILIES[family].half,
        "recipe": str(member.recipe), "best": best, "curve": curve, "grid": rows,
        "seconds": time.monotonic() - began, "torch": torch.__version__,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--half", choices=("development", "unseen"), required=True)
    parser.add_argument("--numbers", type=int, nargs="+", default=[0])
    parser.add_argument("--families", nargs="+", default=list(FAMILIES))
    parser.add_argument("--shorter", action="store_true", help="the shorter budget of each family alone")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for number in arguments.numbers:
        for name in arguments.families:
            for updates in FAMILIES[name].updates[: 1 if arguments.shorter else None]:
                path = HERE / "oracles" / f"{name}-{number}-{updates}.json"
                if FAMILIES[name].half != arguments.half or path.exists():
                    continue
                text = json.dumps(oracle(name, number, updates), indent=1)
                write(path, lambda part, text=text: Path(part).write_text(text + "\n", encoding="utf-8"))
                print(path.name, flush=True)


if __name__ == "__main__":
    main()
