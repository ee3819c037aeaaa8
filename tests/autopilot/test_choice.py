"""Where trials go next, what is chosen in the end, and how far the first step goes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lehr.autopilot.choice import bracket, next_rate, octaves_to_main_run, rate_for_main_run
from lehr.autopilot.first_step import STRIDE, longest_step
from lehr.autopilot.trial import Trial

FIRST = 10.0


def trial(rate: float, loss: float) -> Trial:
    return Trial(rate, 32, loss, "finished" if math.isfinite(loss) else "loss rose")


def search(best: float, start: float, cliff: float = math.inf, most: int = 60) -> list[Trial]:
    """Trials of a loss that is lowest at `best`, and breaks down above `cliff`."""
    trials: list[Trial] = []
    while (rate := next_rate(trials, FIRST, start)) is not None and len(trials) < most:
        distance = abs(math.log2(rate / best))
        trials.append(trial(rate, math.inf if rate > cliff else FIRST * distance / (1.0 + distance)))
    return trials


@given(st.floats(-12.0, 12.0), st.floats(-12.0, 12.0))
def test_the_best_rate_ends_in_a_close_bracket(best: float, start: float) -> None:
    trials = search(2.0**best, 2.0**start)
    found = bracket(trials, FIRST)
    assert found.closed
    assert found.low <= 2.0**best <= found.high
    assert found.low <= found.rate <= found.high
    assert found.high / found.low <= 4.1


@given(st.floats(-6.0, 6.0), st.floats(0.1, 3.0))
def test_it_stays_below_rates_that_failed(best: float, above: float) -> None:
    cliff = 2.0 ** (best + above)
    trials = search(2.0**best, 2.0**best, cliff)
    failed = min((one.rate for one in trials if one.failed(FIRST)), default=math.inf)
    assert rate_for_main_run(trials, FIRST, FIRST).rate <= failed / 3.0 * 2.0 ** octaves_to_main_run(0.0, FIRST)


def test_it_goes_down_while_all_fail() -> None:
    trials = [trial(1.0, math.inf)]
    for _ in range(3):
        rate = next_rate(trials, FIRST, 1.0)
        assert rate is not None
        trials.append(trial(rate, math.inf))
    assert [one.rate for one in trials] == [1.0, 0.25, 0.0625, 0.015625]


def test_what_one_side_shows_is_no_closed_bracket() -> None:
    found = bracket([trial(1.0, 3.0), trial(4.0, 2.0)], FIRST)
    assert (found.rate, found.closed, found.high) == (4.0, False, 16.0)


@given(st.floats(-10.0, 10.0))
def test_the_longest_step_is_found_to_a_factor_of_two(edge: float) -> None:
    longest = 2.0**edge  # of a parabola that comes back to where it began there
    found = longest_step(lambda r: (1.0 - 2.0 * r / longest) ** 2)
    assert found is not None
    assert longest / 2.0 <= found * 1.0001
    assert found <= longest * 1.0001


def test_a_loss_that_breaks_down_at_every_step_has_no_longest() -> None:
    assert longest_step(lambda r: math.nan if r else 1.0) is None


def test_a_loss_that_no_step_changes_is_told() -> None:
    with pytest.raises(ValueError, match="no first step, however long, changes the loss from 1"):
        longest_step(lambda r: 1.0 + 1e-9 * r / (1.0 + r))


@given(st.floats(-6.0, 6.0))
def test_where_no_step_raises_the_loss_it_is_long_once_the_loss_has_fallen(at: float) -> None:
    found = longest_step(lambda r: 0.3 + math.exp(-r / 10.0**at))
    assert found is not None
    steps = found / 10.0**at / math.log(20.0)  # 1 where a twentieth of the fall is left
    assert 0.999 <= steps <= 1.001 * STRIDE or found == 1.0


@pytest.mark.parametrize("loss", [-1.0, 0.0, 1.0, 20.0])
def test_the_move_to_the_main_run_is_at_most_an_octave(loss: float) -> None:
    assert -0.5 <= octaves_to_main_run(loss, FIRST) <= 1.0
    assert -0.5 <= octaves_to_main_run(loss, -FIRST) <= 1.0
