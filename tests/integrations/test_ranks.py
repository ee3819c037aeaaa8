"""Other people's trainers in two processes: the same rates and weights on both."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import lehr

pytest.importorskip("accelerate")
pytest.importorskip("transformers")


def run(library: str, folder: Path, script: str = "ranks.py") -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         str(Path(__file__).with_name(script)), library, str(folder)],
        capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "BudgetWarning" not in done.stderr
    first, second = (json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    return first


def test_accelerate_in_two_processes(tmp_path: Path) -> None:
    ran = run("accelerate", tmp_path)
    # 16 batches on each rank, of which an update takes two
    assert ran["schedule"]["rates"] == pytest.approx([0.01 * (1 - k / 24) for k in range(24)])
    assert max(ran["tuner"]["rates"]) > 1e-3
    assert ran["tuner"]["weights"] == pytest.approx(4.0, abs=0.2)  # four weights of 1 and no bias
    assert ran["loop"]["finished"]
    assert ran["loop"]["updates"] == 32
    assert ran["resumed"]["rates"] == ran["loop"]["rates"][16:]
    assert ran["resumed"]["weights"] == ran["loop"]["weights"]
    assert_freezes(ran, ended_at=16)


def test_transformers_trainer_in_two_processes(tmp_path: Path) -> None:
    ran = run("transformers", tmp_path)
    curve = lehr.Linear().after_warmup(0.25)
    # 8 batches on each rank, of which an update takes two
    assert ran["schedule"]["rates"] == pytest.approx([1e-3 * curve(k / 12) for k in range(12)])
    assert ran["epochs"]["rates"] == pytest.approx([1e-3 * curve(k / 8) for k in range(8)])
    assert len(set(ran["learned"]["rates"])) == 12
    assert ran["resumed"]["rates"] == ran["learned"]["rates"][8:]
    assert ran["resumed"]["weights"] == ran["learned"]["weights"]
    assert_freezes(ran, ended_at=12)


def test_layers_freeze_with_fabric_and_ignite(tmp_path: Path) -> None:
    pytest.importorskip("ignite")
    pytest.importorskip("lightning")
    ran = run("both", tmp_path, "wrapped.py")
    assert_freezes(ran["fabric"], ended_at=16)
    assert_freezes(ran["ignite"], ended_at=16)
    assert ran["fabric"] == ran["ignite"]


def assert_freezes(ran: dict[str, Any], ended_at: int) -> None:
    """The first layer trains for half of the updates, in a wrapper that does not wait for its gradients."""
    rates = ran["freezing"]["rates"]
    assert len(rates) == ran["freezing"]["updates"] == ended_at
    assert [rate > 0.0 for rate in rates] == [k < ended_at // 2 for k in range(ended_at)]
    assert "find_unused_parameters=True" in ran["freezing, plain"]
