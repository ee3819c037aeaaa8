"""Runs as files: one JSON a run, written whole or not at all, read with suspicion."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import torch

import lehr
from lehr.lab.files import write_text
from lehr.lab.reader import read
from lehr.lab.results import Environment, Setting
from lehr.lab.run import Run
from lehr.lab.sealed import read_bytes, seal, unseal


class Job(Protocol):
    """What a run is made for."""

    def unlike(self, run: Run) -> str: ...


@cache
def here() -> Environment:
    """The environment of this process."""
    return Environment(
        lehr=lehr.__version__,
        commit=_commit(),
        python=platform.python_version(),
        torch=torch.__version__,
        packages={name: found for name in ("numpy", "scipy", "scikit-learn", "datasets") if (found := _version(name))},
        platform=platform.platform(),
        processor=_processor(),
        cores=os.cpu_count(),
    )


def environment() -> dict[str, Any]:
    """The environment of this process as plain data, for files of one's own."""
    return asdict(here())


@dataclass(frozen=True)
class Record:
    """A run with what made it: the contents of its file.

    Args:
        setting: what all runs of its comparison share.
        environment: versions and machine.
        run: what came of it.
    """

    setting: Setting
    environment: Environment
    run: Run


def write_run(path: Path, run: Run, setting: Setting) -> None:
    """Keep a run, with the setting that made it."""
    write_text(path, text_of(run, setting))


def text_of(run: Run, setting: Setting) -> str:
    """What the file of a run holds that was made in this process."""
    return seal("run", asdict(Record(setting, here(), run)))


def read_run(path: Path, setting: Setting, job: Job) -> Run:
    """A run from its file.

    Args:
        path: of the file.
        setting: what must have made it.
        job: what it must be the run of.

    Raises:
        ValueError: if the file is damaged, or another setting made it.
    """
    body = unseal("run", read_bytes(path), str(path))
    try:
        record = read(Record, body, str(path))
    except ValueError as error:
        raise ValueError(
            f"{error}: it is not a run of lehr compare; delete it and give the command again to make that run anew"
        ) from None
    if what := setting.unlike(record.setting):
        raise ValueError(f"{path.parent.parent} holds runs of another comparison ({what}); choose another --out")
    if what := job.unlike(record.run):
        raise ValueError(f"{path} is of another run ({what}); choose another --out, or delete the file")
    return record.run


def _commit() -> str | None:
    """The commit of lehr's own checkout, with a plus sign if it has been changed since; None for an installed wheel."""
    try:
        top = Path(_git("rev-parse", "--show-toplevel"))
        if not (top / "src" / "lehr").is_dir():  # lehr is installed inside somebody else's repository
            return None
        head = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{head}+" if changed else head


def _git(*arguments: str) -> str:
    """What git says of lehr's own folder, leaving the index of whoever works there as it is."""
    return subprocess.check_output(
        ["git", "-C", str(Path(__file__).parent), *arguments],  # noqa: S607 - git is found as the user finds it
        text=True, stderr=subprocess.DEVNULL, env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
    ).strip()  # fmt: skip


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
