"""What the end of a schedule is worth on the development half: five shapes at each rate.

    python records/2026-11-26_autopilot/tails.py

Each training is a file in tails/; what is there is not computed again. `--table` reads them.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median

import torch
from analyse import effective_budget
from torch import Tensor

import lehr
from lehr.lab.files import write_json
from lehr.lab.zoo import FAMILIES, Member
from lehr.lab.zoo.stack import Stack, StackRun, train_stack

HERE = Path(__file__).parent
SEEDS = range(2)
OCTAVES = range(-3, 4)
SHARES = (0.125, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
WIDE = [10.0 ** (exponent / 2) for exponent in range(-11, 6)]
WARM_UP = 0.2
SHAPES: dict[str, lehr.Schedule] = {
    "linear": lehr.Linear().after_warmup(WARM_UP),
    "knee": lehr.Constant().then(lehr.Linear(), at=0.4).after_warmup(WARM_UP),
    "rex": lehr.Rex().after_warmup(WARM_UP),
    "one minus sqrt": lehr.OneMinusSqrt().after_warmup(WARM_UP),
}
"""The knee holds until 52 % of the run."""

AVERAGED = "linear, averaged"
"""Linear, with the mean of the weights and buffers of its last tenth."""


class Average:
    """The mean of a stack's weights and buffers over some updates."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.sums: list[Tensor] = []
        self.count = 0

    @property
    def _parts(self) -> list[Tensor]:
        return [*self.stack._weights.values(), *self.stack._buffers.values()]

    @torch.no_grad()
    def see(self) -> None:
        """Take the values of now in."""
        parts = self._parts
        self.sums = self.sums or [torch.zeros_like(part, dtype=torch.float64) for part in parts]
        for total, part in zip(self.sums, parts, strict=True):
            total.add_(part)
        self.count += 1

    @torch.no_grad()
    def take(self) -> None:
        """The stack's values become the mean."""
        for total, part in zip(self.sums, self._parts, strict=True):
            part.copy_((total / self.count).to(part.dtype))


def errors_of(member: Member, rates: Sequence[float], updates: int) -> list[dict[str, object]]:
    """The errors of each shape at each rate."""
    keys = [(name, rate, seed) for name in SHAPES for rate in rates for seed in SEEDS]
    stack = Stack(member, [seed for _, _, seed in keys], updates)
    average = Average(stack)
    for update in range(updates):
        stack.backward()
        stack.step(torch.tensor([rate * SHAPES[name](update / updates) for name, rate, _ in keys]))
        if update >= 0.9 * updates:
            average.see()
    found: dict[tuple[str, float], list[float | None]] = defaultdict(list)
    for index, (name, rate, _) in enumerate(keys):
        found[name, rate].append(finite(stack.error(index)))
    average.take()
    for index, (name, rate, _) in enumerate(keys):
        if name == "linear":
            found[AVERAGED, rate].append(finite(stack.error(index)))
    return [{"shape": name, "rate": rate, "errors": errors} for (name, rate), errors in found.items()]


def finite(error: float) -> float | None:
    """The error, or None."""
    return error if math.isfinite(error) else None


def of_row(row: dict[str, object]) -> float:
    """Its mean error."""
    return mean(math.inf if error is None else error for error in row["errors"])


def make(family: str, number: int) -> dict[str, object]:
    """All shapes and rates of a training, and what linear at its best rate reaches at other budgets."""
    began = time.monotonic()
    member, updates = FAMILIES[family].member(number), FAMILIES[family].updates[0]
    first = train_stack(member, [StackRun(0, rate, lehr.Linear().after_warmup(0.05)) for rate in WIDE], 300)
    middle = WIDE[min(range(len(WIDE)), key=first.__getitem__)]
    rows = errors_of(member, [middle * 2.0**octave for octave in OCTAVES], updates)
    best = min((row for row in rows if row["shape"] == "linear"), key=of_row)
    longest = max(SHARES)
    runs = [StackRun(seed, best["rate"], SHAPES["linear"], share / longest) for share in SHARES for seed in SEEDS]
    errors = train_stack(member, runs, round(updates * longest))
    count = len(SEEDS)
    curve = {str(share): errors[count * index : count * (index + 1)] for index, share in enumerate(SHARES)}
    return {
        "family": family, "number": number, "updates": updates, "recipe": str(member.recipe), "best": best["rate"],
        "rows": rows, "curve": curve, "seconds": time.monotonic() - began, "torch": torch.__version__,
    }  # fmt: skip


def table() -> None:
    """The worth of each shape at linear's best rate, and off it; and at its own best."""
    worth: dict[tuple[str, int], list[float]] = defaultdict(list)
    own: dict[str, list[float]] = defaultdict(list)
    moved: dict[str, list[float]] = defaultdict(list)
    paths = sorted((HERE / "tails").glob("*.json"))
    for path in paths:
        one = json.loads(path.read_text(encoding="utf-8"))
        best: dict[str, tuple[float, float]] = {}
        for row in one["rows"]:
            name, error = row["shape"], of_row(row)
            octave = round(math.log2(row["rate"] / one["best"]))
            worth[name, octave].append(effective_budget(one["curve"], error))
            best[name] = min(best.get(name, (math.inf, 0.0)), (error, row["rate"]))
        for name, (error, rate) in best.items():
            own[name].append(effective_budget(one["curve"], error))
            moved[name].append(math.log2(rate / one["best"]))
    print(f"{len(paths)} trainings of the development half; median / mean / lowest of effective budget, %\n")
    offsets = range(-3, 4)
    print("shape             at its best rate  (octaves off)" + "".join(f"{offset:+16d}" for offset in offsets))
    for name, errors in own.items():
        cells = [worth.get((name, offset), [math.nan]) for offset in offsets]
        print(
            f"{name:17} {text(errors)}  {mean(moved[name]):+.1f}             "
            + "".join(f"{text(cell):>16}" for cell in cells)
        )


def text(shares: Sequence[float]) -> str:
    """Median, mean and lowest."""
    return f"{100 * median(shares):3.0f} {100 * mean(shares):3.0f} {100 * min(shares):3.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--numbers", type=int, nargs="+", default=[60])
    parser.add_argument("--families", nargs="+", default=list(FAMILIES))
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    if arguments.table:
        table()
        return
    torch.set_num_threads(1)
    for number in arguments.numbers:
        for name in arguments.families:
            path = HERE / "tails" / f"{name}-{number}.json"
            if FAMILIES[name].half == "development" and not path.exists():
                write_json(path, make(name, number))
                print(path.name, flush=True)


if __name__ == "__main__":
    main()
