"""Arguments of public functions, checked before anything is done; errors name the argument."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lehr._numbers import COUNTLESS, SMALLEST, real, shown, whole


def whole_argument(name: str, given: object, least: int = 1, most: int = COUNTLESS) -> int:
    """An argument as an int from `least` to `most`.

    Raises:
        ValueError: if it is no such number, under its name.

    >>> whole_argument("evolve: pairs", 3.5)
    Traceback (most recent call last):
    ValueError: evolve: pairs must be a whole number, at least 1 and at most 2147483648; got 3.5
    """
    number = whole(given, least)
    if number is None or number > most:
        raise ValueError(f"{name} must be a whole number, at least {least} and at most {most}; got {shown(given)}")
    return number


def number_argument(name: str, given: object, least: float, most: float) -> float:
    """An argument as a float from `least` to `most`; a `least` of `SMALLEST` stands for what is above 0.

    Raises:
        ValueError: if it is no such number, under its name.
    """
    number = real(given)
    if number is None or not least <= number <= most:
        above = " above 0" if least == SMALLEST else f", at least {least:g}"
        raise ValueError(f"{name} must be a number{above} and at most {most:g}; got {shown(given)}")
    return number


def flag_argument(name: str, given: object) -> bool:
    """An argument that is True or False.

    Raises:
        TypeError: if it is neither, under its name.
    """
    if not isinstance(given, bool):
        raise TypeError(f"{name} must be True or False; got {shown(given)}")
    return given


def function_argument(name: str, given: object, of: str) -> Callable[..., Any]:
    """An argument that is called later.

    Args:
        name: of the argument.
        given: what should be a function.
        of: what it is a function of, for the message.

    Raises:
        TypeError: if it cannot be called, under its name.

    >>> function_argument("fit: evaluate", 3, "the training")
    Traceback (most recent call last):
    TypeError: fit: evaluate must be a function of the training; got 3
    """
    if not callable(given):
        raise TypeError(f"{name} must be a function of {of}; got {shown(given)}")
    return given


def path_argument(name: str, given: object) -> Path:
    """An argument that names a file or a folder.

    Raises:
        TypeError: if it is no path, under its name.

    >>> path_argument("Checkpoints: folder", 3)
    Traceback (most recent call last):
    TypeError: Checkpoints: folder must be a path, as a text or a pathlib.Path; got 3
    """
    if not isinstance(given, str | os.PathLike) or not isinstance(os.fspath(given), str):
        raise TypeError(f"{name} must be a path, as a text or a pathlib.Path; got {shown(given)}")
    return Path(given)


def text_argument(name: str, given: object) -> str:
    """An argument that is a text.

    Raises:
        TypeError: if it is none, under its name.
    """
    if not isinstance(given, str):
        raise TypeError(f"{name} must be a text; got {shown(given)}")
    return given
