"""Whatever text or number comes in: one sentence, or a schedule whose factors are finite and whose code reads back."""

from __future__ import annotations

import contextlib
import io
import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import lehr
from fuzz.expressions import extreme_schedules, fuzzed, mutated, one_sentence, progresses, texts
from lehr.cli.show import show

GRID = np.concatenate([np.linspace(0.0, 1.3, 41), [2.0, 7.5, 1e6, 1e18, 1e300]])
SINGLE = np.minimum(GRID, 1e38).astype(np.float32)


def check(schedule: lehr.Schedule) -> None:
    """What holds for every schedule."""
    code = repr(schedule)
    assert lehr.parse_schedule(code) == schedule
    assert hash(lehr.parse_schedule(code)) == hash(schedule)
    assert repr(lehr.parse_schedule(code)) == code
    one_by_one = [schedule(share) for share in GRID.tolist()]
    assert all(math.isfinite(factor) and factor >= 0.0 for factor in one_by_one)
    for factors in (schedule(GRID), schedule(torch.from_numpy(GRID)).numpy()):
        assert np.isfinite(factors).all()
        assert (factors >= 0.0).all()
        np.testing.assert_allclose(factors, one_by_one, rtol=1e-6, atol=1e-9)
    for single in (schedule(SINGLE), schedule(torch.from_numpy(SINGLE)).numpy()):
        assert np.isfinite(single).all()
        assert (single >= 0.0).all()


def tried(text: str) -> None:
    try:
        schedule = lehr.parse_schedule(text)
    except ValueError as error:
        one_sentence(error)
        return
    check(schedule)


@fuzzed(60)
@given(texts)
def test_expressions(text: str) -> None:
    tried(text)


@fuzzed(60)
@given(mutated())
def test_mutated_code(text: str) -> None:
    tried(text)


@fuzzed(60)
@given(st.one_of(st.text(), st.text("LinearCos()., 0123456789e-*'\"\\\0\n", max_size=60)))
def test_any_text(text: str) -> None:
    tried(text)


@fuzzed(80)
@given(extreme_schedules(), progresses)
def test_accepted_arguments_give_finite_factors(schedule: lehr.Schedule, progress: float) -> None:
    factor = schedule(progress)
    assert math.isfinite(factor)
    assert factor >= 0.0
    check(schedule)


@fuzzed(30)
@given(extreme_schedules())
def test_pictures(schedule: lehr.Schedule) -> None:
    with warnings.catch_warnings(action="error"):
        assert "nan" not in schedule._repr_html_().partition("<figcaption>")[0]


@fuzzed(10)
@given(st.one_of(texts, extreme_schedules().map(repr)))
def test_pictures_in_the_terminal(text: str) -> None:
    shown = io.StringIO()
    try:
        with contextlib.redirect_stdout(shown), warnings.catch_warnings(action="error"):
            show(text)
    except ValueError as error:
        one_sentence(error)
    else:
        assert "nan" not in shown.getvalue()


def test_long_chains_do_not_take_long() -> None:
    for operator in (".after_warmup(.1)", ".clip()", ".then(Rex(),at=.5)", ".repeated(2)", " * Linear()"):
        schedule = lehr.parse_schedule("Cosine()" + operator * 100)
        check(schedule)
        with pytest.raises(ValueError, match="nested 100 deep"):
            lehr.parse_schedule("Cosine()" + operator * 101)
