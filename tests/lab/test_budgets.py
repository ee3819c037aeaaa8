"""Results against budget: ranks, what a small budget foretells, and the command that makes them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lab.small import run
from lehr import lab
from lehr.lab.budgets import by_budget
from lehr.lab.results import ShareResult

METHODS = ("a", "b", "c")
LOWER = lab.Metric("loss", lambda outputs, targets: outputs, higher_is_better=False)


def runs(results: dict[float, tuple[float | None, ...]], seeds: int = 3) -> list[lab.Run]:
    """For each share, what the methods come to, with a little noise between the seeds."""
    made = []
    for share, values in results.items():
        for method, value in zip(METHODS, values, strict=True):
            for seed in range(seeds):
                broke = 3 if value is None else None
                one = run(method, seed, None if value is None else value + 0.001 * seed, diverged_at=broke)
                made.append(replace(one, share=share))
    return made


def test_a_small_budget_that_orders_alike_foretells_the_full_one() -> None:
    rows = by_budget(METHODS, ((0.1, 3),), runs({0.1: (0.5, 0.4, 0.3), 1.0: (0.9, 0.8, 0.7)}), lab.ACCURACY.criterion)
    assert [row.share for row in rows] == [0.1, 1.0]
    assert rows[0].rank_correlation == 1.0
    assert rows[0].leads_on_validation == "a"
    assert rows[0].lost_at_full == 0.0
    assert rows[0].best == "a"
    assert [rows[0].of(name).rank for name in METHODS] == [1, 2, 3]


def test_one_that_orders_the_other_way_round_costs_something() -> None:
    small = by_budget(METHODS, ((0.1, 3),), runs({0.1: (0.3, 0.4, 0.5), 1.0: (0.9, 0.8, 0.7)}), lab.ACCURACY.criterion)[
        0
    ]
    assert small.rank_correlation == -1.0
    assert small.leads_on_validation == "c"
    assert small.lost_at_full == pytest.approx(0.2)


def test_where_less_is_better() -> None:
    small = by_budget(METHODS, ((0.1, 3),), runs({0.1: (0.3, 0.4, 0.5), 1.0: (0.9, 0.8, 0.7)}), LOWER.criterion)[0]
    assert small.best == "a"
    assert small.lost_at_full == pytest.approx(0.2)


def test_what_diverged_comes_last() -> None:
    rows = by_budget(METHODS, ((0.1, 3),), runs({0.1: (None, 0.4, 0.5), 1.0: (0.9, 0.8, 0.7)}), lab.ACCURACY.criterion)
    assert rows[0].of("a") == ShareResult("a", test=None, diverged=3, rank=3.0, against_best=None)
    assert rows[0].leads_on_validation == "c"
    broken = by_budget(
        METHODS, ((0.1, 3),), runs({0.1: (0.5, 0.4, 0.3), 1.0: (None, 0.8, 0.7)}), lab.ACCURACY.criterion
    )[0]
    assert (broken.leads_on_validation, broken.lost_at_full) == ("a", None)
    nothing = by_budget(METHODS, ((0.1, 3),), runs({0.1: (None,) * 3, 1.0: (0.9, 0.8, 0.7)}), lab.ACCURACY.criterion)[0]
    assert (nothing.best, nothing.leads_on_validation, nothing.rank_correlation) == (None, None, None)


def test_with_the_whole_budget_alone_there_is_nothing_to_say() -> None:
    assert by_budget(METHODS, (), runs({1.0: (0.9, 0.8, 0.7)}), lab.ACCURACY.criterion) == ()
