"""Budgets from whatever text and numbers: one sentence, or a budget whose code reads back and which can be spent."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lehr
from fuzz.expressions import fuzzed, one_sentence, values
from lehr import Budget
from lehr.budget import Clock

UNITS = ("steps", "epochs", "samples", "tokens", "seconds")


def check(budget: Budget) -> None:
    """What holds for every budget."""
    assert eval(repr(budget), {"Budget": Budget}) == budget
    assert str(budget)
    assert 0.0 < budget.total < math.inf
    assert budget.updates is None or 1 <= budget.updates < math.inf
    clock = Clock(budget, now=lambda: 0.0)
    clock.tick(amount=min(1, budget.total))  # far more than there is at once is refused
    assert 0.0 < clock.progress < math.inf


@fuzzed(100)
@given(
    st.one_of(
        st.text(),
        st.text("0123456789.eE+- _\t", max_size=12),
        st.builds(
            "{}{}{}".format,
            st.one_of(values.map(repr), st.text("0123456789.eE+-", max_size=8)),
            st.sampled_from(("", " ", "\n ", "  ")),
            st.sampled_from(("steps", "ep", "h", "d", "tok", "samples", "s", "M", "dur", "iter", "parsecs", "")),
        ),
        st.from_regex(r"\A(\d+h)?(\d+m)?(\d+s)?\Z"),
    )
)
def test_texts(text: str) -> None:
    try:
        budget = Budget.parse(text, steps_per_epoch=10)
    except ValueError as error:
        one_sentence(error)
        return
    check(budget)


@fuzzed(100)
@given(
    st.dictionaries(st.sampled_from((*UNITS, "steps_per_epoch", "samples_per_step", "tokens_per_step")), values), values
)
def test_numbers(arguments: dict[str, float], share: float) -> None:
    try:
        budget = Budget(**arguments)
        check(budget)
        check(budget.scaled(share))
    except ValueError as error:
        one_sentence(error)
        return
    for unit in UNITS:
        try:
            fraction = budget.fraction(**{unit: share})
        except ValueError as error:
            one_sentence(error)
        else:
            assert 0.0 <= fraction < math.inf


@pytest.mark.parametrize(
    "text",
    [
        "1" + " " * 10**6 + "!",
        " " * 10**6,
        "1e" * 10**5 + "!",
        "9" * 10**6 + "steps",
        "-" * 10**6,
        "1" + "e" * 10**6,
        "1m" * 10**6,
    ],
    ids=["blanks", "only blanks", "exponents", "digits", "signs", "letters", "minutes"],
)
def test_long_texts_return_at_once(text: str) -> None:
    begin = time.process_time()
    with pytest.raises(ValueError, match=r"budget|Budget") as error:
        Budget.parse(text)
    one_sentence(error.value)
    assert time.process_time() - begin < 5.0


def test_many_blanks_between_are_one() -> None:
    assert Budget.parse("\t3" + " " * 10**6 + "ep ", steps_per_epoch=10) == lehr.Budget(epochs=3, steps_per_epoch=10)
