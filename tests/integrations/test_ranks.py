"""Accelerate in two processes: the same rates and weights on both, resumed exactly."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("accelerate")


def run(folder: Path) -> dict[str, Any]:
    script = Path(__file__).with_name("ranks.py")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         str(script), str(folder)],
        capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "BudgetWarning" not in done.stderr
    first, second = (json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    return first


def test_accelerate_in_two_processes(tmp_path: Path) -> None:
    ran = run(tmp_path)
    # 16 batches on each rank, of which an update takes two
    assert ran["schedule"]["rates"] == pytest.approx([0.01 * (1 - k / 24) for k in range(24)])
    assert max(ran["tuner"]["rates"]) > 1e-3
    assert ran["tuner"]["weights"] == pytest.approx(4.0, abs=0.2)  # four weights of 1 and no bias
    assert ran["loop"]["finished"]
    assert ran["loop"]["updates"] == 32
    assert ran["resumed"]["rates"] == ran["loop"]["rates"][16:]
    assert ran["resumed"]["weights"] == ran["loop"]["weights"]
