"""The curves that the page on trainers shows are those that its examples train with."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("accelerate")
pytest.importorskip("ignite")
pytest.importorskip("lightning")

DOCS = Path(__file__).parents[2] / "docs"
LOOKING = ("Lightning, 1", "Transformers, 2", "Accelerate, 1")
"""Examples that find their rates, of which another processor may make others."""


@pytest.mark.filterwarnings("ignore")
def test_the_curves_are_those_of_the_examples() -> None:
    spec = importlib.util.spec_from_file_location("trainer_curves", DOCS / "trainer_curves.py")
    assert spec is not None and spec.loader is not None
    curves = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = curves
    spec.loader.exec_module(curves)
    made = curves.run_all()
    recorded = {row["example"]: row["rates"] for row in json.loads(curves.FILE.read_text(encoding="utf-8"))["examples"]}
    assert set(made) == set(recorded)
    for name, rates in recorded.items():
        assert len(made[name]) == len(rates) > 10, name
        if name not in LOOKING:
            for now, then in zip(made[name], rates, strict=True):
                assert now == pytest.approx(then, rel=1e-4, abs=1e-12), name
