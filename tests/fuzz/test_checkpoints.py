"""A checkpoint that somebody spoilt is refused in one sentence and changes nothing, or it gives rates."""

from __future__ import annotations

import math
from copy import deepcopy
from functools import cache
from itertools import islice
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import lehr
from contract.policies import POLICIES
from contract.training import STEPS, Run
from fuzz.mutations import SEARCHING, bounded, fuzzed, replaced, same, spoil

BUDGETS = {
    "steps": lehr.Budget(steps=STEPS),
    "samples": lehr.Budget(samples=8 * STEPS, samples_per_step=8),
    "seconds": lehr.Budget(seconds=3_600),
    "endless": lehr.Budget.every(steps=10),
}


class Subject:
    """A run in the middle, what its checkpoint holds, and how to begin again."""

    def __init__(self, policy: str, budget: str, *, finishing: bool) -> None:
        self.run = Run(POLICIES[policy], budget=BUDGETS[budget]).run(7)
        if finishing:
            self.run.scheduler.finish_by(lehr.Budget(steps=10))
            self.run.run(2)
        self.state = deepcopy(self.run.scheduler.state_dict())
        self.model = deepcopy(self.run.model.state_dict())
        self.optimizer = deepcopy(self.run.optimizer.state_dict())

    def begin_again(self) -> None:
        self.run.model.load_state_dict(self.model)
        self.run.optimizer.load_state_dict(deepcopy(self.optimizer))
        self.run.scheduler.load_state_dict(deepcopy(self.state))
        self.run.rates.clear()


@cache
def subject(policy: str, budget: str, *, finishing: bool) -> Subject:
    return Subject(policy, budget, finishing=finishing)


def check_sentence(refusal: ValueError, most: int = 10_000) -> None:
    assert 0 < len(str(refusal)) < most


def without_time(state: dict[str, Any]) -> dict[str, Any]:
    return {**state, "clock": {name: value for name, value in state["clock"].items() if name != "elapsed"}}


def check_refused_or_gives_rates(made: Subject, spoilt: Any) -> None:
    scheduler = made.run.scheduler
    before, weights, rates = deepcopy(scheduler.state_dict()), made.run.weights(), scheduler.get_last_lr()
    try:
        with bounded(megabytes=256):
            scheduler.load_state_dict(spoilt)
    except ValueError as refusal:
        check_sentence(refusal)
        assert same(without_time(scheduler.state_dict()), without_time(before))
        assert torch.equal(made.run.weights(), weights)
        assert scheduler.get_last_lr() == rates
    else:
        made.run.rates.clear()
        try:
            with bounded(megabytes=256):
                made.run.run(3)
        finally:
            given = [*made.run.rates, scheduler.get_last_lr()]
            assert all(math.isfinite(rate) and rate >= 0.0 for row in given for rate in row)
            made.begin_again()


@pytest.mark.filterwarnings("ignore::lehr.BudgetWarning")
@pytest.mark.parametrize("policy", POLICIES)
@fuzzed
@given(st.data())
def test_a_spoilt_checkpoint_is_refused_or_gives_rates(policy: str, data: st.DataObject) -> None:
    made = subject(policy, data.draw(st.sampled_from(list(BUDGETS))), finishing=data.draw(st.booleans()))
    check_refused_or_gives_rates(made, spoil(made.state, data))


@pytest.mark.filterwarnings("ignore::lehr.BudgetWarning")
@pytest.mark.parametrize("policy", POLICIES)
def test_each_part_replaced_by_each_odd_value(policy: str) -> None:
    made = subject(policy, "seconds", finishing=True)
    for spoilt in islice(replaced(made.state), 0, None, 1 if SEARCHING else 97):
        check_refused_or_gives_rates(made, spoilt())


@pytest.mark.parametrize("whole", [None, 3, "state", [], {}, [1, 2], {"clock": {}}, object()])
def test_what_is_no_state_at_all_is_refused(whole: Any) -> None:
    made = subject("schedule", "steps", finishing=False)
    before = made.run.scheduler.state_dict()
    with pytest.raises(ValueError, match="checkpoint"):
        made.run.scheduler.load_state_dict(whole)
    assert same(made.run.scheduler.state_dict(), before)


def test_memory_taken_for_a_moment_is_seen_each_time() -> None:
    for _ in range(2):
        with pytest.raises(AssertionError, match="MB"), bounded(megabytes=64):
            torch.ones(2**25)
    with pytest.raises(AssertionError, match=" s"), bounded(megabytes=64, seconds=0.0):
        torch.ones(1)
    with bounded(megabytes=64):
        torch.ones(2**10)
