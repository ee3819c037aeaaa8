"""A run's checkpoints on disk: whole or not at all, checked when they are read, and the one before kept."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import re
import tempfile
import time
import warnings
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final, Protocol

import torch

from lehr.state.snapshots import snapshot

ABANDONED: Final = 3_600.0
"""Seconds after which a file that is still being written is taken for left behind."""


class Stateful(Protocol):
    """What can be saved and loaded."""

    def state_dict(self) -> Any:
        """Its state."""

    def load_state_dict(self, state_dict: Any, /) -> Any:
        """Take up a state."""


class Checkpoints:
    """A run's checkpoints in a folder, for runs that may be killed at any moment.

    A file is written beside its place and moved there when it is complete, so a kill leaves the last one as it was. Its
    name carries a hash of its contents: one that is truncated or damaged is put aside with a warning, and the one
    before it is used. Everything is read with `weights_only=True`, so a file from a stranger can run no code. If a part
    refuses its state, all are left as they were. With several processes, save on rank 0 only, and resume on all.

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
        self._tried = False

    def save(self, step: int) -> Path:
        """Write the state of all parts now, and delete what is older than the last `keep`.

        Args:
            step: where the run is, such as `scheduler.last_epoch`, at least 0; `resume` returns it.

        Raises:
            ValueError: if a part's state could not be loaded again; found out at the first save.
        """
        if isinstance(step, bool) or not isinstance(step, int) or step < 0:
            raise ValueError(f"Checkpoints.save: step must be a whole number, at least 0; got {step!r}")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._clean()
        paths = self._newest_first()
        handle, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=self.folder)
        part = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                state = {name: part.state_dict() for name, part in self.parts.items()}
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
            if not self._tried:
                _try(part, state)
                self._tried = True
            number = _numbers(paths[0])[0] + 1 if paths else 1
            path = self.folder / f"{number:06d}-step-{step}-{_hash(part)}.pt"
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        _sync(self.folder)
        for old in paths[self.keep - 1 :]:
            old.unlink(missing_ok=True)
        return path

    def resume(self, **arguments: Mapping[str, Any]) -> int | None:
        """Load the checkpoint that was saved last and is whole into all parts; one that is damaged is put aside.

        Args:
            arguments: by part, what else to hand to its `load_state_dict`: `scheduler={"accept": "budget"}`.

        Returns:
            The step it was saved at; None if there is no checkpoint, and the run starts anew.

        Raises:
            ValueError: if there are checkpoints, but all are damaged, or it holds other parts than these.
        """
        self._clean()
        paths = self._newest_first()
        for path in paths:
            state = _read(path)
            if state is not None:
                self._load(path, state, arguments)
                return _numbers(path)[1]
            with suppress(FileNotFoundError):
                path.rename(path.with_suffix(".damaged"))
            warnings.warn(f"{path} is truncated or damaged, so the checkpoint before it is used", stacklevel=2)
        if paths or list(self.folder.glob("*.damaged")):
            raise ValueError(f"all checkpoints in {self.folder} are damaged; delete the folder to start anew")
        return None

    def _load(self, path: Path, state: dict[str, Any], arguments: Mapping[str, Mapping[str, Any]]) -> None:
        if set(state) != set(self.parts):
            raise ValueError(
                f"{path} holds {', '.join(sorted(state))}, but this run has {', '.join(sorted(self.parts))}; give "
                "Checkpoints the parts that were saved"
            )
        if unknown := set(arguments) - set(self.parts):
            raise ValueError(f"Checkpoints.resume: there is no part {', '.join(sorted(unknown))}")
        with ExitStack() as undo:  # a part that refuses its state leaves the others as they were
            for part in self.parts.values():
                undo.callback(snapshot(part))
            for name, part in self.parts.items():
                part.load_state_dict(state[name], **arguments.get(name, {}))
            undo.pop_all()

    def _newest_first(self) -> list[Path]:
        paths = [path for path in self.folder.glob("*-step-*-*.pt") if _NAME.fullmatch(path.name)]
        return sorted(paths, key=lambda path: _numbers(path)[0], reverse=True)

    def _clean(self) -> None:
        """Remove what a process that was killed while it wrote has left; another may be writing now."""
        for part in self.folder.glob(".*.part"):
            with suppress(FileNotFoundError):
                if time.time() - part.stat().st_mtime > ABANDONED:
                    part.unlink()


_NAME = re.compile(r"(\d+)-step-(\d+)-([0-9a-f]{16})\.pt")


def _numbers(path: Path) -> tuple[int, int]:
    """Which save it was, and at which step."""
    match = _NAME.fullmatch(path.name)
    assert match is not None
    return int(match[1]), int(match[2])


def _read(path: Path) -> dict[str, Any] | None:
    """What the file holds, or None if that is not what was written."""
    match = _NAME.fullmatch(path.name)
    try:
        if match is None or _hash(path) != match[3]:
            return None
    except FileNotFoundError:  # deleted meanwhile by the process that saves
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def _try(path: Path, state: dict[str, Any]) -> None:
    """Whether the file will load, before a run depends on it."""
    try:
        torch.load(path, map_location="meta", weights_only=True)
    except pickle.UnpicklingError:
        for name, part in state.items():
            buffer = io.BytesIO()
            torch.save(part, buffer)
            buffer.seek(0)
            try:
                torch.load(buffer, weights_only=True)
            except pickle.UnpicklingError as error:
                raise ValueError(
                    f"Checkpoints: the state of {name} could not be loaded again, since it holds more than tensors, "
                    f"numbers, text, lists and dictionaries ({str(error).splitlines()[0][:120]})"
                ) from None
        raise


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
