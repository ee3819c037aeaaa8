"""Options in a file: what `lehr compare --config` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer
import yaml


def from_file(context: typer.Context, path: str) -> str:
    """Take the options in a YAML file as if they were given, where the command line does not say otherwise.

    Args:
        context: of the command, whose options are known.
        path: of the file; empty for none.
    """
    if path:
        known = {option.name or "" for option in context.command.params} - {"config", "help"}
        context.default_map = {**(context.default_map or {}), **options_in(Path(path), known)}
    return path


def options_in(path: Path, known: set[str]) -> dict[str, Any]:
    """The options of a YAML file by their names in Python; a list becomes a text with commas.

    Args:
        path: of the file.
        known: names that there are, with underscores.

    Raises:
        ValueError: if the file is missing, no YAML, or names an option that there is not.
    """
    if not path.is_file():
        raise ValueError(f"--config: there is no file {path}")
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"--config: {path} is no YAML ({' '.join(str(error).split())})") from None
    if not isinstance(said, dict):
        raise ValueError(f"--config: {path} must hold options by name, such as 'budget: 10ep'")
    options = {str(name).replace("-", "_"): _text(path, name, value) for name, value in said.items()}
    options = {_SPELLINGS.get(name, name): value for name, value in options.items()}
    if unknown := sorted(options.keys() - known):
        raise ValueError(f"--config: {path} has the option {unknown[0]!r}; there are {', '.join(sorted(known))}")
    return options


_SPELLINGS = {"devices": "device"}


def _text(path: Path, name: object, value: object) -> str | bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, list) and all(isinstance(one, str | int | float) for one in value):
        return ",".join(map(str, value))
    if isinstance(value, str | int | float):
        return str(value)
    raise ValueError(f"--config: {path} must say {name} as a text, a number or a list of them; got {value!r}")
