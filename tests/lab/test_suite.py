"""The whole job in real processes: parallel, resumable, told in one sentence when it fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lehr import lab
from lehr.lab.suite import run_comparison

MINE = """
from __future__ import annotations
from dataclasses import dataclass
import torch
from lehr import lab

def make_task():
    inputs = torch.randn(160, 4, generator=torch.Generator().manual_seed(0))
    return lab.Task(
        model=lambda: torch.nn.Linear(4, 2),
        data=lab.split(inputs, (inputs.sum(1) > 0).long(), validation=40, test=40),
        loss=torch.nn.functional.cross_entropy,
        optimizer=lambda model: torch.optim.SGD(model.parameters(), lr=0.5),
        batch_size=8,
    )

def slow():
    import time
    class Slow(torch.nn.Linear):
        def forward(self, x):
            time.sleep(0.01)
            return super().forward(x)
    task = make_task()
    return lab.Task(**{**vars(task), "model": lambda: Slow(4, 2)})

def wrong():
    return 3

def broken():
    task = make_task()
    return lab.Task(**{**vars(task), "model": lambda: torch.nn.Linear(5, 2)})

def random_data():
    import numpy as np
    inputs = torch.tensor(np.random.randn(160, 4), dtype=torch.float32)
    task = make_task()
    data = lab.split(inputs, (inputs.sum(1) > 0).long(), validation=40, test=40)
    return lab.Task(**{**vars(task), "data": data})

def neighbourly():
    import neighbour
    task = make_task()
    optimizer = lambda model: torch.optim.SGD(model.parameters(), lr=neighbour.LR)
    return lab.Task(**{**vars(task), "optimizer": optimizer})

def mine_fails():
    task = make_task()
    def loss(outputs, targets):
        raise KeyError("no such thing")
    return lab.Task(**{**vars(task), "loss": loss})

@dataclass
class Settings:
    lr: float = 0.5

def quits():
    import sys
    sys.exit("bye")

def exploding():
    task = make_task()
    return lab.Task(**{**vars(task), "loss": lambda out, y: (out * 1e30).square().square().sum()})
"""


@pytest.fixture
def mine(tmp_path: Path) -> str:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return str(path)


def compare(task: str, out: Path, methods: str = "linear,constant", **arguments: object) -> lab.Results:
    seeds = arguments.pop("seeds", 2)
    comparison = lab.Comparison(
        task, lab.load_methods(methods), lab.Settings("3ep", 3), seeds=seeds, **arguments  # type: ignore[arg-type]
    )  # fmt: skip
    return run_comparison(comparison, out, command="lehr compare ...", processes=2)


def children(pid: int) -> list[int]:
    """The processes that this one has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def stamps(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (out / "runs").iterdir()}


