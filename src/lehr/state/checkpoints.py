"""A run's checkpoints on disk: whole or not at all, checked when they are read, and the one before kept."""

from __future__ import annotations

import hashlib
import io
import os
import re
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import torch

from lehr._arguments import path_argument, whole_argument
from lehr.state import saved_tensors
from lehr.state.files import SUFFIX, move, new_file
from lehr.state.loading import all_or_nothing, load_part

ABANDONED: Final = 3_600.0
"""Seconds after which a file that is still being written is taken for left behind."""

FARTHEST: Final = 2**63
"""No run has so many steps."""

LISTS: Final = 3
"""How often to look before there is no checkpoint."""


class Stateful(Protocol):
    """What can be saved and loaded."""

    def state_dict(self) -> Any:
        """Its state."""

    def load_state_dict(self, state_dict: Any, /) -> Any:
        """Take up a state."""


class Checkpoints:
    """A run's checkpoints in a folder, for runs that may be killed at any moment.

    A file is written beside its place and moved there when it is complete, so a kill leaves the last one as it was. Its
    name says the step and carries a hash of that and of its contents: one that is truncated, damaged or renamed is put
    aside with a warning, and the one before it is used. Everything is read with `weights_only=True`, so a file from a
    stranger can run no code, and no more is read than the file is long (compressed files, and tensors that are expanded
    by more than 64 MiB beyond what is stored of them, are refused). If a part refuses its state, all are left as they
    were. With several processes, save on rank 0 only, and resume on all; one may resume while another saves.

    Args:
        folder: where they are; made if need be.
        parts: by name, what belongs to the run: model, optimizer, scheduler, `random=RandomState()`, the data's
            position; whatever has `state_dict` and `load_state_dict`.
        keep: how many to keep, at least 1; older ones are deleted.

    Raises:
        TypeError: if a part has no state_dict and load_state_dict.
        ValueError: if `keep` is out of range, or `folder` is a file.

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
        keep = whole_argument("Checkpoints: keep", keep)
        for name, part in parts.items():
            if not hasattr(part, "state_dict") or not hasattr(part, "load_state_dict"):
                raise TypeError(
                    f"Checkpoints: {name} must have state_dict and load_state_dict; a {type(part).__name__} has not"
                )
        if not parts:
            raise TypeError("Checkpoints: give what to save by name, such as model=model, optimizer=optimizer")
        self.folder = path_argument("Checkpoints: folder", folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f"Checkpoints: folder must be a folder; {self.folder} is a file")
        self.parts = parts
        self.keep = keep
        self._tried = False

    def save(self, step: int) -> Path:
        """Write the state of all parts now, and delete what is older than the last `keep`.

        Args:
            step: where the run is, such as `scheduler.updates`, at least 0; `resume` returns it.

        Raises:
            ValueError: if a part's state could not be loaded again; found out at the first save.
        """
        step = whole_argument("Checkpoints.save: step", step, 0, FARTHEST - 1)
        self._clean()
        with new_file(self.folder) as part:
            state = {name: part.state_dict() for name, part in self.parts.items()}
            with part.open("wb") as file:  # given a path, torch would write its name into the file
                torch.save(state, file)
            if not self._tried:
                _try(part, state)
                self._tried = True
            earlier = self._newest_first()
            name = _Name(earlier[0].name.number + 1 if earlier else 1, step)
            with part.open("rb") as written:
                path = self.folder / f"{name}{_hash(written, name)}.pt"
            move(part, path)
        for old in earlier[self.keep - 1 :]:
            if not old.path.is_dir():  # of ours no file is one
                old.path.unlink(missing_ok=True)
        return path

    def resume(self, **arguments: Mapping[str, Any]) -> int | None:
        """Load the checkpoint that was saved last and is whole into all parts; one that is damaged is put aside.

        Args:
            arguments: by part, what else to hand to its `load_state_dict`: `scheduler={"accept": "budget"}`.

        Returns:
            The step it was saved at; None if there is no checkpoint, and the run starts anew.

        Raises:
            ValueError: if there are checkpoints, but all are damaged, or it holds other parts than these, or one of
                them refuses its state.
        """
        self._clean()
        vanished = False
        while (newest := self._newest()) is not None:
            try:
                state = _read(newest)
            except FileNotFoundError:  # the process that saves has deleted it, and so has written a newer one
                vanished = True
                continue
            except _DamagedError as error:
                with suppress(FileNotFoundError):  # another process may put it aside too
                    newest.path.rename(newest.path.with_suffix(".damaged"))
                warnings.warn(f"{newest.path} is {error}, so the checkpoint before it is used", stacklevel=2)
                continue
            self._load(newest.path, state, arguments)
            return newest.name.step
        if vanished:
            raise ValueError(f"the checkpoints in {self.folder} were deleted while one was read; call resume again")
        if list(self.folder.glob("*.damaged")):
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
        with all_or_nothing(self.parts.values()):
            for name, part in self.parts.items():
                load_part(f"{path}: {name}", part, state[name], arguments.get(name))

    def _newest(self) -> _Checkpoint | None:
        """The one saved last; a folder is listed file by file, so one list may miss a save that comes meanwhile."""
        for _ in range(LISTS):
            if checkpoints := self._newest_first():
                return checkpoints[0]
        return None

    def _newest_first(self) -> list[_Checkpoint]:
        matches = [(path, _NAME.fullmatch(path.name)) for path in self.folder.glob("*-step-*-*.pt")]
        checkpoints = [
            _Checkpoint(path, _Name(int(match[1]), int(match[2])), match[3]) for path, match in matches if match
        ]
        return sorted(checkpoints, key=lambda one: one.name.number, reverse=True)

    def _clean(self) -> None:
        """Remove what a process that was killed while it wrote has left; another may be writing now."""
        for part in self.folder.glob(f".*{SUFFIX}"):
            with suppress(FileNotFoundError):
                if time.time() - part.stat().st_mtime > ABANDONED:
                    part.unlink()


class _Name(NamedTuple):
    """What a file's name says: which save it was, and at which step of the run."""

    number: int
    step: int

    def __str__(self) -> str:
        return f"{self.number:06d}-step-{self.step}-"


