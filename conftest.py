"""What all tests share, and the running of every example in the README and the docs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser
from xdist.scheduler import LoadScopeScheduling

import lehr

hypothesis.settings.register_profile("lehr", deadline=None, derandomize=bool(os.environ.get("CI")))
hypothesis.settings.load_profile("lehr")
torch.set_num_threads(1)

ROOMS = (
    lehr, lehr.autopilot, lehr.budget, lehr.cyclical, lehr.freezing, lehr.learned, lehr.mlrsnet, lehr.policy,
    lehr.scheduler, lehr.schedules, lehr.state, lehr.training, lehr.trials, lehr.tuning,
)  # fmt: skip

ONE_WORKER = (".md", "contract/test_ranks.py", "freezing/test_data_parallel.py", "training/test_sharded.py")
"""Files whose tests share a namespace, or a costly set-up."""


def missing(*packages: str) -> bool:
    """Whether a package that an example needs is not installed; frameworks are there for `make integrations` only."""
    return any(find_spec(package) is None for package in packages)


NEEDS = {
    "src/lehr/integrations/keras.py": ("keras", "jax"),
    "src/lehr/integrations/lightning.py": ("lightning",),
    "src/lehr/integrations/optax.py": ("jax", "optax"),
    "src/lehr/integrations/transformers.py": ("transformers", "accelerate"),
    "tests/integrations/ranks.py": ("accelerate", "transformers"),
    "tests/integrations/two_processes.py": ("lightning",),
    "tests/integrations/wrapped.py": ("ignite", "lightning"),
}
"""Files that cannot be imported without their framework."""

collect_ignore = [file for file, packages in NEEDS.items() if missing(*packages)]


def _names() -> dict[str, Any]:
    public = {name: thing for room in ROOMS for name, thing in vars(room).items() if name[0] != "_" and callable(thing)}
    return {**public, "lehr": lehr, "torch": torch}


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
    namespace.update(_names(), missing=missing)


class _PagesTogether(LoadScopeScheduling):
    """One worker runs a page, whose examples build on each other; any other test goes where there is room."""

    def _split_scope(self, nodeid: str) -> str:
        file, _, _ = nodeid.partition("::")
        return file if file.endswith(ONE_WORKER) else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _PagesTogether:
    """Replaces `--dist loadgroup`, whose marks xdist 3.8 loses under pytest 9.2."""
    return _PagesTogether(config, log)


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), SkipParser()],
    patterns=["README.md", "docs/*.md"],
    path=str(Path(__file__).parent),
    setup=_example_setup,
).pytest()