def test_a_users_own_task_with_a_search(mine: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    told = compare(f"{mine}:make_task", out, lr_grid=(0.1, 1.0))
    assert set(told.names) == {"linear", "constant"}
    assert len(told.runs) == 4
    assert len(told.search_runs) == 4
    assert all(run.test is None for run in told.search_runs)
    assert lab.read_results(out) == told
    before = stamps(out)
    assert len(before) == 8
    again = compare(f"{mine}:make_task", out, lr_grid=(0.1, 1.0), seeds=3)
    after = stamps(out)
    assert {name: after[name] for name in before} == before  # nothing is made twice
    assert len(after) == 10
    assert [run.test for run in again.runs if run.seed < 2] == [run.test for run in told.runs]


def test_divergence_is_a_result(mine: str, tmp_path: Path) -> None:
    told = compare(f"{mine}:exploding", tmp_path / "out", seeds=1)
    assert told.best is None
    assert all(row.diverged[0].update < 5 for row in told.methods)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("{mine}:nothing", "has no function 'nothing'"),
        ("{mine}:wrong", "returned a int; it must return a lehr.lab.Task"),
        ("{mine}:broken", r"training .*mine.py:broken with linear failed: RuntimeError: .*shapes cannot be multiplied"),
        ("{mine}:random_data", "makes other data in each process, so runs cannot be compared; give its random numbers"),
        ("{mine}:mine_fails", r"with linear failed: KeyError: 'no such thing' \(mine.py, line \d+\)"),
        ("{mine}:quits", r"quits of .*mine.py failed: SystemExit: bye \(mine.py, line \d+\)"),
        ("{mine}", "names a file; add the function that makes the task"),
        ("nowhere.py:make_task", "there is no file nowhere.py"),
        ("diggits", r"unknown task 'diggits' \(did you mean digits\?\)"),
    ],
)
def test_bad_tasks_are_told_in_a_sentence(mine: str, tmp_path: Path, task: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare(task.format(mine=mine), tmp_path / "out", methods="linear", seeds=1)


def test_a_file_that_does_not_load(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("import torch\n\nraise RuntimeError('not today')\n")
    with pytest.raises(ValueError, match=r"bad.py failed: RuntimeError: not today \(bad.py, line 3\)"):
        lab.load_task(f"{tmp_path}/bad.py:make_task")


def test_runs_of_another_budget_or_task_are_not_mixed_in(mine: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    compare(f"{mine}:make_task", out, methods="linear", seeds=1)
    Path(mine).write_text(MINE + "\n# changed\n")
    with pytest.raises(ValueError, match="holds runs of another comparison .*code.*choose another --out"):
        compare(f"{mine}:make_task", out, methods="linear", seeds=1)


def test_a_neighbours_change_is_noticed(mine: str, tmp_path: Path) -> None:
    neighbour = tmp_path / "neighbour.py"
    neighbour.write_text("LR = 0.5\n")
    script = (
        "import sys; from lehr import lab; from lehr.lab.suite import run_comparison; from pathlib import Path\n"
        "if __name__ == '__main__':\n"
        "    c = lab.Comparison(sys.argv[1], lab.load_methods('linear'), lab.Settings('1ep', 1), seeds=1)\n"
        "    run_comparison(c, Path(sys.argv[2]), command='')\n"
    )
    runner = tmp_path / "elsewhere" / "runner.py"
    runner.parent.mkdir()
    runner.write_text(script)
    command = [sys.executable, str(runner), f"{mine}:neighbourly", str(tmp_path / "out")]
    first = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert first.returncode == 0, first.stderr
    neighbour.write_text("LR = 0.25\n")
    second = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert "holds runs of another comparison (code" in second.stderr


def test_one_comparison_a_folder_at_a_time(mine: str, tmp_path: Path) -> None:
    from filelock import FileLock

    out = tmp_path / "out"
    out.mkdir()
    with FileLock(out / ".lock"), pytest.raises(ValueError, match="another lehr compare is working in"):
        compare(f"{mine}:make_task", out, methods="linear", seeds=1)


def test_a_damaged_run_is_named_and_nothing_is_lost(mine: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    compare(f"{mine}:make_task", out, methods="linear", seeds=2)
    before = stamps(out)
    damaged = out / "runs" / "linear_lr-task_seed-1.json"
    damaged.write_text(damaged.read_text()[:100])
    with pytest.raises(ValueError, match="seed-1.json is damaged; delete it"):
        compare(f"{mine}:make_task", out, methods="linear", seeds=2)
    assert set(stamps(out)) == set(before)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_stopped_in_the_middle_it_goes_on_from_there(mine: str, tmp_path: Path, how: signal.Signals) -> None:
    out = tmp_path / "out"
    command = [
        sys.executable, "-m", "lehr", "compare", "--task", f"{mine}:slow", "--methods", "linear,constant",
        "--budget", "60steps", "--seeds", "3", "--evaluations", "2", "--processes", "1", "--out", str(out),
    ]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while len(list(out.glob("runs/*.json"))) < 2:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    workers = children(process.pid)
    assert workers
    if how == signal.SIGINT:
        os.killpg(process.pid, how)  # as the terminal does
    else:
        os.kill(process.pid, how)  # the workers must notice by themselves
    _, said = process.communicate(timeout=60)
    if how != signal.SIGKILL:
        assert process.returncode == 130
        assert "the same command goes on from there" in said
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.05)
    kept = stamps(out)
    assert 2 <= len([name for name in kept if name.endswith(".json")]) < 6
    assert not (out / "results.json").exists()
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    whole = {name: stamp for name, stamp in kept.items() if not name.startswith(".")}
    assert {name: stamps(out)[name] for name in whole} == whole
    assert len(json.loads((out / "results.json").read_text())["runs"]) == 6
    assert (out / "report.html").exists()
