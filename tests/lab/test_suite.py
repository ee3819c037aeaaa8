"""The whole job in real processes: parallel, resumable, told in one sentence when it fails."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lehr import lab
from lehr.lab import records
from lehr.lab.failures import told
from lehr.lab.folder import alone_in
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


def compare(
    task: str, out: Path, methods: str = "linear,constant", processes: int | None = None, **arguments: object
) -> lab.Results:
    """Runs in this process, unless other processes are what a test is about: each takes seconds to start."""
    seeds = arguments.pop("seeds", 2)
    comparison = lab.Comparison(
        task, lab.load_methods(methods), lab.Settings("3ep", 3), seeds=seeds, **arguments  # type: ignore[arg-type]
    )  # fmt: skip
    return run_comparison(comparison, out, command="lehr compare ...", processes=processes)


def started(command: list[str]) -> subprocess.Popen[str]:
    """The command in a session of its own, which hears interrupts also where the tests, in the background, do not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
    finally:
        signal.signal(signal.SIGINT, before)


def children(pid: int) -> list[int]:
    """The processes that this one has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def stamps(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (out / "runs").iterdir()}


def test_a_users_own_task_with_a_search(mine: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    told = compare(f"{mine}:make_task", out, lr_grid=(0.1, 1.0), processes=1)
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
    other = 1 if task.endswith(("random_data", "mine_fails")) else None
    with pytest.raises(ValueError, match=message):
        compare(task.format(mine=mine), tmp_path / "out", methods="linear", seeds=1, processes=other)


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


def test_what_a_killed_process_left_is_removed(mine: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "runs").mkdir(parents=True)
    left = [
        out / ".report.html.abc", out / ".results.json.abc", out / "runs" / ".linear_lr-task_seed-0.json.x",
        out / ".tmpx.part", out / "runs" / ".y.part",
    ]  # fmt: skip
    for path in left:
        path.write_text("half")
    (out / "mine.txt").write_text("kept")
    with alone_in(out):
        assert not any(path.exists() for path in left)
    assert (out / "mine.txt").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("results.json", '{"command": "lehr compare", "setting": {}}'),
        ("runs/other.json", '{"format": 1, "setting": {}, "environment": {}, "run": {}}'),
    ],
)
def test_a_folder_of_another_version_is_left_alone(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=r"was written by an older version of lehr .* nothing was changed"):
        lab.compare("digits", "linear", budget="2steps", seeds=1, out=tmp_path)
    assert (tmp_path / name).read_text() == content
    assert list((tmp_path / "runs").glob("lin*")) == []


def test_no_two_hold_the_lock(tmp_path: Path) -> None:
    """Under stress: whoever has it counts itself in and out again."""
    script = tmp_path / "holder.py"
    script.write_text(
        "import sys, os, time\n"
        "from pathlib import Path\n"
        "from filelock import FileLock\n"
        "sys.modules['lehr.lab.sealed'] = type(sys)('sealed')\n"
        "sys.modules['lehr.lab.sealed'].check_version = lambda path: None\n"
        "import importlib.util\n"
        "spec = importlib.util.spec_from_file_location('folder', sys.argv[1])\n"
        "folder = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(folder)\n"
        "out, end, held = Path(sys.argv[2]), time.monotonic() + 3.0, 0\n"
        "while time.monotonic() < end:\n"
        "    try:\n"
        "        with folder.alone_in(out):\n"
        "            os.close(os.open(out / 'inside', os.O_CREAT | os.O_EXCL))\n"
        "            os.unlink(out / 'inside')\n"
        "            held += 1\n"
        "    except ValueError:\n"
        "        pass\n"
        "print(held)\n"
    )
    code = Path(lab.__file__).parent / "folder.py"
    command = [sys.executable, str(script), str(code), str(tmp_path / "out")]
    holders = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    said = [holder.communicate(timeout=120) for holder in holders]
    assert all(holder.returncode == 0 for holder in holders), said
    assert sum(int(count) for count, _ in said) > 10


def test_a_second_interrupt_shows_no_traceback(mine: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [
        sys.executable, "-m", "lehr", "compare", "--task", f"{mine}:slow", "--methods", "linear",
        "--budget", "4000steps", "--seeds", "2", "--processes", "2", "--out", str(out),
    ]  # fmt: skip
    process = started(command)
    deadline = time.monotonic() + 120
    while len(children(process.pid)) < 3:  # two workers, and a process of multiprocessing's own
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.5)  # in the middle of the workers' imports
    for _ in range(5):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.05)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.strip() == "lehr: stopped; what is finished is kept, and the same command goes on from there"


def test_a_full_disk_is_told_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, text: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(records, "write_text", full)
    with pytest.raises(
        ValueError, match=r"seed-0.json cannot be written \(No space left on device\); the runs finished"
    ):
        lab.compare("digits", "linear", budget="2steps", seeds=1, out=tmp_path)


@pytest.mark.parametrize("limit", [8, 24])
def test_too_few_open_files_are_told_in_a_sentence(tmp_path: Path, limit: int) -> None:
    code = (
        "import resource, sys, lehr.cli.main, scipy.stats\n"
        "from lehr import lab\n"
        "if __name__ == '__main__':\n"
        "    lab.load_task('digits').load()\n"
        "    import os; used = len(os.listdir('/proc/self/fd'))\n"
        f"    resource.setrlimit(resource.RLIMIT_NOFILE, (used + {limit}, used + {limit}))\n"
        f"    sys.argv = ['lehr', 'compare', '--methods', 'linear', '--budget', '2steps', '--processes', '64',\n"
        f"                '--seeds', '64', '--out', {str(tmp_path / 'out')!r}]\n"
        "    lehr.cli.main.run()\n"
    )
    (tmp_path / "limited.py").write_text(code)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "limited.py")], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("lehr: ")


def test_git_leaves_the_index_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`git status` otherwise writes it whenever a file's time has changed."""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    code = tmp_path / "src" / "lehr" / "records.py"
    code.parent.mkdir(parents=True)
    code.write_text("X = 1\n")
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *arguments], check=True, capture_output=True)
    monkeypatch.setattr(records, "__file__", str(code))
    os.utime(code, (1, 1))
    index = tmp_path / ".git" / "index"
    before = index.read_bytes()
    commit = records._commit()
    assert commit is not None
    assert not commit.endswith("+")
    assert index.read_bytes() == before


def test_errors_that_cannot_be_shown_are_still_a_sentence() -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    class Base(BaseException):
        pass

    for error, said in (
        (MuteError(), "MuteError: it cannot be shown"),
        (Base("a\nb"), "Base: a b"),
        (ValueError("x" * 9_000), "x ..."),
    ):

        def fail(error: BaseException = error) -> None:
            raise error

        with pytest.raises(ValueError, match=f"it failed: .*{said}") as caught:
            told("it", fail)
        assert len(str(caught.value)) < 700
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL] if os.environ.get("LEHR_KILLS") else [signal.SIGKILL]
)
def test_stopped_in_the_middle_it_goes_on_from_there(mine: str, tmp_path: Path, how: signal.Signals) -> None:
    out = tmp_path / "out"
    command = [
        sys.executable, "-m", "lehr", "compare", "--task", f"{mine}:slow", "--methods", "linear,constant",
        "--budget", "60steps", "--seeds", "3", "--evaluations", "2", "--processes", "1", "--out", str(out),
    ]  # fmt: skip
    process = started(command)
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
