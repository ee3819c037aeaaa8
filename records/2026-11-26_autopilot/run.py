"""Runs of the autopilot and of what else needs no tuning, on members of the zoo; a file each, not made again.

python records/2026-11-26_autopilot/run.py --half unseen --methods autopilot third lrtuner learned folk one_cycle
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import rivals
import torch

import lehr
from lehr.lab.files import write_json
from lehr.lab.seeds import seed_everything
from lehr.lab.zoo import FAMILIES, Member

HERE = Path(__file__).parent
SEEDS = range(3)
TEST_UPDATES = 100
"""Of a range test, at least; a tenth of the budget if that is more."""


@dataclass(frozen=True)
class Outcome:
    """What a method did, and what it spent before the main run."""

    rate: float | None
    spent: float
    notes: str = ""


def fit_with(training: lehr.Training, updates: int, spent: int, policy: Any) -> lehr.FitResult:
    """The main run with what is left."""
    return lehr.fit(training, f"{max(1, updates - spent)}steps", policy, progress=False)


def by_autopilot(training: lehr.Training, member: Member, updates: int) -> Outcome:
    """Nothing said."""
    result = lehr.fit(training, f"{updates}steps", progress=False)
    assert result.choice is not None
    return Outcome(result.choice.rate, result.choice.spent, result.explain())


def test_range(training: lehr.Training, updates: int) -> tuple[lehr.RangeTestResult, int]:
    """A range test of a tenth of the budget, but of a hundred updates at least."""
    steps = max(TEST_UPDATES, updates // 10)
    result = lehr.range_test(training, low=1e-5, high=10.0, steps=steps)
    return result, len(result.losses)


def by_third(training: lehr.Training, member: Member, updates: int) -> Outcome:
    """A third of the range test's edge, 20 % warm-up, linear to zero; where there is no edge, of its highest rate."""
    result, spent = test_range(training, updates)
    try:
        edge, notes = result.edge(), ""
    except lehr.NoSuggestion as none:
        edge, notes = result.rates[-1], str(none)
    training.set_peak(edge / 3.0)
    fit_with(training, updates, spent, lehr.Linear().after_warmup(0.2))
    return Outcome(edge / 3.0, spent, notes)


def by_one_cycle(training: lehr.Training, member: Member, updates: int) -> Outcome:
    """One cycle up to the rate of the steepest descent, as torch-lr-finder suggests."""
    result, spent = test_range(training, updates)
    try:
        rate, notes = result.steepest(), ""
    except lehr.NoSuggestion as none:
        rate, notes = result.rates[-1] / 10.0, str(none)
    training.set_peak(rate)
    fit_with(training, updates, spent, lehr.one_cycle())
    return Outcome(rate, spent, notes)


def by_folk(training: lehr.Training, member: Member, updates: int, adamw: float = 1e-3) -> Outcome:
    """SGD at 0.1 with a cosine; AdamW at 1e-3 with warm-up and cosine."""
    adaptive = member.recipe.optimizer == "adamw"
    rate = adamw if adaptive else 0.1
    training.set_peak(rate)
    fit_with(training, updates, 0, lehr.Cosine().after_warmup(0.05) if adaptive else lehr.Cosine())
    return Outcome(rate, 0)


def by_lrtuner(training: lehr.Training, member: Member, updates: int) -> Outcome:
    """lehr's tuner, from a rate that says nothing; its looks count as a third of an update."""
    training.set_peak(1e-6)
    policy = lehr.LRTuner()
    fit_with(training, updates, round(0.05 * updates), policy)
    return Outcome(None, policy.forward_passes / 3.0)


def by_learned(training: lehr.Training, member: Member, updates: int) -> Outcome:
    """lehr's learned schedule from the range test's edge."""
    result, spent = test_range(training, updates)
    try:
        edge, notes = result.edge(), ""
    except lehr.NoSuggestion as none:
        edge, notes = result.rates[-1], str(none)
    training.set_peak(edge)
    fit_with(training, updates, spent, lehr.LearnedSchedule.pretrained())
    return Outcome(edge, spent, notes)


