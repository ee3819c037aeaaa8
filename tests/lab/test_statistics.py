"""Numbers against scipy's own, and the cases in which nothing can be said."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lehr.lab.statistics import compare, holm, summarise

results = st.lists(st.floats(0.0, 1.0, allow_subnormal=False).map(lambda x: round(x, 6)), min_size=3, max_size=8)


@given(results)
def test_summaries_are_scipys(values: list[float]) -> None:
    summary = summarise(values)
    assert summary.mean == pytest.approx(np.mean(values))
    assert summary.sd == pytest.approx(np.std(values, ddof=1))
    if summary.sd and summary.sd > 1e-9:
        low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
        assert (summary.low, summary.high) == (pytest.approx(low), pytest.approx(high))


@given(results, st.integers(0, 10**6), st.booleans())
def test_a_pair_is_scipys_paired_test(values: list[float], seed: int, higher: bool) -> None:
    others = np.round(np.random.default_rng(seed).normal(0.5, 0.2, len(values)), 6)
    found = compare({"a": dict(enumerate(values)), "b": dict(enumerate(others))}, "a", higher_is_better=higher)["b"]
    test = stats.ttest_rel(values, others)
    assert found.p == pytest.approx(test.pvalue)
    assert found.difference == pytest.approx((1 if higher else -1) * (np.mean(values) - np.mean(others)))
    low, high = sorted((1 if higher else -1) * end for end in test.confidence_interval())
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert found.tied == (found.p >= 0.05)


@given(st.dictionaries(st.text(min_size=1, max_size=3), st.floats(0.0, 1.0), min_size=1, max_size=6))
def test_holm_corrects_upwards_and_keeps_the_order(p_values: dict[str, float]) -> None:
    corrected = holm(p_values)
    for name, p in p_values.items():
        assert p <= corrected[name] <= min(1.0, len(p_values) * p + 1e-12) or corrected[name] <= 1.0
    order = sorted(p_values, key=lambda name: p_values[name])
    assert [corrected[name] for name in order] == sorted(corrected.values())
    smallest = order[0]
    assert corrected[smallest] == min(1.0, len(p_values) * p_values[smallest])


def test_one_seed_says_nothing_and_no_spread_little() -> None:
    alone = compare({"a": {0: 1.0}, "b": {0: 0.5}}, "a", higher_is_better=True)["b"]
    assert (alone.p, alone.tied, alone.difference) == (None, True, 0.5)
    same = compare({"a": {0: 1.0, 1: 0.9}, "b": {0: 1.0, 1: 0.9}}, "a", higher_is_better=True)["b"]
    assert (same.p, same.tied) == (1.0, True)
    shifted = compare(
        {"a": dict.fromkeys(range(7), 1.0), "b": dict.fromkeys(range(7), 0.9)}, "a", higher_is_better=True
    )["b"]
    assert (shifted.p, shifted.tied) == (2.0**-6, False)
    assert summarise([0.5]).sd is None


def test_only_seeds_that_both_finished_are_paired() -> None:
    found = compare({"a": {0: 3.0, 1: 4.0, 2: 5.5}, "b": {1: 1.0, 2: 2.0, 3: 9.0}}, "a", higher_is_better=True)["b"]
    assert found.n == 2
    assert found.difference == pytest.approx(3.25)
