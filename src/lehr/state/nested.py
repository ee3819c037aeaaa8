"""Copies of nested state: tensors, numbers and text in lists, tuples, sets and dictionaries."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable
from copy import deepcopy
from typing import Any, Final

import torch
from torch import Tensor, nn

from lehr.state.generators import is_generator, keep_generator

SIMPLE: Final = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device)

Restore = Callable[[], None]


def copy_state(value: Any) -> Any:
    """A copy that shares no memory with `value`; tensors lose their graph.

    >>> state = {"moments": [torch.ones(1)]}
    >>> copy = copy_state(state)
    >>> _ = state["moments"][0].zero_()
    >>> copy
    {'moments': [tensor([1.])]}
    """
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, SIMPLE):
        return value
    if type(value) in (list, tuple, set, frozenset, deque):
        return type(value)(map(copy_state, value))
    if type(value) is dict:
        return {key: copy_state(item) for key, item in value.items()}
    return deepcopy(value)


def keep_contents(value: Any, known: Collection[int] = ()) -> Restore | None:
    """Note what a value holds; what is returned fills it again, in place. None if nothing of it can change.

    Modules, and objects of kinds that are not known here, are left to others.

    Args:
        value: a tensor, a generator of random numbers, or a list, dictionary, set or deque of such.
        known: ids of tensors that others keep.
    """
    if isinstance(value, Tensor):
        left = id(value) in known or isinstance(value, nn.Parameter) or _is_freed(value)
        return None if left else _keep_tensor(value)
    if isinstance(value, tuple):
        return _all(value, known)
    if isinstance(value, list | deque):
        return _Container(list(value), value.extend, value.clear, _all(value, known))
    if isinstance(value, dict):
        return _Container(dict(value), value.update, value.clear, _all(value.values(), known))
    if isinstance(value, set):
        return _Container(set(value), value.update, value.clear, _all((), known))
    return keep_generator(value) if is_generator(value) else None


class _Container:
    """The items of a container, which are put into it again."""

    def __init__(self, items: Any, fill: Callable[[Any], None], clear: Callable[[], None], inner: Restore) -> None:
        self._items = items
        self._fill = fill
        self._clear = clear
        self._inner = inner

    def __call__(self) -> None:
        self._clear()
        self._fill(self._items)
        self._inner()


def _is_freed(tensor: Tensor) -> bool:
    """Whether its memory is given back meanwhile, as by a wrapper that gathers weights; to read it then is a crash."""
    plain = type(tensor) is Tensor and tensor.layout is torch.strided
    return plain and tensor.numel() > 0 and tensor.untyped_storage().nbytes() == 0


def _keep_tensor(tensor: Tensor) -> Restore:
    memory, copy = tensor.detach(), tensor.detach().clone()

    @torch.no_grad()
    def restore() -> None:
        now = tensor.detach()
        if (now.dtype, now.shape) != (memory.dtype, memory.shape) or _address(now) != _address(memory):
            tensor.data = memory
        tensor.copy_(copy)

    return restore


def _all(values: Iterable[Any], known: Collection[int]) -> Restore:
    restores = [restore for value in values if (restore := keep_contents(value, known)) is not None]

    def restore_all() -> None:
        for restore in restores:
            restore()

    return restore_all


def _address(tensor: Tensor) -> int | None:
    try:
        return tensor.data_ptr()
    except RuntimeError:  # tensors without memory of their own, such as distributed ones
        return None
