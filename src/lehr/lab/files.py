"""Where data sets lie on this machine, and files that are never half written."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

import lehr

SYSTEM = Path("/usr/share/datasets")


def cache() -> Path:
    """The user's cache folder for lehr."""
    return user_cache_path("lehr")


def folders(data: str | None) -> list[Path]:
    """Where to look for data: the folder named, else `LEHR_DATA`, then the cache, then the system's."""
    named = data or os.environ.get("LEHR_DATA")
    if data and not Path(data).is_dir():
        raise ValueError(f"--data: there is no folder {data}")
    return [*([Path(named)] if named else []), cache(), SYSTEM]


def find(patterns: tuple[str, ...], data: str | None) -> list[Path] | None:
    """One file for each pattern, all from the first folder that has them all; None if no folder has."""
    for folder in folders(data):
        found = [next(iter(sorted(folder.glob(pattern))), None) for pattern in patterns]
        if all(found):
            return [path for path in found if path is not None]
    return None


def find_in(folder: str, names: Sequence[str]) -> Path | None:
    """The first of these folders that is in the folder; None if none is."""
    return next((path for path in (Path(folder) / name for name in names) if path.is_dir()), None)


def package(name: str) -> Path | None:
    """The folder of an installed package that carries data, without importing it; None if it is not installed."""
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def write_text(path: Path, text: str) -> None:
    """Write the file whole or not at all."""
    write(path, lambda part: part.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Any, indent: int | None = 1) -> None:
    """Write the value as JSON, whole or not at all; not-a-number and infinity become null."""
    write_text(path, json.dumps(_finite(value), indent=indent, allow_nan=False) + "\n")


def write(path: Path, fill: Callable[[Path], Any]) -> None:
    """Let `fill` write a file beside `path`, then put it in its place in one move."""
    lehr.state.write_atomically(path, fill)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and value - value != 0.0:
        return None
    return value
