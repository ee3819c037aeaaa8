"""Whether modules are in training or in evaluation mode."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def same_modes(modules: Iterable[nn.Module]) -> Iterator[None]:
    """A context after which every module is in the mode in which it was, some perhaps frozen in evaluation mode.

    >>> model = nn.Dropout()
    >>> with same_modes([model]):
    ...     model.eval().training
    False
    >>> model.training
    True
    """
    modes = [(part, part.training) for module in modules for part in module.modules()]
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode
