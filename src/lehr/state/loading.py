"""Loading of several parts from one checkpoint: all of them, or none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from torch import nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from lehr.state.nested import Restore
from lehr.state.optimizer_loading import load_optimizer
from lehr.state.snapshots import Stateful, snapshot

LONGEST: Final = 1_000
"""Characters of an error that are passed on."""


@contextmanager
def all_or_nothing(parts: Iterable[Any]) -> Iterator[None]:
    """A context that puts all parts back as they were if an error leaves it.

    Parts without weights yet, as lazy layers are, have none to lose.
    """
    parts = list(parts)
    known = {id(p) for part in parts if isinstance(part, nn.Module) for p in part.parameters()}
    put_backs = [snapshot(part, known) for part in parts if not _lazy(part)]
    try:
        yield
    except BaseException:
        _put_back(put_backs)
        raise


def load_part(where: str, part: Stateful, state: Any, arguments: Mapping[str, Any] | None = None) -> None:
    """Have a part take up its state.

    Args:
        where: which part of which checkpoint it is, as it begins an error.
        part: whatever has `load_state_dict`.
        state: for it.
        arguments: more of `load_state_dict`'s.

    Raises:
        ValueError: if it refuses, whatever it raises itself; it may then be half loaded.
    """
    with refusal(f"{where} refuses its state"):
        if isinstance(part, Optimizer):
            load_optimizer(where, part, state, arguments or {})
        else:
            part.load_state_dict(state, **(arguments or {}))


@contextmanager
def refusal(what: str) -> Iterator[None]:
    """A context whose errors are one sentence each, since every kind of part has errors of its own, of any length.

    Args:
        what: is going on, as it begins an error that is no short ValueError already.

    Raises:
        ValueError: for any error.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, ValueError) and len(str(error)) <= LONGEST:
            raise
        said = f"{type(error).__name__}: {error}"[:LONGEST]
        raise ValueError(f"{what}: {said}") from error


def _put_back(ahead: list[Restore]) -> None:
    """Put all parts back, in whatever order they let it: a scheduler takes its state only beside its own optimizer."""
    while ahead:
        again: list[Restore] = []
        for put_back in ahead:
            try:
                put_back()
            except Exception:
                again.append(put_back)
                if len(again) == len(ahead):
                    raise
        ahead = again


def _lazy(part: Any) -> bool:
    if isinstance(part, Optimizer):
        return any(is_lazy(p) for group in part.param_groups for p in group["params"])
    return isinstance(part, nn.Module) and any(map(is_lazy, part.parameters()))
