"""Notices where Python asks a tensor for its number, which on a device means waiting for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

WAYS = ("item", "tolist", "__float__", "__bool__", "__int__", "cpu", "numpy")


@contextmanager
def noted(monkeypatch: pytest.MonkeyPatch, asked: list[str]) -> Iterator[None]:
    """Each look at a tensor goes into `asked`."""

    def noting(name: str) -> Callable[..., Any]:
        original = getattr(torch.Tensor, name)

        def wrapped(self: torch.Tensor, *args: Any) -> Any:
            asked.append(name)
            return original(self, *args)

        return wrapped

    with monkeypatch.context() as patch:
        for name in WAYS:
            patch.setattr(torch.Tensor, name, noting(name))
        yield
