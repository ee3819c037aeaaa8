"""Files that are never half written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

SUFFIX: Final = ".part"
"""Of a file that is still being written; its name begins with a dot."""


def write_atomically(path: str | os.PathLike[str], fill: Callable[[Path], Any]) -> None:
    """Write a file whole or not at all: beside its place, made to last on the disk, then moved there in one go.

    Whoever reads `path` meanwhile sees the old file or the new one, and a process that is killed leaves the old one.
    The folder is made if need be, and everybody may read the file.

    Args:
        path: where the file belongs.
        fill: called with the path of an empty file in the same folder, which it writes; if it raises, nothing changes.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "results", "one.txt")
    >>> write_atomically(path, lambda part: part.write_text("whole"))
    >>> path.read_text(), [file.name for file in path.parent.iterdir()]
    ('whole', ['one.txt'])
    """
    place = Path(path)
    with new_file(place.parent) as part:
        fill(part)
        move(part, place)


@contextmanager
def new_file(folder: Path) -> Iterator[Path]:
    """A context with an empty file in the folder to fill and to `move`; it is gone afterwards if nobody moved it."""
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".", suffix=SUFFIX, dir=folder)
    os.close(handle)
    part = Path(name)
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


def move(part: Path, path: Path) -> None:
    """Put a file that is complete in its place in the same folder; once this returns, a power cut cannot undo it."""
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.chmod(0o644)
    part.replace(path)
    if hasattr(os, "O_DIRECTORY"):  # the move itself must last too, where the system has a way to
        handle = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
