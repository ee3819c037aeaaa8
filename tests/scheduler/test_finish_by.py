"""Less is left than was planned: down to zero from wherever training is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import lehr


def made(policy: object = None, budget: lehr.Budget | None = None, groups: int = 1, **more: object) -> lehr.Scheduler:
    parameters = [{"params": [torch.zeros(1, requires_grad=True)], "lr": 1.0 / (1 + i)} for i in range(groups)]
    return lehr.Scheduler(
        torch.optim.SGD(parameters), policy or lehr.Constant(), budget or lehr.Budget(steps=100), **more  # type: ignore[arg-type]
    )  # fmt: skip


def advance(scheduler: lehr.Scheduler, updates: int = 10**6) -> list[list[float]]:
    rates: list[list[float]] = []
    while len(rates) < updates and not scheduler.finished:
        rates.append(scheduler.get_last_lr())
        scheduler.optimizer.step()
        scheduler.step()
    return rates


def test_from_todays_rate_linearly_to_zero() -> None:
    scheduler = made()
    advance(scheduler, 30)
    scheduler.finish_by(lehr.Budget(steps=10))
    rates = [rate for (rate,) in advance(scheduler)]
    assert rates == pytest.approx([1.0 - k / 10 for k in range(10)])
    assert scheduler.get_last_lr() == [0.0]
    assert scheduler.last_epoch == 40
    assert scheduler.budget == lehr.Budget(steps=40)


@pytest.mark.parametrize("spent", [0, 1, 50, 99])
def test_at_any_time_without_a_jump(spent: int) -> None:
    scheduler = made(lehr.one_cycle())
    advance(scheduler, spent)
    before = scheduler.get_last_lr()
    scheduler.finish_by(lehr.Budget(epochs=2, steps_per_epoch=5), shape=lehr.OneMinusSqrt())
    assert scheduler.get_last_lr() == pytest.approx(before)
    assert len(advance(scheduler)) == 10
    assert scheduler.get_last_lr() == [0.0]


def test_groups_keep_their_ratios_and_policies_are_asked_no_more() -> None:
    class Asked(lehr.Policy):
        needs = ("loss",)

        def factors(self, moment: lehr.Moment) -> tuple[float, ...]:
            return (0.5, 1.0) if moment.loss is None else (0.25, 0.5)

        def __repr__(self) -> str:
            return "Asked()"

    scheduler = made(Asked(), groups=2)
    scheduler.observe(loss=1.0)
    scheduler.finish_by(lehr.Budget(steps=4))
    for rate in (1.0, 0.75, 0.5, 0.25):
        assert scheduler.get_last_lr() == pytest.approx([0.25 * rate, 0.25 * rate])
        scheduler.observe(loss=2.0)
        advance(scheduler, 1)
    assert scheduler.finished


def test_the_machine_leaves_in_ten_minutes() -> None:
    """A run that counts tokens finishes by the clock."""
    time = [0.0]
    scheduler = made(lehr.Cosine(), lehr.Budget(tokens=1e9, tokens_per_step=1e6), now=lambda: time[0])
    for _ in range(100):
        time[0] += 3.0
        advance(scheduler, 1)
    progress, rate = scheduler.progress, scheduler.get_last_lr()
    scheduler.finish_by(lehr.Budget(seconds=600))
    assert (scheduler.progress, scheduler.get_last_lr()) == (progress, pytest.approx(rate))
    assert scheduler.remaining == 600
    updates = 0
    while not scheduler.finished:
        time[0] += 3.0
        advance(scheduler, 1)
        updates += 1
    assert updates == 200
    assert scheduler.get_last_lr() == [0.0]


def test_the_other_way_round_from_seconds_to_updates() -> None:
    time = [0.0]
    scheduler = made(budget=lehr.Budget(seconds=100), now=lambda: time[0])
    for _ in range(7):
        time[0] += 5.0
        advance(scheduler, 1)
    scheduler.finish_by(lehr.Budget(steps=10))
    assert len(advance(scheduler)) == 10
    samples = made()
    advance(samples, 3)
    samples.finish_by(lehr.Budget(samples=64, samples_per_step=32))
    assert len(advance(samples)) == 2


@pytest.mark.parametrize("unit", ["steps", "seconds"])
def test_a_checkpoint_remembers(unit: str) -> None:
    def start() -> lehr.Scheduler:
        return made(lehr.Cosine(), groups=2, now=lambda: time[0])

    def train(scheduler: lehr.Scheduler, updates: int = 10**6) -> list[list[float]]:
        rates: list[list[float]] = []
        while len(rates) < updates and not scheduler.finished:
            time[0] += 1.0
            rates += advance(scheduler, 1)
        return rates

    time = [0.0]
    scheduler = start()
    train(scheduler, 20)
    scheduler.finish_by(lehr.Budget(**{unit: 12}))  # type: ignore[arg-type]
    train(scheduler, 5)
    state = scheduler.state_dict()
    rest = train(scheduler)
    again = start()  # the script is the same as before
    again.load_state_dict(state)
    again.clock.start()
    assert train(again) == rest
    assert len(rest) == 7
    assert again.budget == scheduler.budget


def test_a_rebudgeted_run_resumes_under_either_budget() -> None:
    scheduler = made(lehr.Linear())
    advance(scheduler, 20)
    scheduler.rebudget(lehr.Budget(steps=60), how="continue")
    state = scheduler.state_dict()
    rest = advance(scheduler)
    for budget in (100, 60):
        again = made(lehr.Linear(), lehr.Budget(steps=budget))
        again.load_state_dict(state)
        assert advance(again) == rest
    other = made(lehr.Linear(), lehr.Budget(steps=70))
    with pytest.raises(ValueError, match="the budget changed"):
        other.load_state_dict(state)
    other.load_state_dict(state, accept="budget")
    assert other.progress == 20 / 70


def test_the_length_becomes_known() -> None:
    """An iterable data set: its length is guessed, and corrected after the first epoch."""
    scheduler = made(lehr.Linear(), lehr.Budget(epochs=3, steps_per_epoch=100))
    advance(scheduler, 40)  # and that was the epoch
    scheduler.rebudget(lehr.Budget(epochs=3, steps_per_epoch=scheduler.last_epoch), how="jump")
    assert scheduler.progress == pytest.approx(1 / 3)
    assert len(advance(scheduler)) == 80
    assert scheduler.get_last_lr() == [0.0]


def test_an_open_ended_run_finishes_from_any_cycle() -> None:
    scheduler = made(lehr.Triangular(low=0.5), lehr.Budget.every(steps=4))
    advance(scheduler, 9)
    before = scheduler.get_last_lr()
    scheduler.finish_by(lehr.Budget(steps=4))
    assert [rate for (rate,) in advance(scheduler)] == pytest.approx([before[0] * (1 - k / 4) for k in range(4)])
    assert scheduler.finished


def test_it_can_be_undone() -> None:
    scheduler = made(lehr.Linear())
    advance(scheduler, 20)
    state = scheduler.state_dict()
    scheduler.finish_by(lehr.Budget(steps=10))
    advance(scheduler, 5)
    scheduler.rebudget(lehr.Budget(steps=100), how="jump")
    assert scheduler.get_last_lr() == [0.75]
    scheduler.finish_by(lehr.Budget(steps=10))
    scheduler.load_state_dict(state)
    assert scheduler.get_last_lr() == [0.8]
    assert len(advance(scheduler)) == 80


def test_what_an_update_spends_is_still_known() -> None:
    scheduler = made(budget=lehr.Budget(samples=1000, samples_per_step=10))
    advance(scheduler, 3)
    scheduler.finish_by(lehr.Budget(samples=50))
    assert len(advance(scheduler)) == 5
    mixed = made(budget=lehr.Budget(samples=1000))
    mixed.observe(samples=32)
    mixed.finish_by(lehr.Budget(steps=10))
    assert len(advance(mixed)) == 10


def test_groups_that_changed_are_refused_before_anything_is_loaded() -> None:
    scheduler = made([lehr.Linear(), lehr.Constant()], groups=2)
    advance(scheduler, 10)
    scheduler.finish_by(lehr.Budget(steps=10))
    other = made(lehr.Linear(), groups=3)
    with pytest.raises(ValueError, match="was finishing 2 parameter groups"):
        other.load_state_dict(scheduler.state_dict(), accept=["groups", "curve"])
    assert other.progress == 0.0


def test_preview_shows_the_way_down() -> None:
    scheduler = made()
    advance(scheduler, 50)
    scheduler.finish_by(lehr.Budget(steps=5))
    assert "5" in str(scheduler.preview())


def test_a_long_shape_is_remembered_or_refused_before_anything_changes() -> None:
    def stairs(many: int) -> lehr.Schedule:
        return lehr.Steps(at=tuple(k / (many + 1) for k in range(1, many + 1)), gamma=0.99)

    scheduler = made()
    advance(scheduler, 30)
    scheduler.finish_by(lehr.Budget(steps=10), shape=stairs(300))
    again = made()
    again.load_state_dict(scheduler.state_dict())
    assert advance(again) == advance(scheduler)
    code = "Linear()" + " * Rex()" * 100
    for shape in (stairs(900), lehr.parse_schedule(code), lehr.parse_schedule("Linear()" + ".clip()" * 99)):
        scheduler = made()
        advance(scheduler, 30)
        state = scheduler.state_dict()
        with pytest.raises(ValueError, match="shape must be one schedule made of lehr's own, so that a checkpoint"):
            scheduler.finish_by(lehr.Budget(steps=10), shape=shape)
        assert {**scheduler.state_dict(), "clock": None} == {**state, "clock": None}
        assert scheduler.budget == lehr.Budget(steps=100)


def test_a_shape_of_numbers_from_numpy() -> None:
    scheduler = made()
    advance(scheduler, 30)
    scheduler.finish_by(lehr.Budget(steps=10), shape=lehr.Linear(end=np.float64(0.1)))  # type: ignore[arg-type]
    again = made()
    again.load_state_dict(scheduler.state_dict())
    assert advance(again) == advance(scheduler)


def test_bad_use_is_told() -> None:
    class Mine(lehr.Schedule):
        def factor_at(self, progress: float, xp: object) -> float:
            return progress

    scheduler = made()
    with pytest.raises(ValueError, match="shape must be one schedule made of lehr's own"):
        scheduler.finish_by(lehr.Budget(steps=5), shape=Mine())
    with pytest.raises(ValueError, match="left must have an end"):
        scheduler.finish_by(lehr.Budget.every(steps=5))
    with pytest.raises(ValueError, match="shape must start at 1"):
        scheduler.finish_by(lehr.Budget(steps=5), shape=lehr.Linear().after_warmup(0.5))
    with pytest.raises(TypeError, match=r"left must be a lehr\.Budget"):
        scheduler.finish_by(600)  # type: ignore[arg-type]
    assert scheduler.get_last_lr() == [1.0]
    warm = made(lehr.Linear().after_warmup(0.1))
    with pytest.warns(lehr.BudgetWarning, match="today's rate is 0"):
        warm.finish_by(lehr.Budget(steps=5))
    advance(scheduler)
    with pytest.raises(ValueError, match="nothing is left to anneal"):
        scheduler.finish_by(lehr.Budget(steps=5))
