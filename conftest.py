"""What all tests share, and the running of every example in the README and the docs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

import lehr

hypothesis.settings.register_profile("lehr", deadline=None, derandomize=bool(os.environ.get("CI")))
hypothesis.settings.load_profile("lehr")
torch.set_num_threads(1)


def _names() -> dict[str, Any]:
    return {**{name: getattr(lehr, name) for name in lehr.__all__}, "lehr": lehr, "torch": torch}


@pytest.fixture(autouse=True)
def _doctest_names(doctest_namespace: dict[str, Any]) -> None:
    """Docstring examples use the public names without importing them."""
    doctest_namespace.update(_names())


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    """No test depends on which ran before."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def _example_setup(namespace: dict[str, Any]) -> None:
    torch.manual_seed(0)
    namespace.update(_names())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The examples of a page build on each other, so one worker runs them all."""
    for item in items:
        if item.path.suffix == ".md":
            item.add_marker(pytest.mark.xdist_group(str(item.path)))


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), SkipParser()],
    patterns=["README.md", "docs/*.md"],
    path=str(Path(__file__).parent),
    setup=_example_setup,
).pytest()
