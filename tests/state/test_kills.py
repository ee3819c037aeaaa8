"""Killed at any moment, every policy ends with the very weights of a run that was never killed.

`make kill` makes 200 kills over all policies (`LEHR_KILLS`); the tests make a few.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from contract.policies import POLICIES

SCRIPT: Final = Path(__file__).parent / "killed_run.py"
WANTED: Final = int(os.environ.get("LEHR_KILLS", "0"))
"""Kills over all policies; 0 for a few of some."""

FEW: Final = ("tuner",)  # the one that looks ahead in the data; a plain schedule is killed in test_preemption
CHOSEN: Final = tuple(POLICIES) if WANTED else FEW
EACH: Final = max(2, -(-WANTED // len(CHOSEN)))


def _start(name: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", str(SCRIPT), name, str(folder)], stdout=subprocess.PIPE, text=True
    )


def _digest(run: subprocess.Popen[str]) -> str:
    said = run.communicate(timeout=300)[0].splitlines()
    assert run.returncode == 0
    assert said[-1].startswith("done ")
    return said[-1]


@pytest.mark.parametrize("name", CHOSEN)
def test_killed_runs_end_with_the_same_weights(name: str, tmp_path: Path) -> None:
    expected = _digest(_start(name, tmp_path / "whole"))
    chance = random.Random(name)
    kills, round_ = 0, 0
    while kills < EACH:
        round_ += 1
        folder = tmp_path / str(round_)
        while kills < EACH:
            run = _start(name, folder)
            assert run.stdout is not None
            lines = chance.randrange(1, 24)
            seen = [line for line, _ in zip(run.stdout, range(lines), strict=False)]
            if len(seen) < lines:  # it came to its end before it was to be killed
                run.communicate(timeout=300)
                assert seen[-1].strip() == expected
                break
            run.kill()
            run.communicate(timeout=300)
            kills += 1
        else:
            assert _digest(_start(name, folder)) == expected
