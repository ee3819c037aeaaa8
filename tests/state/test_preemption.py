"""A real training process, killed at random moments, ends with the very same weights."""

from __future__ import annotations

import os
import random
import runpy
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch

from processes import CONTEXT

KILLS = 12
SCRIPT = Path(__file__).parents[2] / "examples" / "preemptible.py"


def _train(folder: str, budget: str, said: str) -> None:
    torch.set_num_threads(1)
    sys.argv = [str(SCRIPT), folder, budget]
    sys.stdout = Path(said).open("w", buffering=1)  # noqa: SIM115 - until the process ends
    runpy.run_path(str(SCRIPT), run_name="__main__")


class Process:
    """The example, running."""

    def __init__(self, folder: Path, budget: str) -> None:
        self.output = folder.with_suffix(".txt")
        self.output.unlink(missing_ok=True)
        self.process = CONTEXT.Process(target=_train, args=(str(folder), budget, str(self.output)))
        self.process.start()

    @property
    def said(self) -> str:
        return self.output.read_text() if self.output.exists() else ""

    def wait_until_it_trains(self) -> str:
        while "\n" not in self.said:
            assert self.process.is_alive() or "\n" in self.said, "it ended at once"
            time.sleep(0.002)
        return self.said

    def kill(self, by: signal.Signals) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, by)
        self.process.join(timeout=60)

    def finish(self) -> str:
        self.process.join(timeout=120)
        assert self.process.exitcode == 0
        return self.said


def newest(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(max(folder.glob("*.pt")), weights_only=True)
    return found


def test_kills_change_nothing(tmp_path: Path) -> None:
    budget = "5000steps"
    Process(tmp_path / "whole", budget).finish()
    moments = random.Random(0)
    starts = []
    for number in range(KILLS):
        process = Process(tmp_path / "killed", budget)
        starts.append(process.wait_until_it_trains())
        time.sleep(moments.uniform(0.0, 0.3))
        process.kill(signal.SIGTERM if number % 4 == 3 else signal.SIGKILL)
        if number == 10:  # and once the newest checkpoint is damaged as well
            path = max((tmp_path / "killed").glob("*.pt"))
            path.write_bytes(path.read_bytes()[:-50])
    said = Process(tmp_path / "killed", budget).finish()
    assert sum(start.startswith("went on") for start in starts) >= KILLS // 2, starts
    assert said.startswith("went on")
    assert said.endswith("100% of 5,000 steps, lr 0.0e+00\n")
    whole, killed = newest(tmp_path / "whole"), newest(tmp_path / "killed")
    one, two = whole["training"], killed["training"]
    for part in ("modules", "optimizers"):
        assert _same(one[part], two[part]), part
    for part in ("epoch", "index"):
        assert one["batches"][part] == two["batches"][part], part
    assert _same(one["random"]["torch"], two["random"]["torch"])
    epoch = one["batches"]["epoch"]
    assert _same(one["batches"]["starts"][epoch]["random"]["torch"], two["batches"]["starts"][epoch]["random"]["torch"])


def test_seconds_still_end_at_the_end_of_the_curve(tmp_path: Path) -> None:
    folder, budget = tmp_path / "run", "3s"
    for _ in range(3):
        process = Process(folder, budget)
        process.wait_until_it_trains()
        time.sleep(0.5)
        process.kill(signal.SIGTERM)
    said = Process(folder, budget).finish()
    assert said.startswith("went on from")
    assert "lr 0.0e+00" in said
    assert 3.0 <= newest(folder)["scheduler"]["clock"]["spent"] < 3.5


def _same(one: Any, two: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(_same(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(_same, one, two))
    return bool(one == two)
