"""One set of elementary functions for floats, NumPy arrays and torch tensors."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from lehr._numbers import LARGEST

BOUNDARY: Final = 1e-12
"""How far below a place in the run progress still counts as having reached it.

Progress is a rounded quotient and wrappers rescale it, so update 30 of 100 may arrive at 0.3 from an ulp below.
"""


class _Scalars:
    """The functions of `math` under the names that NumPy and torch share."""

    cos = staticmethod(math.cos)
    exp = staticmethod(math.exp)
    expm1 = staticmethod(math.expm1)
    log1p = staticmethod(math.log1p)
    sqrt = staticmethod(math.sqrt)
    tanh = staticmethod(math.tanh)
    abs = staticmethod(math.fabs)

    @staticmethod
    def floor(x: float) -> float:
        return float(math.floor(x))

    @staticmethod
    def clip(x: float, low: float, high: float) -> float:
        return low if x < low else high if x > high else x


SCALARS: Final[Any] = _Scalars()


def namespace_of(values: Any) -> Any:
    """The module whose functions work on `values`; it is imported already, since `values` exists."""
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if torch is not None and isinstance(values, torch.Tensor):
        if values.dtype in (torch.float16, torch.bfloat16):
            raise TypeError(f"progress in {values.dtype} cannot tell places in a run apart; use float32")
        if values.is_complex() or values.dtype == torch.bool:
            raise TypeError(f"progress must be real; got a tensor of {values.dtype}")
        return torch
    if numpy is not None and isinstance(values, numpy.ndarray):
        if values.dtype == numpy.float16:
            raise TypeError("progress in float16 cannot tell places in a run apart; use float32")
        if values.dtype.kind not in "uif":
            raise TypeError(f"progress must be real; got an array of {values.dtype}")
        return numpy
    if hasattr(values, "__array_namespace__"):
        return values.__array_namespace__()
    raise TypeError(
        f"progress must be a number, a NumPy array or a torch tensor; got {type(values).__name__}. "
        "Put a sequence into an array first."
    )


def quiet(xp: Any) -> AbstractContextManager[Any]:
    """Where NumPy does not warn of overflow, which saturates here, nor of the branches that `choose` leaves out."""
    numpy = sys.modules.get("numpy")
    return nullcontext() if numpy is None or xp is not numpy else numpy.errstate(all="ignore")


def choose(condition: Any, first: Callable[[], Any], second: Callable[[], Any], xp: Any) -> Any:
    """`first()` where `condition` holds, else `second()`; for a scalar only the one that is needed is computed."""
    if xp is SCALARS:
        return first() if condition else second()
    return xp.where(condition, first(), second())


def reached(progress: Any, place: float, xp: Any) -> Any:
    """Whether `progress` has come to `place`, up to rounding."""
    return progress >= place - _tolerance(progress, xp)


def part(progress: Any, begin: float, length: float, xp: Any) -> Any:
    """Progress inside the part of the run from `begin` on, from 0 at its beginning to 1 at its end and beyond."""
    return from_beginning(xp.clip((progress - begin) / length, 0.0, LARGEST), xp)


def turns_at(progress: Any, times: float, xp: Any) -> Any:
    """How often something that happens `times` in a budget has happened."""
    return xp.clip(progress * times, 0.0, LARGEST)


def from_beginning(progress: Any, xp: Any) -> Any:
    """Progress inside a part, where a rounding error beside its beginning is its beginning: steep curves show it."""
    return choose(progress <= _tolerance(progress, xp), lambda: 0.0 * progress, lambda: progress, xp)


def whole(x: Any, xp: Any) -> Any:
    """The largest whole number not above `x`, where a value a rounding error below a whole number is that number."""
    return xp.floor(x + _tolerance(x, xp))


def _tolerance(values: Any, xp: Any) -> float:
    if xp is SCALARS:
        return BOUNDARY
    return max(BOUNDARY, 8.0 * float(xp.finfo(values.dtype).eps))
