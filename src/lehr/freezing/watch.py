"""Looks that a plan takes just before a model, or one of its layers, runs."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

Owner = TypeVar("Owner")
_suspended: list[None] = []


class Watch(Generic[Owner]):
    """A forward pre-hook by which its owner looks at a model before it runs.

    It does not keep the owner alive, does nothing inside a compiled graph, and is not part of copies of the model.

    Args:
        owner: who looks.
        look: what it does then.
    """

    def __init__(self, owner: Owner, look: Callable[[Owner], None]) -> None:
        self._owner = weakref.ref(owner)
        self._look = look

    def __call__(self, module: nn.Module, inputs: Any) -> None:
        if not torch.compiler.is_compiling():
            self.look()

    def look(self) -> None:
        """Have the owner look, if it is still there."""
        owner = self._owner()
        if owner is not None and not _suspended:
            self._look(owner)

    def on(self, modules: Iterable[nn.Module]) -> list[RemovableHandle]:
        """Have the owner look before each of these modules runs, and before other hooks change its parameters."""
        return [module.register_forward_pre_hook(self, prepend=True) for module in modules]

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return _nobody

    def __reduce__(self) -> Any:
        return _hook_of_copies, ()


def look_now(module: nn.Module) -> None:
    """Have all watches on a module look, before it runs."""
    for hook in tuple(module._forward_pre_hooks.values()):
        if isinstance(hook, Watch):
            hook.look()


@contextmanager
def no_watches() -> Iterator[None]:
    """A context in which nobody looks, for trials that let frozen layers train."""
    _suspended.append(None)
    try:
        yield
    finally:
        _suspended.pop()


def _nobody(module: nn.Module, inputs: Any) -> None:
    """The hook in the place of a watch that copies have."""


def _hook_of_copies() -> Any:
    return _nobody
