"""The rules and results of range tests, on whatever numbers: an answer among the rates, or one sentence."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import lehr
from fuzz.expressions import fuzzed, one_sentence

RULES: tuple[Callable[..., Any], ...] = (
    lehr.trials.steepest_rate, lehr.trials.valley_rate, lehr.trials.slide_rate, lehr.trials.minimum_rate,
    lehr.trials.edge_rate, lehr.trials.clr_bounds,
)  # fmt: skip

numbers = st.one_of(
    st.floats(-10.0, 10.0), st.floats(), st.sampled_from((0.0, 1e308, -1e308, 1e-320, math.nan, math.inf, 1, 2))
)
rising = st.lists(st.floats(1e-300, 1e300), max_size=60, unique=True).map(sorted)


def numbers_of(answer: object) -> tuple[float, ...]:
    return answer if isinstance(answer, tuple) else (answer,)  # type: ignore[return-value]


@fuzzed(60)
@given(rising, st.data())
def test_points_in_order(rates: list[float], data: st.DataObject) -> None:
    finite = st.one_of(st.floats(-10.0, 10.0), st.floats(allow_nan=False, allow_infinity=False))
    losses = data.draw(st.lists(finite, min_size=len(rates), max_size=len(rates)))
    for rule in RULES:
        try:
            answers = numbers_of(rule(rates, losses))
        except lehr.NoSuggestion as error:
            one_sentence(error)
            continue
        assert all(rates[0] / 10 <= rate <= rates[-1] for rate in answers)
        assert numbers_of(rule(np.array(rates), torch.tensor(losses, dtype=torch.float64))) == answers


@fuzzed(60)
@given(st.one_of(rising, st.lists(numbers, max_size=20)), st.lists(numbers, max_size=20))
def test_points_in_disorder(rates: list[float], losses: list[float]) -> None:
    for rule in RULES:
        try:
            answers = numbers_of(rule(rates, losses))
        except ValueError as error:
            one_sentence(error)
        else:
            assert all(math.isfinite(rate) and rate > 0.0 for rate in answers)


def damaged() -> st.SearchStrategy[str]:
    """What `to_json` writes, with one part exchanged, or text with a few characters changed."""
    parts = st.recursive(
        st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=3), st.integers()), st.lists, max_leaves=6
    )
    names = ("rates", "losses", "metrics", "evaluations", "ending", "higher_is_better", "more")

    def exchanged(name: str, part: object) -> str:
        return json.dumps({**json.loads(TEXT), name: part})

    def cut(place: int, length: int, put: str) -> str:
        return TEXT[:place] + put + TEXT[place + length :]

    return st.one_of(
        st.builds(exchanged, st.sampled_from(names), parts),
        st.builds(cut, st.integers(0, len(TEXT)), st.integers(0, 5), st.text('0123456789.,[]{}":enul-', max_size=4)),
        parts.map(json.dumps),
        st.text(),
    )


RESULT = lehr.RangeTestResult(
    [0.1 * 2**k for k in range(12)], [3.0 - 0.25 * k for k in range(9)] + [2.0, 4.0, math.nan], [0.5] * 12,
    [(0.1, 0.2), (0.4, 0.3)], "not finite",
)  # fmt: skip
TEXT = RESULT.to_json()


@fuzzed(80)
@given(damaged())
def test_damaged_results(text: str) -> None:
    try:
        result = lehr.RangeTestResult.from_json(text)
    except ValueError as error:
        one_sentence(error)
        return
    assert lehr.RangeTestResult.from_json(result.to_json()).to_json() == result.to_json()
    assert str(result)
    assert "nan" not in result._repr_html_().partition("<figcaption>")[0]
    assert all(rate is None or rate > 0.0 for rate in result.suggestions().values())


@pytest.mark.parametrize("text", ["[" * 100_000, '{"rates": ' * 10_000, '{"rates": [' + "9" * 5_000 + "]}", "1" * 400])
def test_texts_that_are_too_much(text: str) -> None:
    with pytest.raises(ValueError, match="not what RangeTestResult.to_json writes"):
        lehr.RangeTestResult.from_json(text)
