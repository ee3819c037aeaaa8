"""What `torch.save` wrote, read with care: no code is run, and no more memory is taken than the file is long."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, Final

import torch
from torch import Tensor

LEEWAY: Final = 64 * 2**20
"""How many bytes the tensors of a file may have beyond those that are stored, as expanded ones do."""


def load(file: BinaryIO) -> Any:
    """What the file holds, on the processor.

    Args:
        file: open for reading, from its beginning.

    Raises:
        ValueError: if that cannot be read without running code, or if it claims to be larger than the file.
        MemoryError: if the machine has no room for it.
    """
    check(file)
    return _load(file, "cpu")


def check(file: BinaryIO) -> None:
    """Whether `load` would succeed, by the file's own table of contents, without reading the tensors.

    Raises:
        ValueError: if it would not.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if file.read(4) == b"PK\x03\x04":  # else it is of the time before torch 1.6, without a table of contents
        _check_entries(file, size)
    beyond = 0
    for tensor in tensors_in(_load(file, "meta")):
        if tensor.layout is not torch.strided:
            continue
        stored = tensor.untyped_storage().nbytes()
        if stored > size:
            raise ValueError(f"a tensor claims to have {stored:,} bytes in a file of {size:,}")
        beyond += max(0, tensor.numel() * tensor.element_size() - stored)
    if beyond > LEEWAY:
        raise ValueError(f"its tensors claim to be {beyond:,} bytes larger than what is stored of them")


def tensors_in(tree: Any) -> Iterator[Tensor]:
    """All tensors in nested dictionaries, lists and tuples, each once."""
    seen: set[int] = set()
    ahead = [tree]
    while ahead:
        thing = ahead.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, Tensor):
            yield thing
        elif isinstance(thing, Mapping):
            ahead.extend(thing.values())
        elif isinstance(thing, list | tuple | set):
            ahead.extend(thing)


def _check_entries(file: BinaryIO, size: int) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            entries, comment = archive.infolist(), archive.comment
    except Exception as error:  # odd bytes raise anything
        raise ValueError(f"its table of contents cannot be read ({_short(error)})") from None
    if comment or any(one.compress_type != zipfile.ZIP_STORED or one.file_size != one.compress_size for one in entries):
        raise ValueError("it is compressed, which torch.save does not do")
    if sum(one.file_size for one in entries) > size:
        raise ValueError("its table of contents claims more bytes than the file has")


def _load(file: BinaryIO, device: str) -> Any:
    file.seek(0)
    try:
        return torch.load(file, map_location=device, weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # odd bytes raise anything
        if device == "cpu" and "allocate" in str(
            error
        ):  # its sizes are sound, so the machine is too full, not the file bad
            raise MemoryError(str(error)) from None
        raise ValueError(f"it cannot be read without running code, or is damaged ({_short(error)})") from None


def _short(error: Exception) -> str:
    lines = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:120]}"
