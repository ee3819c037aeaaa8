"""Errors in other people's code, told in one sentence."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")


def told(what: str, act: Callable[[], Result]) -> Result:
    """What `act` returns; if it fails, a ValueError that says what failed, how and in which line.

    Errors of the user's task end a comparison with a sentence instead of a stack of lehr's own frames; the original
    error is the cause.
    """
    try:
        return act()
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        if isinstance(error, ValueError) and Path(place.filename).is_relative_to(Path(__file__).parents[1]):
            raise  # one of our own sentences
        where = f"{Path(place.filename).name}, line {place.lineno}"
        raise ValueError(f"{what} failed: {type(error).__name__}: {error} ({where})") from error
