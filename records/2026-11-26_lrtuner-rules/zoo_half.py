"""The development half of the zoo with a grid of rates for each training, and what an error there is worth."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import lehr
from lehr.lab.zoo import FAMILIES, Member
from lehr.lab.zoo.stack import StackRun, train_stack

HERE = Path(__file__).parent
LENGTHS = (300, 1_000)
SHAPE = lehr.Linear().after_warmup(0.2)
WIDE = [10.0 ** (exponent / 2) for exponent in range(-11, 6)]
"""Rates of the first look."""

FAMILY_NAMES = [name for name, family in FAMILIES.items() if family.half == "development"]


@dataclass(frozen=True)
class Grid:
    """The errors of linear decay with 20 % warm-up at ten rates, two seeds each, in 300 and in 1,000 updates."""

    family: str
    number: int
    rates: list[float]
    errors: dict[int, list[float]]

    @property
    def member(self) -> Member:
        """The training."""
        return FAMILIES[self.family].member(self.number)

    @property
    def best(self) -> float:
        """The logarithm to base 2 of the rate that is best for 1,000 updates, by a parabola."""
        logs = [math.log(error) for error in self.errors[1_000]]
        at = min(range(len(logs)), key=logs.__getitem__)
        middle = math.log2(self.rates[at])
        if not 0 < at < len(logs) - 1 or logs[at + 1] > math.log(1e8):
            return middle
        bend = logs[at - 1] - 2.0 * logs[at] + logs[at + 1]
        return middle + (0.5 * (logs[at - 1] - logs[at + 1]) / bend if bend > 0.0 else 0.0)

    def worth(self, error: float) -> float:
        """The share of 1,000 updates that the best rate needs for that error, by a power law through both lengths."""
        if not math.isfinite(error) or error <= 0.0:
            return 0.0
        short, long = (min(self.errors[length]) for length in LENGTHS)
        power = math.log(short / long) / math.log(LENGTHS[1] / LENGTHS[0])
        return float(min(1.3, (long / error) ** (1.0 / power)))


def grids() -> list[Grid]:
    """All that are there."""
    found = []
    for path in sorted((HERE / "grids").glob("*.json")):
        kept = json.loads(path.read_text())
        errors = {
            length: [fmean(1e9 if error is None else error for error in own) for _, own in kept[str(length)]]
            for length in LENGTHS
        }
        found.append(Grid(kept["family"], kept["number"], [rate for rate, _ in kept["1000"]], errors))
    return found


def main() -> None:
    """Make the grids that are not there yet: numbers 1 to 6 of each family."""
    (HERE / "grids").mkdir(exist_ok=True)
    for number in range(1, 7):
        for family in FAMILY_NAMES:
            path = HERE / "grids" / f"{family}-{number}.json"
            if path.exists():
                continue
            member = FAMILIES[family].member(number)
            short = train_stack(member, [StackRun(0, rate, lehr.Linear().after_warmup(0.05)) for rate in WIDE], 100)
            middle = WIDE[min(range(len(WIDE)), key=short.__getitem__)]
            rates = [middle * 2.0**octave for octave in range(-5, 5)]
            kept: dict[str, object] = {"family": family, "number": number, "recipe": repr(member.recipe)}
            for length in LENGTHS:
                errors = train_stack(member, [StackRun(seed, rate, SHAPE) for rate in rates for seed in (0, 1)], length)
                own = [
                    [error if math.isfinite(error) else None for error in errors[2 * i : 2 * i + 2]] for i in range(10)
                ]
                kept[str(length)] = list(zip(rates, own, strict=True))
            path.write_text(json.dumps(kept))


if __name__ == "__main__":
    main()