def by_schedule_free(training: lehr.Training, member: Member, updates: int) -> Outcome:
    """Schedule-free to the end, the batches for batch norm within the budget."""
    optimizer: Any = training.optimizers[0]
    spent = round(rivals.AVERAGED / 3.0 / training.accumulate) if rivals.needs_statistics(training) else 0
    optimizer.train()
    fit_with(training, updates, spent, lehr.Constant())
    rivals.take_average(training, optimizer)
    return Outcome(None, spent)


def by_schedule_free_plus(training: lehr.Training, member: Member, updates: int) -> Outcome:
    """The same, with a warm-up from outside and the loss at each step."""
    optimizer: Any = training.optimizers[0]
    spent = round(rivals.AVERAGED / 3.0 / training.accumulate) if rivals.needs_statistics(training) else 0
    optimizer.train()
    schedule = lehr.Constant().after_warmup(rivals.WARM_UP)
    fit_with(training, updates, spent, rivals.HandsLoss(optimizer, schedule))
    rivals.take_average(training, optimizer)
    return Outcome(None, spent)


def by_prodigy(training: lehr.Training, member: Member, updates: int) -> Outcome:
    """Prodigy with a cosine."""
    fit_with(training, updates, 0, lehr.Cosine())
    return Outcome(None, 0)


METHODS: dict[str, Callable[[lehr.Training, Member, int], Outcome]] = {
    "autopilot": by_autopilot,
    "third": by_third,
    "lrtuner": by_lrtuner,
    "learned": by_learned,
    "folk": by_folk,
    "folk_low": partial(by_folk, adamw=3e-4),
    "one_cycle": by_one_cycle,
    "schedule_free": by_schedule_free,
    "schedule_free_adamw": by_schedule_free,
    "schedule_free_plus": by_schedule_free_plus,
    "prodigy": by_prodigy,
}
OPTIMIZERS = {
    "schedule_free": rivals.schedule_free,
    "schedule_free_adamw": rivals.schedule_free_adamw,
    "schedule_free_plus": rivals.schedule_free_plus,
    "prodigy": rivals.prodigy,
}
"""Of methods that bring their own."""


def make_run(method: str, family: str, number: int, updates: int, seed: int) -> dict[str, Any]:
    """One run, and its validation error at the end; None for one that diverged."""
    member = FAMILIES[family].member(number)
    seed_everything(seed)
    own = OPTIMIZERS.get(method)
    training = member.training(seed, own and (lambda model: own(member.recipe, model, updates)))
    began, failed = time.monotonic(), ""
    try:
        outcome = METHODS[method](training, member, updates)
    except (lehr.NoSuggestion, ValueError, ZeroDivisionError) as error:
        outcome, failed = Outcome(None, 0), str(error)
    seconds = time.monotonic() - began
    for module in training.modules:
        module.eval()
    with torch.no_grad():
        error = member.evaluate(training, "validation")
    return {
        "method": method, "family": family, "number": number, "updates": updates, "seed": seed,
        "half": FAMILIES[family].half, "error": error, "rate": outcome.rate, "spent": outcome.spent,
        "notes": outcome.notes, "failed": failed, "seconds": seconds, "torch": torch.__version__,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--half", choices=("development", "unseen"), required=True)
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--families", nargs="+", default=list(FAMILIES))
    parser.add_argument("--numbers", type=int, nargs="+", default=[0])
    parser.add_argument("--shorter", action="store_true", help="the shorter budget of each family alone")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for number in arguments.numbers:
        for family in arguments.families:
            if FAMILIES[family].half != arguments.half:
                continue
            for updates in FAMILIES[family].updates[: 1 if arguments.shorter else None]:
                for method in arguments.methods:
                    for seed in SEEDS:
                        path = HERE / "runs" / f"{family}-{number}-{updates}-{method}-{seed}.json"
                        if not path.exists():
                            write_json(path, make_run(method, family, number, updates, seed))


if __name__ == "__main__":
    main()
