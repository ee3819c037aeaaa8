"""The code behind a user's task: its file, and what that imports from its own folder; read, not run."""

from __future__ import annotations

import ast
import hashlib
import importlib.machinery
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Final

OURS: Final = Path(__file__).resolve().parents[1]

INSTALLED: Final = ("site-packages", "dist-packages")
"""Folders in which nobody's own code lies."""


def sources(path: Path) -> str:
    """A hash of the task's file and of every module that it imports, by way of others too, from its folder or below.

    Import statements are read, not run, and so are `importlib.import_module` and `__import__` with a plain name, so
    that the hash depends on the files alone: neither on what the process has imported, nor on how lehr was called.
    Modules of an installation do not count, wherever it lies: the standard library, site-packages, `sys.prefix`, lehr.

    Args:
        path: of the file, which has been loaded: what it did to `sys.path` is needed.
    """
    folder = path.parent.resolve()
    digest = hashlib.sha256()
    for file in sorted(_reached(path.resolve(), folder)):
        content = file.read_bytes()
        digest.update(f"{file.name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def _reached(first: Path, folder: Path) -> set[Path]:
    installed = _roots(folder)
    files, waiting = {first}, [(first, "")]
    while waiting:
        file, package = waiting.pop()
        for name in _imported(file, package):
            for found, inside in _files_of(name):
                if found not in files and _is_own(found, folder, installed):
                    files.add(found)
                    waiting.append((found, inside))
    return files


def _is_own(file: Path, folder: Path, installed: set[Path]) -> bool:
    if not file.is_relative_to(folder) or any(part in INSTALLED for part in file.relative_to(folder).parts):
        return False
    return not any(one.is_relative_to(root) for one in (file, file.resolve()) for root in installed)


def _roots(folder: Path) -> set[Path]:
    """The folders of installations, except those that the task itself lies in, which would tell nothing apart."""
    paths = {*sysconfig.get_paths().values(), sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
    roots = {one for path in paths for one in (Path(path).absolute(), Path(path).resolve())}
    return {root for root in roots if not folder.is_relative_to(root)} | {OURS}


def _imported(file: Path, package: str) -> Iterator[str]:
    """The full names that a file's import statements ask for; of `from a import b`, both `a` and `a.b`."""
    try:
        tree = ast.parse(file.read_bytes()) if file.suffix == ".py" else ast.Module([], [])
    except (SyntaxError, ValueError, RecursionError):  # then nothing can import it either
        return
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                base = module or ""
                if level:
                    parents = package.split(".")[: len(package.split(".")) - level + 1]
                    base = ".".join([*parents, *([module] if module else [])])
                yield from (base, *(f"{base}.{alias.name}" for alias in names if alias.name != "*"))
            case ast.Call(
                func=ast.Name(id="__import__" | "import_module") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str() as name), *_],
            ):
                yield name if not name.startswith(".") else f"{package}{name}"


def _files_of(name: str) -> Iterator[tuple[Path, str]]:
    """The file of a module and those of the packages that it is in, each with the package that it imports from."""
    locations: list[str] | None = None
    parts = name.split(".")
    for depth in range(1, len(parts) + 1):
        part = ".".join(parts[:depth])
        spec = _spec(part, locations)
        if spec is None:
            return
        if spec.origin and spec.has_location:
            file, package = Path(spec.origin), spec.submodule_search_locations is not None
            yield file.parent.resolve() / file.name, part if package else part.rpartition(".")[0]
        if spec.submodule_search_locations is None:
            return
        locations = list(spec.submodule_search_locations)


def _spec(name: str, locations: list[str] | None) -> importlib.machinery.ModuleSpec | None:
    """Where the module lies, by what is on `sys.path` alone; nothing is imported."""
    try:
        return importlib.machinery.PathFinder.find_spec(name, locations)
    except (ImportError, ValueError):  # no name at all
        return None
