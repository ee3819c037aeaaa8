"""Weights as files: safetensors with a header that says where they come from."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

FORMAT: Final = 1
LARGEST: Final = 16 * 2**20
"""No learned schedule has that many bytes, nor that many numbers in a tensor."""


def write_weights(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write a file, whole or not at all.

    Args:
        path: where.
        tensors: name -> weights.
        header: plain data: what this is, how it was trained, and on what.
    """
    save = _safetensors().torch.save
    held = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    content = save(held, metadata={"lehr": json.dumps({"format": FORMAT, **header}, allow_nan=False)})
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)  # it is there to be shared
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def read_weights(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the header of a file that `write_weights` wrote; nothing in the file is run.

    Args:
        path: of the file.
        kind: what it must hold.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no such file, or damaged.
    """
    library = _safetensors()
    content = size_checked(path)
    advice = f"{path} is not a file of learned weights that lehr wrote"
    try:
        with library.safe_open(content, framework="pt") as file:
            header = json.loads((file.metadata() or {})["lehr"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (library.SafetensorError, KeyError, TypeError, ValueError, RecursionError, RuntimeError, OSError) as error:
        raise ValueError(f"{advice} ({type(error).__name__}: {error})") from None
    if not isinstance(header, dict) or header.get("format") != FORMAT or header.get("kind") != kind:
        raise ValueError(f"{advice}: it must say format {FORMAT} and kind {kind!r}")
    return sound(path, tensors), header


def sound(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors as float32, if they are finite numbers and not too many."""
    for tensor in tensors.values():
        if tensor.dtype not in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
            raise ValueError(f"{path} holds {tensor.dtype} where weights should be")
        if tensor.ndim not in (1, 2) or tensor.numel() > LARGEST or not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{path} holds weights that are not finite numbers, or of an impossible shape")
    return {name: tensor.float() for name, tensor in tensors.items()}


def _safetensors() -> Any:
    """The library, which only those need who read or write files."""
    try:
        import safetensors.torch
    except ImportError:
        raise ImportError("files of learned weights need safetensors: pip install 'lehr[learned]'") from None
    return safetensors


def digest(state: Mapping[str, Tensor]) -> str:
    """What tells weights apart: a hash of their names and bytes."""
    found = hashlib.sha256()
    for name in sorted(state):
        found.update(name.encode())
        found.update(bytes(state[name].detach().cpu().contiguous().view(torch.uint8).flatten().tolist()))
    return found.hexdigest()


def size_checked(path: Path) -> Path:
    """The path, if there is a file of a size that weights can have."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path} is too large for learned weights ({path.stat().st_size} bytes)")
    return path