class _Checkpoint(NamedTuple):
    """A file that by its name is a checkpoint."""

    path: Path
    name: _Name
    hash: str


class _DamagedError(Exception):
    """What a file is instead of a checkpoint."""


_NAME = re.compile(r"([0-9]{6,18})-step-([0-9]{1,19})-([0-9a-f]{16})\.pt")


def _read(checkpoint: _Checkpoint) -> dict[str, Any]:
    """What the file holds; it is opened once, so that whoever deletes it meanwhile takes nothing away."""
    if not checkpoint.path.is_file() and os.path.lexists(checkpoint.path):  # to open a pipe may take for ever
        raise _DamagedError("no file")
    with checkpoint.path.open("rb") as file:
        if _hash(file, checkpoint.name) != checkpoint.hash:
            raise _DamagedError("truncated or damaged")
        try:
            state = saved_tensors.load(file)
        except ValueError as error:
            raise _DamagedError(f"damaged, or of other software: {error}") from None
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise _DamagedError("damaged, or of other software: it holds no parts by name")
    return state


def _try(path: Path, state: dict[str, Any]) -> None:
    """Whether the file will load, before a run depends on it."""
    try:
        with path.open("rb") as file:
            saved_tensors.check(file)
    except ValueError:
        for name, part in state.items():
            buffer = io.BytesIO()
            torch.save(part, buffer)
            try:
                saved_tensors.check(buffer)
            except ValueError as error:
                raise ValueError(
                    f"Checkpoints: the state of {name} could not be loaded again, since it holds more than tensors, "
                    f"numbers, text, lists and dictionaries, or expanded tensors: {error}"
                ) from None
        raise


def _hash(file: Any, name: _Name) -> str:
    """Of the contents and of the place in the run that the name says, so that neither can change alone."""
    file.seek(0)
    hashed = hashlib.file_digest(file, "sha256")
    hashed.update(str(name).encode())
    return hashed.hexdigest()[:16]
