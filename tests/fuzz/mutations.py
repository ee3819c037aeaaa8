"""Ways in which a state or a file may be spoilt, drawn by Hypothesis."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import torch
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("LEHR_FUZZ", "10"))
"""How many examples of each kind: few by default, thousands to search."""

DEEPEST = 8

CLEAR = Path("/proc/self/clear_refs")
"""Where Linux takes it that a process's peak of memory begins anew."""

SEARCHING = EXAMPLES >= 100
"""Whether this is a search and no test."""

fuzzed = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=not SEARCHING,
    phases=[Phase.generate, Phase.shrink],
)  # fmt: skip


def _deep(levels: int = 5_000) -> list[Any]:
    tree: list[Any] = []
    for _ in range(levels):
        tree = [tree]
    return tree


VALUES: list[Any] = [
    None, True, False, 0, 1, -1, -5, 3, 7.5, -0.5, 1e-300, 1e30, -1e30, 1e300, 2**63, 10**400, -(10**400), float("nan"),
    float("inf"), -float("inf"), "", "x", "1", "Linear()", "é" * 1_000_000, b"bytes", [], [1.0], [[]], (), {}, {"a": 1},
    {3: 4}, [float("nan")] * 3, [-1.0] * 3, [1e308] * 3, _deep, {1, 2}, object, torch.tensor(-5.0),
    torch.tensor(float("nan")), torch.zeros(7), torch.zeros(1, 6), torch.full((1, 6), float("inf")), torch.zeros(3),
    torch.zeros(0), torch.zeros(1).expand(2**33), torch.zeros(2, dtype=torch.int64), torch.ones(2).to_sparse(),
    torch.zeros(7, device="meta"), torch.zeros(1, dtype=torch.complex64),
    "Linear() * " * 90 + "Linear()", "Constant(1e308) * Constant(1e308)", "Constant(-5)", ["Constant(-5)"],
    ["Linear()"], ["Linear()", "Linear()"], ["(" * 900], ["Linear().sampled(1000000000)"], ["Constant(1e308) * 1e308"],
]  # fmt: skip


def places(tree: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to everything in a state."""
    if where:
        yield where
    if len(where) > DEEPEST:
        return
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in inner:
        yield from places(value, (*where, key))


def spoil(state: dict[str, Any], data: st.DataObject) -> dict[str, Any]:
    """The state with one to three things changed."""
    spoilt = deepcopy(state)
    for _ in range(data.draw(st.integers(1, 3))):
        options = list(places(spoilt))
        if not options:
            break
        *way, last = _one_of(options, data)
        holder = spoilt
        for key in way:
            holder = holder[key]
        value = holder[last]
        kind = data.draw(st.sampled_from(["replace", "drop", "rename", "scale", "nest", "spot", "swap"]))
        if kind == "drop":
            del holder[last]
        elif kind == "rename" and isinstance(holder, dict):
            holder[f"{last}_"] = holder.pop(last)
        elif kind == "scale" and (_is_small(value) or (isinstance(value, int | float) and not isinstance(value, bool))):
            by = data.draw(st.sampled_from([-1, 0, 2, 0.5, 1e6, -1e-6, 1e200]))
            holder[last] = value * (int(by) if isinstance(value, int) else by)
        elif kind == "nest":
            holder[last] = _one_of([[value], {"a": value}, (value,), [value] * 4], data)
        elif kind == "spot" and _is_small(value):
            flat = value.clone().flatten()
            flat[data.draw(st.integers(0, flat.numel() - 1))] = data.draw(
                st.sampled_from([float("nan"), float("inf"), -1e30, 1e30, -1.0, 0.0])
            )
            holder[last] = flat.reshape(value.shape)
        elif kind == "swap":
            holder[last] = deepcopy(_at(state, _one_of(options, data)))
        else:
            holder[last] = made(_one_of(VALUES, data))
    return spoilt


def made(value: Any) -> Any:
    """One of the values, made anew each time, since a next change may change it."""
    return value() if value is _deep else deepcopy(value)


def replaced(state: dict[str, Any]) -> Iterator[Callable[[], dict[str, Any]]]:
    """How to make the state with one thing replaced: every thing in turn, by every value."""
    for value in VALUES:
        for place in places(state):
            yield partial(_replaced, state, place, value)


def _replaced(state: dict[str, Any], place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    spoilt = deepcopy(state)
    *way, last = place
    holder = spoilt
    for key in way:
        holder = holder[key]
    holder[last] = made(value)
    return spoilt


def _is_small(value: Any) -> bool:
    """Whether it is a tensor that can be computed with, which not all of those above are."""
    if not isinstance(value, torch.Tensor) or value.layout is not torch.strided or value.device.type == "meta":
        return False
    return value.is_floating_point() and 0 < value.numel() < 10_000


def _one_of(things: list[Any], data: st.DataObject) -> Any:
    """By its place, since Hypothesis would print the things themselves, whatever their size."""
    return things[data.draw(st.integers(0, len(things) - 1))]


def _at(tree: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        try:
            tree = tree[key]
        except (KeyError, IndexError, TypeError):
            return None
    return tree


def spoil_bytes(content: bytes, data: st.DataObject) -> bytes:
    """The file with one to four stretches changed."""
    spoilt = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        if not spoilt:
            break
        start = data.draw(st.integers(0, len(spoilt) - 1))
        stretch = slice(start, start + data.draw(st.sampled_from([1, 1, 2, 4, 8, 100])))
        kind = data.draw(st.sampled_from(["flip", "flip", "set", "cut", "zero", "ones", "repeat", "drop"]))
        if kind == "flip":
            spoilt[start] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "set":
            spoilt[start] = data.draw(st.integers(0, 255))
        elif kind == "cut":
            del spoilt[start:]
        elif kind == "repeat":
            spoilt[start:start] = spoilt[stretch]
        elif kind == "drop":
            del spoilt[stretch]
        else:
            spoilt[stretch] = bytes([0 if kind == "zero" else 255]) * len(spoilt[stretch])
    return bytes(spoilt)


def same(one: Any, other: Any) -> bool:
    """Whether two states are equal, where not-a-number equals itself."""
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        return (
            one.shape == other.shape
            and one.dtype == other.dtype
            and torch.equal(one.nan_to_num(7), other.nan_to_num(7))
        )
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other or (one != one and other != other))


@contextmanager
def bounded(megabytes: int, seconds: float = 5.0) -> Iterator[None]:
    """A context that fails if what is in it takes more memory at any time than there was before, or too long.

    The peak is set back first and seconds are the processor's, so neither what ran before nor what runs beside matters,
    and what fails once fails again.
    """
    CLEAR.write_text("5")
    before, began = _memory("VmRSS"), time.process_time()
    try:
        yield
    finally:  # a refusal must not take more either
        took, grown = time.process_time() - began, _memory("VmHWM") - before
        assert grown < megabytes, f"{grown} MB"
        assert took < seconds, f"{took:.1f} s"


def _memory(kind: str) -> int:
    """Resident megabytes of this process, now (VmRSS) or at the most since the peak was set back (VmHWM)."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(kind))
    return int(line.split()[1]) // 1024
