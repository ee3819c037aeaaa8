"""Numbers of any library become Python's own."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lehr._numbers import floats, plain, shown


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (np.float64(0.1), 0.1), (np.float32(0.1), 0.1), (np.float16(0.1), 0.1), (np.longdouble("0.5"), 0.5),
        (np.int64(4), 4), (np.uint8(4), 4), (np.array(0.1, dtype=np.float32), 0.1), (np.array([3]), 3),
        (torch.tensor(0.1), 0.1), (torch.tensor(0.1, dtype=torch.bfloat16), 0.1), (torch.tensor([7]), 7),
        (torch.tensor(0.1, dtype=torch.float16), 0.1), (torch.nn.Parameter(torch.tensor(0.3)), 0.3),
        (Fraction(1, 4), 0.25), (Decimal("0.1"), 0.1), (10**400, 10**400), (Fraction(10**400), math.inf),
        (np.float32(math.inf), math.inf),
    ],
)  # fmt: skip
def test_numbers_become_plain(value: object, number: float) -> None:
    assert plain(value) == number
    assert type(plain(value)) is type(number)


@pytest.mark.parametrize(
    "value",
    [True, np.bool_(True), torch.tensor(True), "1", np.str_("1"), b"1", None, 1j, np.complex64(1), [1], object(), float,
     np.array([1, 2]), torch.tensor([]), torch.zeros((), device="meta"), Decimal("sNaN")],
)  # fmt: skip
def test_what_is_no_number(value: object) -> None:
    assert plain(value) is None


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_single_precision_is_the_shortest_decimal(number: float) -> None:
    """Against NumPy, which prints it."""
    single = np.float32(number)
    assert plain(single) == plain(torch.tensor(single))
    assert np.float32(plain(single)) == single
    if not 0.0 < abs(number) < 1.2e-38:  # those have fewer digits, and NumPy knows
        assert plain(single) == float(str(single))


def test_lists() -> None:
    for values in ([0.1, 2], (0.1, 2), np.array([0.1, 2]), torch.tensor([0.1, 2]), iter([Fraction(1, 10), np.int8(2)])):
        assert floats(values) == [0.1, 2.0]
    assert floats([10**400]) == [math.inf]
    for values in ("12", b"12", {1: 2}, {1, 2}, 3, None, np.array(1.0), torch.tensor(1.0), [[1]], [True]):
        assert floats(values) is None


def test_errors_stay_short() -> None:
    assert shown(10**5000) == "int of thousands of digits"
    assert len(shown("x" * 10**6)) == 60
    assert "\n" not in shown(torch.zeros(3, 3))
