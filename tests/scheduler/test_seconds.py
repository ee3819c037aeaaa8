"""Training by the clock: whatever the throughput does, the last update is at the deadline and at almost no rate."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import lehr

DEADLINE = 1000.0
UPDATES: dict[str, Callable[[int], float]] = {
    "steady": lambda k: 2.0,
    "slows down": lambda k: 0.5 + 0.01 * k,
    "speeds up": lambda k: max(0.3, 8.0 - 0.05 * k),
    "stalls in the middle": lambda k: 300.0 if k == 150 else 2.0,
    "jitters": lambda k: (0.1, 3.7, 1.2)[k % 3],
}


class Watch:
    def __init__(self) -> None:
        self.time = 77.0

    def __call__(self) -> float:
        return self.time


def run(seconds: Callable[[int], float], watch: Watch, scheduler: lehr.Scheduler, most: int = 10**6) -> list[float]:
    """Train until the end; the rates that were used."""
    rates: list[float] = []
    while not scheduler.finished and len(rates) < most:
        rates.append(scheduler.get_last_lr()[0])
        watch.time += seconds(scheduler.last_epoch)
        scheduler.optimizer.step()
        scheduler.step()
    return rates


def made(watch: Watch, schedule: lehr.Schedule | None = None, **arguments: int) -> lehr.Scheduler:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = lehr.Scheduler(
        optimizer, schedule or lehr.Linear(), lehr.Budget(seconds=DEADLINE), now=watch, **arguments  # type: ignore[arg-type]
    )  # fmt: skip
    scheduler.clock.start()  # so that the first batch counts too
    return scheduler


@pytest.mark.parametrize("name", UPDATES)
def test_the_last_update_is_at_the_deadline_and_almost_at_zero(name: str) -> None:
    watch = Watch()
    began = watch.time
    scheduler = made(watch)
    rates = run(UPDATES[name], watch, scheduler)
    last = UPDATES[name](scheduler.last_epoch - 1)
    assert DEADLINE <= watch.time - began < DEADLINE + last
    assert rates[-1] <= 0.01
    assert rates == sorted(rates, reverse=True)


@given(st.lists(st.sampled_from([1.0, 2.5, 3.0, 7.25, 20.0]), min_size=1, max_size=30), st.integers(1, 5))
def test_any_throughput_ends_within_the_updates_between_two_agreements(took: list[float], every: int) -> None:
    watch = Watch()
    began = watch.time
    scheduler = made(watch, agree_every=every)
    rates = run(lambda k: took[k % len(took)], watch, scheduler)
    assert DEADLINE <= watch.time - began < DEADLINE + every * max(took)
    assert rates[-1] <= every * max(took) / DEADLINE + 1e-9


def test_pauses_are_not_spent() -> None:
    watch = Watch()
    scheduler = made(watch)
    run(lambda k: 2.0, watch, scheduler, most=100)
    with scheduler.paused():
        watch.time += 5_000.0
    assert scheduler.progress == 0.2
    run(lambda k: 2.0, watch, scheduler)
    assert scheduler.last_epoch == 500


def test_a_resumed_run_goes_on_where_it_was() -> None:
    watch = Watch()
    first = made(watch)
    rates = run(lambda k: 2.0, watch, first, most=200)
    state = first.state_dict()
    watch.time += 10_000.0  # nobody trains
    second = made(watch)
    second.load_state_dict(state)
    rates += run(lambda k: 2.0, watch, second)
    assert len(rates) == 500
    assert rates == run(lambda k: 2.0, watch, made(watch))


def test_a_fixed_deadline_survives_a_restart() -> None:
    """What is left until the deadline takes the rest of the curve."""
    watch = Watch()
    first = made(watch)
    deadline = watch.time + DEADLINE
    run(lambda k: 2.0, watch, first, most=100)
    factor = first.get_last_lr()
    state = first.state_dict()
    watch.time += 500.0
    second = made(watch)
    second.load_state_dict(state)
    second.rebudget(lehr.Budget(seconds=second.spent + (deadline - watch.time)), how="continue")
    assert second.get_last_lr() == pytest.approx(factor)
    rates = run(lambda k: 2.0, watch, second)
    assert deadline <= watch.time <= deadline + 2.0
    assert rates[-1] <= 0.01


def test_restarts_lose_no_time_where_ranks_seldom_agree() -> None:
    watch = Watch()
    scheduler = made(watch, agree_every=100)
    trained = 0
    while not scheduler.finished:
        assert trained < 10, "restarted for ever"
        run(lambda k: 2.0, watch, scheduler, most=80)
        state = scheduler.state_dict()
        scheduler = made(watch, agree_every=100)
        scheduler.load_state_dict(state)
        trained += 1


def test_time_stands_still_between_agreements() -> None:
    watch = Watch()
    scheduler = made(watch, agree_every=10)
    rates = run(lambda k: 2.0, watch, scheduler, most=40)
    assert len(set(rates)) == 4
    assert rates[19] == rates[10] == 1.0 - 20.0 / DEADLINE


@pytest.mark.parametrize("every", [0, 1.5, True])
def test_agreeing_every_so_many_updates_takes_a_whole_number(every: object) -> None:
    with pytest.raises(ValueError, match="agree_every must be a whole number"):
        made(Watch(), agree_every=every)  # type: ignore[arg-type]
