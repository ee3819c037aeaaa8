"""The checked reader: plain data from a file as the frozen dataclasses that it should be, or a sentence."""

from __future__ import annotations

import math
import types
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Annotated, Any, Final, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

Value = TypeVar("Value")

LARGEST: Final = 1e300
"""No number of an experiment is larger, and sums of these are still finite."""


@dataclass(frozen=True)
class Within:
    """The least and the largest value that a number may have."""

    low: float
    high: float = LARGEST


Count = Annotated[int, Within(0)]
Positive = Annotated[float, Within(0.0)]
Share = Annotated[float, Within(0.0, 1.0)]


def read(kind: type[Value], value: object, where: str) -> Value:
    """The value as what `kind` says, a dataclass being an object with exactly its fields.

    Args:
        kind: a dataclass whose fields are numbers, texts, literals, tuples, dictionaries by text, or such dataclasses,
            any of them perhaps None, numbers perhaps annotated by `Within`.
        value: what `json.loads` gave.
        where: what to call it in an error.

    Raises:
        ValueError: if anything is missing, unknown, of another type, not finite or out of its range.

    >>> read(Within, {"low": 0, "high": 2.5}, "it")
    Within(low=0.0, high=2.5)
    >>> read(Within, {"low": 0, "high": "2"}, "it")
    Traceback (most recent call last):
    ValueError: it: high must be a number; got '2'
    """
    try:
        made: Value = _read(kind, value)
    except _Wrong as wrong:
        raise ValueError(f"{where}{wrong.path and ': ' + wrong.path.lstrip('.')} {wrong.what}") from None
    return made


class _Wrong(Exception):  # noqa: N818 - it becomes a ValueError
    """What is wrong, and where: the path grows on the way out."""

    def __init__(self, what: str, path: str = "") -> None:
        super().__init__(what)
        self.what, self.path = what, path


def _read(kind: Any, value: object) -> Any:  # noqa: PLR0911 - one return for each kind
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _within(_read(arguments[0], value), arguments[1])
    if origin in (Union, types.UnionType):
        return None if value is None else _read(next(one for one in arguments if one is not types.NoneType), value)
    if origin is Literal:
        if not isinstance(value, str) or value not in arguments:
            raise _Wrong(f"must be one of {', '.join(map(str, arguments))}; got {_short(value)}")
        return value
    if origin is tuple:
        return _tuple(arguments, value)
    if origin is dict:
        if not isinstance(value, dict):
            raise _Wrong(f"must be an object; got {_short(value)}")
        return {_text(key): _under(f".{_text(key)}", arguments[1], item) for key, item in value.items()}
    if is_dataclass(kind):
        return _dataclass(kind, value)
    return {bool: _flag, int: _whole, float: _number, str: _text}[kind](value)


def _under(path: str, kind: Any, value: object) -> Any:
    try:
        return _read(kind, value)
    except _Wrong as wrong:
        wrong.path = path + wrong.path
        raise


def _dataclass(kind: Any, value: object) -> Any:
    if not isinstance(value, dict):
        raise _Wrong(f"must be an object; got {_short(value)}")
    hints = _hints(kind)
    if missing := hints.keys() - value.keys():
        raise _Wrong(f"lacks {min(missing)}")
    if unknown := value.keys() - hints.keys():
        raise _Wrong(f"has {_short(min(unknown))}, which is unknown")
    made = {name: _under(f".{name}", hint, value[name]) for name, hint in hints.items()}
    try:
        return kind(**made)
    except ValueError as error:  # its own checks
        raise _Wrong(f"is not sound ({error})") from None


@cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    return {item.name: hints[item.name] for item in fields(kind)}


def _tuple(arguments: tuple[Any, ...], value: object) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _Wrong(f"must be a list; got {_short(value)}")
    if arguments[-1] is Ellipsis:
        return tuple(_under(f"[{i}]", arguments[0], item) for i, item in enumerate(value))
    if len(value) != len(arguments):
        raise _Wrong(f"must have {len(arguments)} entries; got {len(value)}")
    return tuple(_under(f"[{i}]", kind, item) for i, (kind, item) in enumerate(zip(arguments, value, strict=True)))


def _within(value: Any, bounds: Within) -> Any:
    if not bounds.low <= value <= bounds.high:
        reach = f"at least {bounds.low:g}" if bounds.high == LARGEST else f"from {bounds.low:g} to {bounds.high:g}"
        raise _Wrong(f"must be {reach}; got {_short(value)}")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise _Wrong(f"must be true or false; got {_short(value)}")
    return value


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**63:
        raise _Wrong(f"must be a whole number; got {_short(value)}")
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Wrong(f"must be a number; got {_short(value)}")
    if not abs(value) <= LARGEST or not math.isfinite(value):
        raise _Wrong(f"must be a finite number; got {_short(value)}")
    return float(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _Wrong(f"must be a text; got {_short(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _Wrong(f"must be a text that can be written; got {_short(value)}") from None
    return value


def _short(value: object) -> str:
    """The value as a person may read it, on one line whatever it is."""
    if isinstance(value, dict | list | tuple):
        return "an object" if isinstance(value, dict) else f"a list of {len(value)}"
    if isinstance(value, int) and abs(value) >= 2**63:
        return "a number of many digits"
    text = ascii(value) if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
