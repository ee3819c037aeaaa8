"""The learned schedule from the rate that the autopilot's search finds, beside the autopilot's own warm-up and line."""

from __future__ import annotations

import json
import warnings

import torch
from zoo_half import HERE, Grid, grids

import lehr
from lehr.lab.seeds import seed_everything

TIMES = {"the autopilot": None, "learned, from three times its rate": 3.0, "learned, from eight times": 8.0}


def worth(grid: Grid, times: float | None) -> float:
    seed_everything(0)
    training = grid.member.training(0)
    choice = lehr.find_rate(training, "1000steps")
    training.set_peak(choice.rate * (times or 1.0))
    policy = choice.schedule if times is None else lehr.LearnedSchedule.pretrained()
    lehr.fit(training, f"{int(choice.rest.amount)}steps", policy, progress=False)
    for module in training.modules:
        module.eval()
    with torch.no_grad():
        return grid.worth(grid.member.evaluate(training, "validation"))


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    found = {}
    for grid in grids():
        if grid.number in (4, 5, 6):
            found[f"{grid.family}-{grid.number}"] = {name: worth(grid, times) for name, times in TIMES.items()}
            print(grid.family, grid.number, found[f"{grid.family}-{grid.number}"], flush=True)
            (HERE / "from_autopilot.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
