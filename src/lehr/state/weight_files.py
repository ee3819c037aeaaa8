"""Weights as files: safetensors with a header that says where they come from."""

from __future__ import annotations

import ctypes
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from lehr.state.files import write_atomically

FORMAT: Final = 2
LARGEST: Final = 16 * 2**20
"""No learned schedule has that many bytes, nor that many numbers in a tensor."""

STEEPEST: Final = 1e6
"""No sound weight is larger; sums of such products stay finite."""


def write_weights(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write a file, whole or not at all.

    Args:
        path: where.
        tensors: name -> weights.
        header: plain data: what this is, how it was trained, and on what.
    """
    save = _safetensors().torch.save
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    about = {"format": FORMAT, **header}
    content = save(weights, metadata={"lehr": _text({**about, "digest": _seal(weights, about)})})
    write_atomically(path, lambda part: part.write_bytes(content))


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
    except Exception as error:  # odd bytes raise anything
        raise ValueError(f"{advice} ({type(error).__name__}: {str(error)[:200]})") from None
    if not isinstance(header, dict) or header.get("format") != FORMAT or header.get("kind") != kind:
        raise ValueError(f"{advice}: it must say format {FORMAT} and kind {kind!r}")
    written = header.pop("digest", None)
    try:
        intact = written == _seal(tensors, header)
    except (RecursionError, ValueError):  # a header that JSON cannot write
        intact = False
    if not intact:
        raise ValueError(f"{path} is damaged: its weights or its header are not those that were written")
    return sound(path, tensors), header


def sound(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors as float32, if they are finite numbers and not too many.

    Raises:
        ValueError: if they are not.
    """
    for name, tensor in tensors.items():
        if tensor.dtype not in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
            raise ValueError(f"{path} holds {tensor.dtype} where weights should be, as {name}")
        if tensor.layout is not torch.strided or tensor.ndim not in (1, 2) or tensor.numel() > LARGEST:
            raise ValueError(f"{path} holds weights of an impossible shape, as {name}")
        if not bool((tensor.abs() <= STEEPEST).all()):  # which is not true of what is not a number either
            raise ValueError(f"{path} holds weights that are not finite numbers of a sound size, as {name}")
    return {name: tensor.float() for name, tensor in tensors.items()}


def check_fit(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Whether the tensors have the names and shapes of `expected`, which may be on the device "meta".

    Raises:
        ValueError: if they have not, with the first that differs.
    """
    if missing := sorted(set(expected) - set(tensors)):
        raise ValueError(f"it has no {missing[0]}")
    if unknown := sorted(set(tensors) - set(expected)):
        raise ValueError(f"it has a {unknown[0]} that does not belong there")
    for name, tensor in expected.items():
        if tensors[name].shape != tensor.shape:
            raise ValueError(f"{name} has the shape {tuple(tensors[name].shape)}, not {tuple(tensor.shape)}")


def digest(state: Mapping[str, Tensor]) -> str:
    """What tells weights apart: a hash of their names and bytes."""
    hashed = hashlib.sha256()
    for name in sorted(state):
        hashed.update(name.encode())
        hashed.update(_bytes(state[name]))
    return hashed.hexdigest()


def size_checked(path: Path) -> Path:
    """The path, if there is a file of a size that weights can have.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is too large.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path} is too large for learned weights ({path.stat().st_size} bytes)")
    return path


def _seal(tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> str:
    """A hash of everything in a file: the header, and each tensor's name, kind, shape and bytes."""
    kinds = {name: [str(tensor.dtype), *tensor.shape] for name, tensor in tensors.items()}
    return hashlib.sha256((_text([header, kinds]) + digest(tensors)).encode()).hexdigest()


def _text(value: Any) -> str:
    return json.dumps(value, allow_nan=False, sort_keys=True)


def _bytes(tensor: Tensor) -> bytes:
    flat = tensor.detach().cpu().contiguous()
    return ctypes.string_at(flat.data_ptr(), flat.numel() * flat.element_size()) if flat.numel() else b""


def _safetensors() -> Any:
    """The library, which only those need who read or write files."""
    try:
        import safetensors.torch
    except ImportError:
        raise ImportError("files of learned weights need safetensors: pip install 'lehr[learned]'") from None
    return safetensors
