"""Options in a file: what `lehr compare --config` reads."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, Final

import typer
import yaml

LARGEST: Final = 100_000
"""No file of options has more bytes; YAML takes time for each, and for each level of nesting."""


def from_file(context: typer.Context, path: str) -> str:
    """Take the options in a YAML file as if they were given, where the command line does not say otherwise.

    Args:
        context: of the command, whose options are known.
        path: of the file; empty for none.
    """
    if path:
        options = {option.name or "": option for option in context.command.params}
        known = options.keys() - {"config", "help"}
        repeated = {name for name in known if getattr(options[name], "multiple", False)}
        flags = {name for name in known if getattr(options[name], "is_flag", False)}
        context.default_map = {**(context.default_map or {}), **options_in(Path(path), known, repeated, flags)}
    return path


def options_in(
    path: Path, known: AbstractSet[str], repeated: AbstractSet[str] = frozenset(), flags: AbstractSet[str] = frozenset()
) -> dict[str, Any]:
    """The options of a YAML file by their names in Python; a list becomes a text with commas.

    Args:
        path: of the file.
        known: names that there are, with underscores.
        repeated: those of them that may be given several times, whose lists stay lists.
        flags: those of them that are true or false.

    Raises:
        ValueError: if the file is missing, too large, no YAML, or names an option that there is not.
    """
    if not path.is_file():
        raise ValueError(f"--config: there is no file {path}")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"--config: {path} is too large for a file of options ({path.stat().st_size:,} bytes)")
    try:
        text = path.read_text(encoding="utf-8")
        said, tree = yaml.safe_load(text), yaml.compose(text, yaml.SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"--config: {path} is no YAML ({' '.join(str(error).split())})") from None
    if not isinstance(said, dict):
        raise ValueError(f"--config: {path} must hold options by name, such as 'budget: 10ep'")
    names = [str(name.value) for name, _ in tree.value]
    if again := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"--config: {path} says {again} twice; keep one of them")
    options = {_python(name): value for name, value in said.items()}
    if len(options) < len(said):
        raise ValueError(f"--config: {path} says an option twice, with - and with _, or as device and devices")
    if unknown := sorted(options.keys() - known):
        raise ValueError(f"--config: {path} has the option {unknown[0]!r}; there are {', '.join(sorted(known))}")
    for name in flags & options.keys():
        if not isinstance(options[name], bool):
            raise ValueError(f"--config: {path} must say {name} as true or false; got {type(options[name]).__name__}")
    return {
        name: value
        if name in flags
        else [_text(path, name, one) for one in (value if isinstance(value, list) else [value])]
        if name in repeated
        else _text(path, name, value)
        for name, value in options.items()
    }


_SPELLINGS = {"devices": "device"}


def _python(name: object) -> str:
    plain = str(name).replace("-", "_")
    return _SPELLINGS.get(plain, plain)


def _text(path: Path, name: object, value: object) -> str:
    several = value if isinstance(value, list) else [value]
    if all(isinstance(one, str | int | float) and not isinstance(one, bool) for one in several):
        return ",".join(map(str, several))
    raise ValueError(
        f"--config: {path} must say {name} as a text, a number or a list of them; got {type(value).__name__}"
    )
