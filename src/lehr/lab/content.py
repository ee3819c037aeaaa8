"""Hashes of what a task hands over: batches of any make, and functions."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from types import CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lehr.lab.ranks import own_part


def content_hash(*things: Any) -> str:
    """A hash of every number and text in nested batches; of other objects their kind counts.

    >>> content_hash({"ids": torch.ones(2)}) == content_hash({"ids": torch.ones(2)})
    True
    >>> content_hash({"ids": torch.ones(2)}) == content_hash({"ids": torch.zeros(2)})
    False
    """
    digest = hashlib.sha256()
    for part in _parts(things):
        digest.update(part)
    return digest.hexdigest()[:16]


def code_hash(function: Callable[..., Any]) -> str:
    """A hash of what a function does, as far as its own code says; of another callable its kind.

    >>> code_hash(lambda x: x + 1) == code_hash(lambda x: x + 2)
    False
    """
    while isinstance(function, partial | MethodType):
        function = function.func if isinstance(function, partial) else function.__func__
    said = "".join(_said(function.__code__)) if isinstance(function, FunctionType) else type(function).__qualname__
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def _said(code: CodeType) -> Iterator[str]:
    yield f"{code.co_code.hex()} {code.co_names} "
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _said(constant)
        else:
            yield re.sub(r"0x[0-9a-f]+", "", repr(constant))


def _parts(value: Any) -> Iterator[bytes]:
    yield type(value).__name__.encode()
    if isinstance(value, Tensor):
        value = own_part(value)
        plain = (value.to_dense() if value.layout is not torch.strided else value).detach().cpu().contiguous()
        yield f"{value.dtype} {tuple(value.shape)}".encode()
        yield plain.flatten().view(torch.uint8).numpy().tobytes()
    elif isinstance(value, np.ndarray):
        yield f"{value.dtype} {value.shape}".encode()
        yield repr(value.tolist()).encode() if value.dtype.hasobject else value.tobytes()
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield repr(key).encode()
            yield from _parts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _parts(item)
    elif isinstance(value, bool | int | float | complex | str | bytes | None):
        yield repr(value).encode()
    elif is_dataclass(value) and not isinstance(value, type):
        for one in fields(value):
            yield from _parts(getattr(value, one.name))
