"""What the scheduler remembers of what it did."""

import itertools

import torch

from lehr.scheduler import History


def test_every_update_while_there_are_few() -> None:
    history = History()
    for k in range(100):
        history.add(k, k / 100, 1 - k / 100)
    assert list(history) == [(k, k / 100, (1 - k / 100,)) for k in range(100)]


def test_memory_is_bounded_and_rows_stay_evenly_spaced() -> None:
    history = History(most=100)
    for k in range(10_000):
        history.add(k, k / 10_000, (0.5, 0.25))
    updates = [update for update, _, _ in history]
    assert 15 <= len(history) <= 34
    assert {later - earlier for earlier, later in itertools.pairwise(updates)} == {history.every}
    assert updates[0] == 0
    assert updates[-1] > 10_000 - 2 * history.every


def test_rows_stay_evenly_spaced_where_each_is_replaced_before_its_update() -> None:
    history = History(most=100)
    for k in range(1_000):
        history.add(k, k / 1_000, 1.0)
        history.add(k, k / 1_000, 0.5)
    assert [update for update, _, _ in history] == list(range(0, 1_000, history.every))
    assert {factors for _, _, factors in history} == {(0.5,)}


def test_a_factor_replaced_before_its_update_is_forgotten() -> None:
    history = History()
    history.add(0, 0.0, 1.0)
    history.add(0, 0.0, 0.5)
    assert list(history) == [(0, 0.0, (0.5,))]


def test_one_factor_may_become_several() -> None:
    history = History()
    history.add(0, 0.0, 1.0)
    history.add(1, 0.1, (0.5, 0.25))
    history.add(2, 0.2, 0.1)
    history.add(2, 0.2, torch.tensor(0.125))
    assert [factors for _, _, factors in history] == [(1.0,), (0.5, 0.25), (0.125,)]


def test_rows_of_any_width_are_thinned() -> None:
    history = History(most=100)
    for k in range(500):
        history.add(k, k / 500, (float(k),) * (k % 3 + 1) if k % 3 else torch.tensor(float(k)))
    assert [factors for _, _, factors in history] == [(float(k),) * (k % 3 + 1) for k in range(0, 500, history.every)]
    assert 10 <= len(history) <= 50
