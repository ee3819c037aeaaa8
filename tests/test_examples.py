"""The examples run, and short scripts stay short."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lehr import lab

EXAMPLES = Path(__file__).parents[1] / "examples"
ARGUMENTS = {"fit": ["1s"]}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("fit", "budget spent after"),
        ("stop_and_resume", "bit for bit"),
        ("train_for_a_minute", "lr 0.00e+00  accuracy"),
        ("tune_while_training", "climb"),
        ("freeze_layers", "5 of 6 layers frozen"),
        ("learned_schedule", "% right on data held out"),
    ],
)
def test_scripts_run(name: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py"), *ARGUMENTS.get(name, ["1"])],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert said in done.stdout


def test_the_own_task_is_a_task() -> None:
    task = lab.load_task(f"{EXAMPLES / 'own_task.py'}:make_task")
    run = lab.train(task, lab.METHODS["linear"], lab.Settings("20ep", 2), seed=0)
    assert run.test is not None
    assert run.test > 0.75


def test_examples_stay_short() -> None:
    assert all(len(path.read_text().splitlines()) < 70 for path in EXAMPLES.glob("*.py"))
