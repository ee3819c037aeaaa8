"""Real numbers, whichever library they come from, as Python's own."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final, Protocol, SupportsFloat, SupportsIndex, runtime_checkable

LARGEST: Final = 1e30
"""Sizes above this are mistakes; below it, products and quotients of a few stay within what a float holds."""

SMALLEST: Final = 1e-30
"""What must be above 0 is at least this, for the same reason."""

FARTHEST_STEP: Final = 1e3
"""Weights that move further in a step mean nothing."""

COUNTLESS: Final = 2**31
"""Counts above this are mistakes."""

MOST_SEEDS: Final = 2**63 - 1
"""The largest seed that torch takes."""

_BITS: Final = {2: 11, 4: 24}
"""The significant bits of the IEEE numbers that are shorter than Python's, by their bytes."""

_LONGEST: Final = 60
"""Characters of a value that an error shows."""


@runtime_checkable
class _Boxed(Protocol):
    """A number of NumPy or torch, or an array or tensor of one number."""

    @property
    def dtype(self) -> Any: ...

    def item(self) -> Any: ...


def plain(value: object) -> float | None:
    """`value` as an int or a float; None if it is no real number, as truth values and text are not.

    A number of less than Python's precision becomes the shortest decimal that it stands for, so that `float32(0.1)`
    is 0.1: the same number as in the configuration that it came from.

    >>> from fractions import Fraction
    >>> plain(Fraction(1, 4)), plain(torch.tensor(0.1)), plain("1"), plain(True)
    (0.25, 0.1, None, None)
    """
    if type(value) is float or type(value) is int:  # what comes once an update; to ask for protocols takes far longer
        return value
    try:
        if isinstance(value, _Boxed):
            number = _own(value.item())
            return number if isinstance(number, int | None) else _shortest(number, _bits(value.dtype))
        return _own(value)
    except (ArithmeticError, RuntimeError, TypeError, ValueError):  # several numbers, or none that can be looked at
        return None


def real(value: object) -> float | None:
    """`value` as a float, infinite beyond all floats; None if it is no real number.

    >>> real(3), real(10**400), real("3")
    (3.0, inf, None)
    """
    number = plain(value)
    return None if number is None else _float(number)


def whole(value: object, least: int) -> int | None:
    """`value` as an int that is at least so much; None if it is no whole number, or less.

    >>> whole(3, 1), whole(3.0, 1), whole(0, 1), whole(True, 1)
    (3, None, None, None)
    """
    number: object = plain(value)
    return number if isinstance(number, int) and number >= least else None


def floats(values: object) -> list[float] | None:
    """The numbers in a list, a tuple, an array, a tensor, ... as floats; None if it is no sequence of numbers.

    >>> floats(torch.tensor([0.1, 2.0])), floats("12"), floats([1, None])
    ([0.1, 2.0], None, None)
    """
    if isinstance(values, str | bytes | Mapping | AbstractSet) or not isinstance(values, Iterable):
        return None
    try:
        numbers = [plain(value) for value in values]
    except TypeError:  # an array of no dimension
        return None
    return None if None in numbers else [_float(number) for number in numbers if number is not None]


def shown(value: object) -> str:
    """`value` as an error shows it: on one line, and not all of it if that would be long."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # Python does not write whole numbers of more than 4,300 digits
        return f"{type(value).__name__} of thousands of digits"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _own(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, SupportsIndex):
        return operator.index(value)
    if not isinstance(value, SupportsFloat):
        return None
    return _float(value)


def _float(value: SupportsFloat) -> float:
    try:
        return float(value)
    except OverflowError:  # a whole number or a fraction beyond all floats
        return math.inf if value > 0 else -math.inf  # type: ignore[operator]


def _bits(dtype: Any) -> int | None:
    return 8 if str(dtype).endswith("bfloat16") else _BITS.get(dtype.itemsize)


def _shortest(number: float, bits: int | None) -> float:
    """The shortest decimal that is `number` once it is rounded to so many bits."""
    if bits is None or not math.isfinite(number):
        return number
    decimals = (float(f"{number:.{digits}g}") for digits in range(1, 18))
    return next(decimal for decimal in decimals if _rounded(decimal, bits) == number)


def _rounded(number: float, bits: int) -> float:
    mantissa, exponent = math.frexp(number)
    return math.ldexp(round(math.ldexp(mantissa, bits)), exponent - bits)
