"""How much is spent: counting, seconds, pauses, changes of budget, and restarts."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lehr import Budget
from lehr.budget import Clock


class Watch:
    """A clock that tests turn by hand."""

    def __init__(self) -> None:
        self.time = 1_000.0

    def __call__(self) -> float:
        return self.time


@given(st.integers(1, 10_000))
def test_steps_are_exact(total: int) -> None:
    clock = Clock(Budget(steps=total))
    for k in range(min(total, 50)):
        assert clock.progress == k / total
        assert not clock.finished
        clock.tick()
    if total <= 50:
        assert clock.finished
        assert clock.progress == 1.0


def test_samples_add_up_what_each_update_used() -> None:
    clock = Clock(Budget(samples=100))
    for batch in (40, 40, 20):
        assert not clock.finished
        clock.tick(amount=batch)
    assert clock.finished
    with pytest.raises(ValueError, match="give samples_per_step to Budget, or call scheduler.observe"):
        clock.tick()


def test_epochs_may_end_between_updates() -> None:
    clock = Clock(Budget(epochs=0.5, steps_per_epoch=5))
    clock.tick(2)
    assert not clock.finished
    clock.tick()
    assert clock.finished


def test_endless_budgets_never_finish() -> None:
    clock = Clock(Budget.every(steps=10))
    clock.tick(25)
    assert clock.progress == 2.5
    assert not clock.finished
    assert clock.remaining == math.inf


def test_seconds_follow_the_watch_but_for_pauses() -> None:
    watch = Watch()
    clock = Clock(Budget(seconds=100), now=watch)
    watch.time += 10
    clock.tick()
    assert clock.spent == 10
    with clock.paused():
        watch.time += 50
        clock.tick()
        assert clock.spent == 10
        with clock.paused():
            watch.time += 50
        watch.time += 50
    watch.time += 5
    clock.tick()
    assert clock.spent == 15
    assert clock.remaining == 85


def test_a_pause_ends_when_its_body_fails() -> None:
    watch = Watch()
    clock = Clock(Budget(seconds=100), now=watch)
    with pytest.raises(RuntimeError), clock.paused():
        raise RuntimeError
    watch.time += 7
    clock.tick()
    assert clock.spent == 7


def test_seconds_go_on_after_a_restart() -> None:
    watch = Watch()
    clock = Clock(Budget(seconds=100), now=watch)
    watch.time += 30
    clock.tick()
    state = clock.state_dict()
    watch.time += 5_000  # down for a while
    fresh = Clock(Budget(seconds=100), now=watch)
    watch.time += 3  # getting ready, before the checkpoint is loaded
    fresh.load_state_dict(state)
    watch.time += 2
    fresh.tick()
    assert fresh.spent == 32


def test_agreement_decides_seconds() -> None:
    clock = Clock(Budget(seconds=100), now=Watch(), agree=lambda elapsed: elapsed + 40)
    clock.tick()
    assert clock.progress == 0.4


@given(st.integers(2, 1_000), st.integers(1, 1_000), st.data())
def test_continuing_under_another_budget_does_not_jump(total: int, more: int, data: st.DataObject) -> None:
    spent = data.draw(st.integers(1, total - 1))
    clock = Clock(Budget(steps=total))
    clock.tick(spent)
    before = clock.progress
    clock.rebudget(Budget(steps=spent + more), "continue")
    assert clock.progress == before
    clock.tick(more)
    assert clock.progress == pytest.approx(1.0)
    assert clock.finished


def test_jumping_is_as_if_it_had_been_known() -> None:
    clock = Clock(Budget(steps=100))
    clock.tick(50)
    clock.rebudget(Budget(steps=200), "jump")
    assert clock.progress == 0.25


def test_cutting_below_what_is_spent_finishes() -> None:
    for how in ("continue", "jump"):
        clock = Clock(Budget(steps=100))
        clock.tick(50)
        clock.rebudget(Budget(steps=40), how)  # type: ignore[arg-type]
        assert clock.finished
        assert clock.progress >= 1.0
        assert clock.remaining == 0


def test_steps_and_epochs_may_replace_each_other() -> None:
    clock = Clock(Budget(steps=100))
    clock.tick(50)
    clock.rebudget(Budget(epochs=3, steps_per_epoch=50), "jump")
    assert clock.progress == pytest.approx(1 / 3)


def test_other_units_may_not() -> None:
    clock = Clock(Budget(steps=100))
    with pytest.raises(ValueError, match="budget counts seconds, but this run has spent steps"):
        clock.rebudget(Budget(seconds=100), "jump")
    with pytest.raises(ValueError, match="how must be 'continue' or 'jump'; got 'stretch'"):
        clock.rebudget(Budget(steps=10), "stretch")  # type: ignore[arg-type]
