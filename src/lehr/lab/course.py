"""The way of a run through its budget: a policy all along, or an autopilot's search and then what it chose."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import lehr
from lehr.lab.loop import Loop


@dataclass(frozen=True)
class Course:
    """What drives a run.

    Args:
        policy: of the run.
        budget: what is left for it.
        begun: the share of the whole budget that is spent before.
        explanation: what a search within the budget tried, saw and chose; empty if there was none.
    """

    policy: lehr.Schedule | lehr.Policy
    budget: lehr.Budget
    begun: float = 0.0
    explanation: str = ""

    def progress(self, of_rest: float) -> float:
        """The share of the whole budget that is spent, from that of the rest."""
        return self.begun + (1.0 - self.begun) * of_rest


def course(made: lehr.Schedule | lehr.Policy | lehr.Autopilot, loop: Loop, budget: lehr.Budget) -> Course:
    """The course of a loop at its start; an autopilot searches now, and its passes and time count as the loop's.

    Raises:
        NoSuggestion: if an autopilot finds no rate that lowers the loss.
    """
    if not isinstance(made, lehr.Autopilot):
        return Course(made, budget)
    calls, began = 0, time.monotonic()

    def count(*_: Any) -> None:
        nonlocal calls
        calls += 1

    hooks = [module.register_forward_pre_hook(count) for module in loop.training.modules[:1]]
    try:
        choice = made.begin(loop.training, budget)
    finally:
        for hook in hooks:
            hook.remove()
    loop.search_passes += round(calls / loop.training.accumulate)
    loop.search_seconds += time.monotonic() - began
    return Course(choice.policy(), choice.rest, 1.0 - choice.rest.total / choice.budget.total, choice.explain())
