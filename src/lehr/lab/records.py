"""Runs as files: one JSON a run, written whole or not at all, read with suspicion."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from dataclasses import asdict, fields
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import torch

import lehr
from lehr.lab.files import write_json
from lehr.lab.run import Run

FORMAT: Final = 1


@cache
def environment() -> dict[str, Any]:
    """What a reader must know to make the figures again: versions, machine and code."""
    return {
        "lehr": lehr.__version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "packages": {
            name: found for name in ("numpy", "scipy", "scikit-learn", "datasets") if (found := _version(name))
        },
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
    }


def write_run(path: Path, run: Run, setting: dict[str, Any]) -> None:
    """Keep a run, with the setting that made it."""
    write_json(
        path, {"format": FORMAT, "setting": setting, "environment": environment(), "run": asdict(run)}, indent=None
    )


def read_run(path: Path, setting: dict[str, Any], expected: dict[str, Any]) -> Run:
    """A run from its file.

    Args:
        path: of the file.
        setting: what must have made it.
        expected: the method, policy, seed and rate (None: any) that it must be of.

    Raises:
        ValueError: if the file is damaged, or another setting made it.
    """
    kept = read_json(path)
    try:
        known = {item.name for item in fields(Run)}
        run = Run(**{name: value for name, value in kept["run"].items() if name in known})
        made_by = kept["setting"]
        sound = (
            kept["format"] == FORMAT
            and isinstance(made_by, dict)
            and isinstance(run.curve, list)
            and isinstance(run.lr, float | int)
            and all(isinstance(value, float | int | None) for value in (run.test, run.validation, run.diverged_at))
        )
    except (KeyError, TypeError, AttributeError):
        sound = False
    if not sound:
        raise ValueError(
            f"{path} is not a run of lehr compare; delete it and give the command again to make that run anew"
        )
    if made_by != setting:
        what = ", ".join(f"{k} {made_by.get(k)!r} there, {v!r} here" for k, v in setting.items() if made_by.get(k) != v)
        raise ValueError(f"{path.parent.parent} holds runs of another comparison ({what}); choose another --out")
    if other := {name: value for name, value in expected.items() if value is not None and getattr(run, name) != value}:
        what = ", ".join(f"{name} {getattr(run, name)!r} there, {value!r} here" for name, value in other.items())
        raise ValueError(f"{path} is of another run ({what}); choose another --out, or delete the file")
    return run


def read_json(path: Path) -> Any:
    """The contents of a JSON file.

    Raises:
        ValueError: if the file is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"there is no file {path}") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise ValueError(f"{path} is damaged; delete it and give the command that made it again") from None


def _commit() -> str | None:
    """The commit of lehr's own checkout, with a plus sign if it has been changed since; None for an installed wheel."""
    here = Path(__file__).parent
    try:
        git = ["git", "-C", str(here)]
        top = Path(
            subprocess.check_output(
                [*git, "rev-parse", "--show-toplevel"], text=True, stderr=subprocess.DEVNULL
            ).strip()
        )
        if not (top / "src" / "lehr").is_dir():  # lehr is installed inside somebody else's repository
            return None
        head = subprocess.check_output(
            [*git, "rev-parse", "--short=12", "HEAD"], text=True, stderr=subprocess.DEVNULL
        ).strip()
        changed = subprocess.check_output([*git, "status", "--porcelain", "--untracked-files=no"], text=True).strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{head}+" if changed else head


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
