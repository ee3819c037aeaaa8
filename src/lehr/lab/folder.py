"""The folder of a comparison: one comparison at a time, of this version of lehr, without what a killed one left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from lehr.lab.sealed import check_version

UNFINISHED: Final = (".*.json.*", ".*.html.*", ".*.part")
"""Files that were being written; they lie beside those that they would have become."""


@contextmanager
def alone_in(out: Path) -> Iterator[Path]:
    """A context in which no other comparison works in `out`, with the folder of its runs; both are made if need be.

    The file of the lock stays: were it deleted, one process could lock the deleted file and another one a new file.

    Raises:
        ValueError: if another comparison works there, or another version of lehr wrote what is there.
        OSError: if the folder cannot be written.
    """
    runs = out / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ValueError(f"another lehr compare is working in {out}; wait for it, or choose another --out") from None
    try:
        for path in (out / "results.json", *sorted(runs.glob("[!.]*.json"))):
            check_version(path)
        for folder in (out, runs):
            for part in (part for pattern in UNFINISHED for part in folder.glob(pattern)):
                part.unlink(missing_ok=True)
        yield runs
    finally:
        lock.release()
