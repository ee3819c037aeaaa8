"""A run's checkpoints on disk: whole or not at all, checked when they are read, and the one before kept."""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from pathlib import Path
from typing import Any, Protocol

import torch


class Stateful(Protocol):
    """What can be saved and loaded."""

    def state_dict(self) -> Any:
        """Its state."""

    def load_state_dict(self, state_dict: Any, /) -> Any:
        """Take up a state."""


class Checkpoints:
    """A run's checkpoints in a folder, for runs that may be killed at any moment.

    A file is written beside its place and moved there when it is complete, so a kill leaves the last one as it was. Its
    name carries a hash of its contents: one that is truncated or damaged is passed over with a warning, and the one
    before it is used. Everything is read with `weights_only=True`, so a file from a stranger can run no code. With
    several processes, save on rank 0 only, and resume on all.

    Args:
        folder: where they are; made if need be.
        parts: by name, what belongs to the run: model, optimizer, scheduler, `random=RandomState()`, the data's
            position; whatever has `state_dict` and `load_state_dict`.
        keep: how many to keep, at least 1; older ones are deleted.

    Raises:
        TypeError: if a part has no state_dict and load_state_dict.

    >>> import tempfile
    >>> model = torch.nn.Linear(2, 1)
    >>> checkpoints = Checkpoints(tempfile.mkdtemp(), model=model, random=RandomState())
    >>> checkpoints.resume() is None
    True
    >>> _ = checkpoints.save(100)
    >>> checkpoints.resume()
    100
    """

    def __init__(self, folder: str | os.PathLike[str], *, keep: int = 2, **parts: Stateful) -> None:
        if isinstance(keep, bool) or not isinstance(keep, int) or keep < 1:
            raise ValueError(f"Checkpoints: keep must be a whole number, at least 1; got {keep!r}")
        for name, part in parts.items():
            if not hasattr(part, "state_dict") or not hasattr(part, "load_state_dict"):
                raise TypeError(
                    f"Checkpoints: {name} must have state_dict and load_state_dict; a {type(part).__name__} has not"
                )
        if not parts:
            raise TypeError("Checkpoints: give what to save by name, such as model=model, optimizer=optimizer")
        self.folder = Path(folder)
        self.parts = parts
        self.keep = keep

    def save(self, step: int) -> Path:
        """Write the state of all parts now, and delete what is older than the last `keep`.

        Args:
            step: a number that grows, such as `scheduler.last_epoch`; names the file.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / f".{os.getpid()}.part"
        try:
            with part.open("wb") as file:
                torch.save({name: part.state_dict() for name, part in self.parts.items()}, file)
                file.flush()
                os.fsync(file.fileno())
            path = self.folder / f"step-{step:012d}-{_hash(part)}.pt"
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        _sync(self.folder)
        for old in [other for other in self._newest_first() if other != path][self.keep - 1 :]:
            old.unlink(missing_ok=True)
        return path

    def resume(self) -> int | None:
        """Load the newest checkpoint that is whole into all parts.

        Returns:
            The step it was saved at; None if there is no checkpoint, and the run starts anew.

        Raises:
            ValueError: if there are checkpoints, but all are damaged, or it holds other parts than these.
        """
        for part in self.folder.glob(".*.part"):  # left by a process that was killed while it wrote
            part.unlink(missing_ok=True)
        paths = self._newest_first()
        for path in paths:
            state = _read(path)
            if state is None:
                warnings.warn(f"{path} is truncated or damaged, so the checkpoint before it is used", stacklevel=2)
                continue
            self._load(path, state)
            return _step(path)
        if paths:
            raise ValueError(f"all checkpoints in {self.folder} are damaged; delete them to start anew")
        return None

    def _load(self, path: Path, state: dict[str, Any]) -> None:
        if set(state) != set(self.parts):
            raise ValueError(
                f"{path} holds {', '.join(sorted(state))}, but this run has {', '.join(sorted(self.parts))}; give "
                "Checkpoints the parts that were saved"
            )
        for name, part in self.parts.items():
            part.load_state_dict(state[name])

    def _newest_first(self) -> list[Path]:
        paths = [path for path in self.folder.glob("step-*-*.pt") if _NAME.fullmatch(path.name)]
        return sorted(paths, key=lambda path: (_step(path), path.stat().st_mtime_ns), reverse=True)


_NAME = re.compile(r"step-(\d+)-([0-9a-f]{16})\.pt")


def _step(path: Path) -> int:
    match = _NAME.fullmatch(path.name)
    assert match is not None
    return int(match[1])


def _read(path: Path) -> dict[str, Any] | None:
    """What the file holds, or None if that is not what was written."""
    match = _NAME.fullmatch(path.name)
    if match is None or _hash(path) != match[2]:
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _sync(folder: Path) -> None:
    """Make the move itself last, where the system has a way to."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
