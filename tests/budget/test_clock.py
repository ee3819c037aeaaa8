"""How much is spent: counting, seconds, pauses, changes of budget, and restarts."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lehr.budget import Budget, Clock


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
    clock.start()
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
    clock.start()
    with pytest.raises(RuntimeError), clock.paused():
        raise RuntimeError
    watch.time += 7
    clock.tick()
    assert clock.spent == 7


def test_seconds_go_on_after_a_restart() -> None:
    watch = Watch()
    clock = Clock(Budget(seconds=100), now=watch)
    clock.start()
    watch.time += 30
    clock.tick()
    state = clock.state_dict()
    watch.time += 5_000  # down for a while
    fresh = Clock(Budget(seconds=100), now=watch)
    fresh.start()
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


class TestStart:
    def test_what_comes_before_the_first_update_is_not_spent(self) -> None:
        watch = Watch()
        clock = Clock(Budget(seconds=100), now=watch)
        watch.time += 60  # loading, preparing, compiling
        assert clock.elapsed() == 0
        clock.start()
        watch.time += 5
        clock.start()  # a second time changes nothing
        watch.time += 5
        clock.tick()
        assert clock.spent == 10

    def test_a_first_tick_starts_it_where_nobody_did(self) -> None:
        watch = Watch()
        clock = Clock(Budget(seconds=100), now=watch)
        watch.time += 60
        clock.tick()
        watch.time += 5
        clock.tick()
        assert clock.spent == 5

    def test_a_restart_waits_for_its_first_update_too(self) -> None:
        watch = Watch()
        clock = Clock(Budget(seconds=100), now=watch)
        clock.start()
        watch.time += 30
        state = clock.state_dict()
        fresh = Clock(Budget(seconds=100), now=watch)
        fresh.load_state_dict(state)
        watch.time += 500
        fresh.start()
        watch.time += 2
        fresh.tick()
        assert fresh.spent == 32

    def test_going_back_within_a_process_goes_on_at_once(self) -> None:
        watch = Watch()
        clock = Clock(Budget(seconds=100), now=watch)
        clock.start()
        state = clock.state_dict()
        watch.time += 30
        clock.load_state_dict(state)
        watch.time += 2
        clock.tick()
        assert clock.spent == 2

    def test_pauses_before_and_round_the_start(self) -> None:
        watch = Watch()
        clock = Clock(Budget(seconds=100), now=watch)
        with clock.paused():
            watch.time += 5
            clock.start()
            watch.time += 5
        watch.time += 1
        assert clock.elapsed() == 1

    def test_less_is_left_from_now_on(self) -> None:
        """A machine that leaves in a minute does so whether the first update has begun or not."""
        watch = Watch()
        clock = Clock(Budget(steps=100), now=watch)
        watch.time += 500
        clock.finish(Budget(seconds=60))
        watch.time += 45
        clock.tick()
        assert clock.progress == 0.75


READINGS = st.lists(
    st.one_of(st.floats(-1e9, 1e9), st.just(math.nan), st.sampled_from([0.0, 3_600.0, -3_600.0, 1.7e9])), max_size=30
)


@given(READINGS, st.data())
def test_time_never_goes_back(readings: list[float], data: st.DataObject) -> None:
    current = [1_000.0]
    clock = Clock(Budget(seconds=100), now=lambda: current[0])
    before = (0.0, 0.0, 0.0)
    for reading in readings:
        current[0] = reading
        if data.draw(st.booleans()):
            with clock.paused():
                current[0] += data.draw(st.floats(-100, 100))
        if data.draw(st.booleans()):
            clock.load_state_dict(clock.state_dict())
        clock.tick()
        now = (clock.elapsed(), clock.spent, clock.progress)
        assert all(math.isfinite(new) and new >= old for new, old in zip(now, before, strict=True))
        before = now


def test_a_clock_that_is_set_back_is_followed_from_there() -> None:
    watch = Watch()
    clock = Clock(Budget(seconds=100), now=watch)
    clock.start()
    watch.time += 10
    clock.tick()
    watch.time -= 3_600
    clock.tick()
    assert clock.spent == 10
    watch.time = math.nan
    clock.tick()
    assert clock.spent == 10
    watch.time = 1_010 - 3_600 + 5
    clock.tick()
    assert clock.spent == 15


@pytest.mark.parametrize("reading", [math.inf, -math.inf, "noon", None, 10**400])
def test_readings_that_are_no_time_are_refused(reading: object) -> None:
    clock = Clock(Budget(seconds=100), now=lambda: reading)  # type: ignore[arg-type, return-value]
    with pytest.raises(ValueError, match="now must give a finite number of seconds"):
        clock.start()


def test_a_clock_that_jumps_beyond_all_time_is_refused() -> None:
    watch = Watch()
    clock = Clock(Budget(seconds=100), now=watch)
    clock.start()
    watch.time = 1e300
    with pytest.raises(ValueError, match=r"now must be a clock in seconds, but between .* and 1e\+300 lies no time"):
        clock.tick()


@pytest.mark.parametrize("agreed", [math.nan, 0.0, -5.0])
def test_an_agreement_takes_nothing_back(agreed: float) -> None:
    answers = iter([10.0, agreed])
    clock = Clock(Budget(seconds=100), now=Watch(), agree=lambda elapsed: next(answers))
    clock.tick(), clock.tick()
    assert clock.spent == 10.0


class TestState:
    @pytest.mark.parametrize("budget", [Budget(steps=10), Budget(epochs=2, steps_per_epoch=5), Budget(samples=9)])
    def test_no_time_is_in_it_where_none_is_spent(self, budget: Budget) -> None:
        watch = Watch()
        clock = Clock(budget, now=watch)
        clock.tick(amount=1)
        before = clock.state_dict()
        watch.time += 100
        assert clock.state_dict() == before
        again = Clock(budget, now=watch)
        again.load_state_dict(before)
        assert again.state_dict() == before

    @pytest.mark.parametrize(
        ("saved", "own", "amount", "spent"),
        [
            ({"samples_per_step": 100}, {"samples_per_step": 50}, None, 450),
            ({}, {"samples_per_step": 50}, None, 450),
            ({"samples_per_step": 100}, {}, 30, 430),
            ({"samples_per_step": 100}, {"samples_per_step": 50}, 30, 430),
        ],
    )
    def test_another_batch_size_holds_from_here_on(
        self, saved: dict[str, float], own: dict[str, float], amount: float | None, spent: float
    ) -> None:
        first = Clock(Budget(samples=1_000, **saved))
        first.tick(amount=400)
        second = Clock(Budget(samples=1_000, **own))
        second.load_state_dict(first.state_dict())
        second.tick(amount=amount)
        assert second.spent == spent
        assert second.asks == (not own)

    def test_the_horizon_is_that_of_the_checkpoint(self) -> None:
        first = Clock(Budget(tokens=1_000, tokens_per_step=10))
        first.rebudget(Budget(tokens=500, tokens_per_step=10), "jump")
        second = Clock(Budget(tokens=1_000, tokens_per_step=20))
        second.load_state_dict(first.state_dict())
        assert second.budget == Budget(tokens=500, tokens_per_step=20)

    def test_finishing_in_samples_keeps_what_was_said_then(self) -> None:
        first = Clock(Budget(steps=100))
        first.finish(Budget(samples=64, samples_per_step=32))
        second = Clock(Budget(steps=100))
        second.load_state_dict(first.state_dict())
        second.tick()
        assert second.spent == 32

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"spent": -1}, "spent must be a finite number, at least 0; got a int"),
            ({"spent": math.nan}, "spent must be a finite number, at least 0; got nan"),
            ({"spent": True}, "spent must be a finite number"),
            ({"spent": "2"}, "spent must be a finite number, at least 0; got a str"),
            ({"spent": 10**400}, "spent must be a finite number"),
            ({"updates": -1}, "updates must be a finite number, at least 0"),
            ({"updates": 2.5}, "updates must be a whole number"),
            ({"updates": 2**64}, "updates must be a whole number"),
            ({"updates": 7}, "spent must be the 7 updates; got 2"),
            ({"spent_at_turn": 3}, "changed later than what is spent"),
            ({"progress_at_turn": 1.5}, "changed later than what is spent"),
            ({"elapsed": 3.0}, "elapsed belongs to a budget in seconds"),
            ({"budget": {"steps": 0}}, "clock: Budget: steps must be above 0"),
            ({"budget": {"steps": -3}}, "budget steps must be a finite number"),
            ({"budget": {"steps": 10, "epochs": 3}}, "clock: Budget takes exactly one"),
            ({"budget": {"epochs": 1e200, "steps_per_epoch": 1e200}}, "must lie between 1e-30 and"),
            ({"budget": {"steps": 10, "when": 3}}, "budget must be a dictionary of what Budget takes"),
            ({"budget": {"steps": 10, "endless": 1}}, "endless must be True or False"),
            ({"budget": [10]}, "budget must be a dictionary"),
            ({"budget": {"steps": 1e-12}}, "times the budget"),
            ({"budget": {"seconds": 10}}, "elapsed must be a finite number, at least 0; got a NoneType"),
        ],
    )
    def test_what_no_run_has_is_refused_and_nothing_changes(self, change: dict[str, object], message: str) -> None:
        clock = Clock(Budget(steps=10))
        clock.tick(2)
        state = clock.state_dict()
        with pytest.raises(ValueError, match=message):
            clock.load_state_dict({**state, **change})
        assert clock.state_dict() == state

    @pytest.mark.parametrize("name", ["budget", "spent", "updates", "spent_at_turn", "progress_at_turn"])
    def test_what_is_missing_is_named(self, name: str) -> None:
        state = Clock(Budget(steps=10)).state_dict()
        del state[name]
        with pytest.raises(ValueError, match=f"the checkpoint's clock has no {name}"):
            Clock(Budget(steps=10)).load_state_dict(state)
        with pytest.raises(ValueError, match="must be a dictionary"):
            Clock(Budget(steps=10)).load_state_dict([3])  # type: ignore[arg-type]

    def test_a_step_so_small_that_progress_would_leap_is_refused(self) -> None:
        state = {
            "budget": {"samples": 100.0}, "spent": 1e8, "updates": 3, "spent_at_turn": math.nextafter(100.0, 0.0),
            "progress_at_turn": 0.5,
        }  # fmt: skip
        with pytest.raises(ValueError, match="times the budget"):
            Clock(Budget(samples=100)).load_state_dict(state)
