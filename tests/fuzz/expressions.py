"""Random expression texts and random numbers: mostly well formed, often out of range, sometimes garbage."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

import lehr
from lehr.schedules.parse import NAMES, OPERATORS
from strategies import schedules

EXAMPLES = int(os.environ.get("LEHR_FUZZ", "0"))
"""How many examples a kind; few, if nobody asks for many."""


def fuzzed(few: int) -> settings:
    """As many examples as asked for, or a few."""
    return settings(max_examples=EXAMPLES or few, deadline=None, suppress_health_check=list(HealthCheck))


def one_sentence(error: Exception) -> None:
    """What may be said of any input: not nothing, not much, on one line."""
    said = str(error)
    assert 10 < len(said) < 500, said
    assert "\n" not in said, said


EXTREME = (
    0.0, -0.0, 1.0, 0.5, 2, 1e-12, 1.0 - 1e-16, 5e-324, 1e-320, 1e-300, 1e-30, 1e30, 1e300, 1.7e308, 1e-8, 1e8, 10**18,
    2**53 + 1, -1, 100, 1000, 1e4, 1 + 1e-15, 1e29, 3e-31,
)  # fmt: skip
"""Sizes at which arithmetic goes wrong."""

values = st.one_of(st.sampled_from(EXTREME), st.floats(0.0, 1.0), st.floats(0.0, 10.0), st.integers(0, 10), st.floats())
progresses = st.one_of(st.floats(0.0, 1.0), st.floats(0.0, 3.0), st.sampled_from(EXTREME), st.floats(allow_nan=False))

_atoms = st.one_of(
    values.map(repr),
    st.sampled_from(
        ("1/3", "1/0", "2-3", "1e999", "None", "True", "'1'", "()", "(0.3, 0.6)", "[0.1,]", "9" * 400, "nan")
    ),
    st.builds("{} {} {}".format, values, st.sampled_from("+-*/%"), values),
)
_keywords = st.sampled_from(
    ("start", "end", "low", "high", "at", "gamma", "cycles", "growth", "power", "timescale", "warmup", "decay", "shape",
     "share", "until", "every", "times", "scale", "explore", "rise", "value", "nonsense")
)  # fmt: skip


def _arguments(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    one = st.one_of(_atoms, _atoms, inner)
    return st.lists(st.one_of(one, st.builds("{}={}".format, _keywords, one)), max_size=4).map(", ".join)


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("{}({})".format, st.sampled_from(sorted(NAMES)), _arguments(inner)),
        st.builds("{}.{}({})".format, inner, st.sampled_from(OPERATORS), _arguments(inner)),
        st.builds("{} {} {}".format, inner, st.sampled_from("***+-/"), st.one_of(inner, _atoms)),
        st.builds("({})".format, inner),
    )


texts = st.recursive(
    st.builds("{}({})".format, st.sampled_from(sorted(NAMES)), _arguments(_atoms)), _grown, max_leaves=5
)
"""Expressions that look like schedules."""


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """The code of a schedule with a few characters changed."""
    code = list(repr(draw(schedules)))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(code)))
        code[place : place + draw(st.integers(0, 3))] = draw(st.text("0123456789.eE+-*/(), []=abLS'\\#\n", max_size=3))
    return "".join(code)


MAKERS: tuple[tuple[Callable[..., lehr.Schedule], int], ...] = (
    (lehr.Constant, 1), (lehr.Linear, 2), (lehr.Cosine, 2), (lehr.Polynomial, 3), (lehr.Exponential, 2),
    (lehr.InverseSqrt, 1), (lehr.HyperbolicTangent, 2), (lehr.OneMinusSqrt, 2), (lehr.Triangular, 2),
    (lehr.WarmRestarts, 3), (lehr.Rex, 0), (lehr.schedules.exp_range, 3), (lehr.schedules.exp_range_amplitude, 3),
    (lehr.schedules.triangular2, 2), (lehr.schedules.clr_decay, 2), (lehr.knee, 2), (lehr.one_cycle, 3),
    (lehr.warmup_stable_decay, 2), (lambda gamma, *at: lehr.Steps(sorted(at), gamma), 12),
)  # fmt: skip
"""What makes schedules of how many numbers."""

COMBINERS: tuple[tuple[Callable[..., lehr.Schedule], int, int], ...] = (
    (lambda a, b: a * b, 2, 0), (lambda a, b, at: a.then(b, at=at), 2, 1),
    (lambda a, share, start: a.after_warmup(share, start), 1, 2), (lambda a, end: a.until(end), 1, 1),
    (lambda a, times, scale: a.repeated(times, scale), 1, 2), (lambda a, every: a.sampled(every), 1, 1),
    (lambda a, low, high: a.clip(low, high), 1, 2), (lambda a, low: a.clip(low), 1, 1),
    (lambda a, low, high: a.between(low, high), 1, 2),
)  # fmt: skip
"""What makes schedules of how many others, and how many numbers."""


@st.composite
def extreme_schedules(draw: st.DrawFn, height: int = 3) -> lehr.Schedule:
    """Trees of everything there is, with whatever arguments are accepted."""

    def tree(height: int) -> lehr.Schedule:
        combine, schedules, numbers = draw(st.sampled_from(COMBINERS))
        if not height or draw(st.booleans()):
            combine, numbers = draw(st.sampled_from(MAKERS))
            schedules = 0
        inner = [tree(height - 1) for _ in range(schedules)]
        for _ in range(4):
            with suppress(ValueError):
                return combine(*inner, *(draw(values) for _ in range(numbers)))
        return inner[0] if inner else lehr.Linear()

    return tree(height)
