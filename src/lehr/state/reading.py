"""Reading a saved state: every field is checked for what it must be before anybody takes it up."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor

LARGEST: Final = 2**63
"""No count is as large."""

LONGEST: Final = 100_000
"""No text has more characters."""


class Fields:
    """The fields of a state that somebody handed in; each method gives one, or says in a sentence what is wrong.

    Args:
        where: what the state is of, as it begins an error, such as "the checkpoint's clock".
        given: the state.

    Raises:
        ValueError: if it is no dictionary, and by every method whose field is missing or is something else.

    >>> Fields("the state", {"seen": 3}).whole("seen")
    3
    >>> Fields("the state", {"seen": -3}).whole("seen")
    Traceback (most recent call last):
    ValueError: the state: seen must be a whole number, at least 0; got -3
    """

    def __init__(self, where: str, given: Any) -> None:
        if not isinstance(given, Mapping):
            raise ValueError(f"{where} must be a dictionary; got {shown(given)}")
        self.where = where
        self._given = given

    def any(self, name: str) -> Any:
        """The field, whatever it is."""
        if name not in self._given:
            raise ValueError(f"{self.where} has no {name}")
        return self._given[name]

    def number(self, name: str, low: float = -math.inf, high: float = math.inf) -> float:
        """A finite number from `low` to `high`."""
        return self._in_range(name, self.any(name), low, high)

    def number_or_none(self, name: str, low: float = -math.inf, high: float = math.inf) -> float | None:
        """Such a number, or None."""
        return None if self.any(name) is None else self.number(name, low, high)

    def number_or(self, other: float, name: str, low: float = -math.inf, high: float = math.inf) -> float:
        """Such a number, or this one that is not finite."""
        value = self.any(name)
        same = isinstance(value, float) and (value == other or (math.isnan(value) and math.isnan(other)))
        return other if same else self.number(name, low, high)

    def numbers(self, name: str, most: int, low: float = -math.inf, high: float = math.inf) -> tuple[float, ...]:
        """A list of `most` such numbers at most."""
        return tuple(self._in_range(name, value, low, high) for value in self._list(name, most))

    def whole(self, name: str, low: int = 0, high: int = LARGEST) -> int:
        """A whole number from `low` to `high`."""
        value = self.any(name)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.error(name, f"a whole number, at least {low}", value)
        return value

    def flag(self, name: str) -> bool:
        """True or False."""
        value = self.any(name)
        if not isinstance(value, bool):
            raise self.error(name, "True or False", value)
        return value

    def text(self, name: str) -> str:
        """A text."""
        return self._text(name, self.any(name))

    def table(self, name: str) -> Mapping[str, Any]:
        """A dictionary."""
        value = self.any(name)
        if not isinstance(value, Mapping):
            raise self.error(name, "a dictionary", value)
        return value

    def texts(self, name: str, most: int) -> tuple[str, ...]:
        """A list of `most` texts at most."""
        return tuple(self._text(name, value) for value in self._list(name, most))

    def tensor(self, name: str, shape: Sequence[int], low: float = -math.inf, high: float = math.inf) -> Tensor:
        """A tensor of floating-point numbers of that shape, all finite and from `low` to `high`."""
        value = self.any(name)
        if not isinstance(value, Tensor) or value.layout is not torch.strided or tuple(value.shape) != tuple(shape):
            raise self.error(name, f"a tensor of the shape {tuple(shape)}", value)
        if not value.is_floating_point() or value.device.type == "meta":
            raise self.error(name, "a tensor of floating-point numbers", value)
        if not bool((torch.isfinite(value) & (value >= low) & (value <= high)).all()):
            raise ValueError(f"{self.where}: {name} must hold finite numbers{_range(low, high)}")
        return value

    def scalar(self, name: str, low: float = -math.inf, high: float = math.inf) -> float | Tensor:
        """A finite number from `low` to `high`, or a tensor of one such number."""
        return self.tensor(name, (), low, high) if isinstance(self.any(name), Tensor) else self.number(name, low, high)

    def different(self, expected: Mapping[str, Any]) -> list[str]:
        """The names of those whose field is not as expected."""
        return [name for name, value in expected.items() if not _equal(self.any(name), value)]

    def error(self, name: str, what: str, value: Any) -> ValueError:
        """The error that says what a field must be."""
        return ValueError(f"{self.where}: {name} must be {what}; got {shown(value)}")

    def _in_range(self, name: str, value: Any, low: float, high: float) -> float:
        sound = isinstance(value, float | int) and not isinstance(value, bool) and abs(value) <= _FLOAT_MAX
        if not sound or not low <= value <= high:
            raise self.error(name, f"a finite number{_range(low, high)}", value)
        return float(value)

    def _list(self, name: str, most: int) -> Sequence[Any]:
        value = self.any(name)
        if not isinstance(value, list | tuple) or len(value) > most:
            raise self.error(name, f"a list of at most {most} entries", value)
        return value

    def _text(self, name: str, value: Any) -> str:
        if not isinstance(value, str) or len(value) > LONGEST:
            raise self.error(name, f"a text of at most {LONGEST:,} characters", value)
        return value


def shown(value: Any) -> str:
    """A value in an error, however large or deeply nested it is."""
    if value is None or isinstance(value, bool | float):
        return repr(value)
    if isinstance(value, int):
        return repr(value) if abs(value) < 10**30 else "a number of more than 30 digits"
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else f"{value[:57]}...")
    if isinstance(value, Tensor):
        return f"a tensor of {value.dtype} and shape {tuple(value.shape)}"
    size = f" of {len(value)}" if isinstance(value, Mapping | list | tuple | set) else ""
    return f"a {type(value).__name__}{size}"


def _equal(one: Any, expected: Any) -> bool:
    """Whether they are equal, as far as `expected` goes: what is huge or nested in its place is not gone through."""
    if isinstance(expected, Mapping):
        return (
            isinstance(one, Mapping)
            and set(one) == set(expected)
            and all(_equal(one[key], expected[key]) for key in one)
        )
    if isinstance(expected, list | tuple):
        return (
            isinstance(one, list | tuple)
            and len(one) == len(expected)
            and all(_equal(a, b) for a, b in zip(one, expected, strict=True))
        )
    return isinstance(one, bool | int | float | str | None) and one == expected


_FLOAT_MAX: Final = torch.finfo(torch.float64).max


def _range(low: float, high: float) -> str:
    if low == -math.inf and high == math.inf:
        return ""
    if high == math.inf:
        return f", at least {low:g}"
    return f" from {low:g} to {high:g}"
