"""Errors in other people's code, told in one sentence."""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import torch

Result = TypeVar("Result")

LONGEST: Final = 500
OURS: Final = Path(__file__).parents[1]
_INSTALLED: Final = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def told(what: str, act: Callable[[], Result]) -> Result:
    """What `act` returns; if it fails, a ValueError that says what failed, how and in which line.

    Errors of the user's task end a comparison with a sentence instead of a stack of lehr's own frames; the original
    error is the cause. The line is the innermost of the user's own, or, where there is none, of whoever raised.
    """
    try:
        return act()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever it is: SystemExit, or what asyncio raises
        frames = traceback.extract_tb(error.__traceback__)
        if isinstance(error, ValueError) and Path(frames[-1].filename).is_relative_to(OURS):
            raise  # one of our own sentences
        place = next((frame for frame in reversed(frames) if _is_users(frame.filename)), frames[-1])
        where = f"{Path(place.filename).name}, line {place.lineno}"
        raise ValueError(f"{what} failed: {type(error).__name__}: {message(error)} ({where})") from error


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device, or this machine, has no more memory to give."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    said = str(error).lower() if isinstance(error, RuntimeError) else ""
    return any(part in said for part in ("out of memory", "can't allocate memory", "not enough memory"))


def message(error: BaseException) -> str:
    """What an error says of itself, on one line of bearable length, even if it cannot say it."""
    try:
        text = " ".join(str(error).split())
    except Exception:
        return "it cannot be shown"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def _is_users(filename: str) -> bool:
    return (
        filename.endswith(".py")
        and not filename.startswith(_INSTALLED)
        and not Path(filename).is_relative_to(OURS)
        and "site-packages" not in filename
    )
