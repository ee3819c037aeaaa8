"""Comparisons on Ray: a Ray of this machine with two workers, one of which is killed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray")

import ray

from lehr import lab
from lehr.lab.comparison import Job
from lehr.lab.on_ray import RETRIES, Order, connected
from lehr.lab.tasks import code_of
from lehr.lab.workers import pickled

MINE = """
import os, signal
from pathlib import Path
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

def dying(times):
    def model():
        deaths = Path(__file__).with_name("deaths")
        if len(list(deaths.iterdir())) < times:
            (deaths / str(os.getpid())).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return torch.nn.Linear(4, 2)
    return lab.Task(**{**vars(make_task()), "model": model})

def dies_once():
    return dying(1)

def dies_always():
    return dying(10**6)

def fails():
    def loss(outputs, targets):
        raise KeyError("no such thing")
    return lab.Task(**{**vars(make_task()), "loss": loss})
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[lab.RayCluster]:
    """One Ray of two workers for all tests, which takes a while to start; a comparison starts its own otherwise."""
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - that is its name; else whatever else runs here comes first
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield lab.RayCluster()
    ray.shutdown()


@pytest.fixture
def mine(tmp_path: Path) -> str:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    (tmp_path / "deaths").mkdir()
    return str(path)


def compare(task: str, out: Path, **how: Any) -> lab.Results:
    return lab.compare(task, "linear,constant", budget="3ep", seeds=2, lr_grid=(0.1, 1.0), out=out, **how)


def like(run: lab.Run) -> lab.Run:
    """The run without what the clock said of it."""
    return replace(run, seconds=0.0, curve=tuple(replace(row, seconds=0.0) for row in run.curve))


def test_runs_are_those_of_processes_and_go_on_from_either_side(
    mine: str, tmp_path: Path, cluster: lab.RayCluster
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    watched: list[int] = []
    local = compare(f"{mine}:make_task", here)
    remote = compare(f"{mine}:make_task", there, on=cluster, watch=lambda jobs, done, total: watched.append(done))
    assert [like(run) for run in remote.runs] == [like(run) for run in local.runs]
    assert [like(run) for run in remote.search_runs] == [like(run) for run in local.search_runs]
    assert max(watched) == 8

    for folder, how in ((here, {"on": cluster}), (there, {})):
        lost = sorted((folder / "runs").glob("*seed-1*.json"))
        kept = {path: path.stat().st_mtime_ns for path in (folder / "runs").iterdir() if path not in lost}
        for path in lost:
            path.unlink()
        again = compare(f"{mine}:make_task", folder, **how)
        assert len(lost) == 2
        assert {path: path.stat().st_mtime_ns for path in kept} == kept
        assert [like(run) for run in again.runs] == [like(run) for run in local.runs]


def test_a_lost_worker_costs_only_its_run(mine: str, tmp_path: Path, cluster: lab.RayCluster) -> None:
    found = compare(f"{mine}:dies_once", tmp_path / "out", on=cluster)
    (killed,) = (tmp_path / "deaths").iterdir()
    assert not Path("/proc", killed.name).exists()
    assert [like(run) for run in found.runs] == [like(run) for run in compare(f"{mine}:make_task", tmp_path / "2").runs]


def test_a_run_whose_workers_always_die_is_named(mine: str, tmp_path: Path, cluster: lab.RayCluster) -> None:
    with pytest.raises(ValueError, match=rf"training linear on Ray failed {RETRIES + 1} times: .*goes on from there"):
        lab.compare(f"{mine}:dies_always", "linear", budget="3ep", seeds=1, out=tmp_path / "out", on=cluster)
    assert len(list((tmp_path / "deaths").iterdir())) == RETRIES + 1


def test_errors_of_the_task_are_told_in_a_sentence(mine: str, tmp_path: Path, cluster: lab.RayCluster) -> None:
    with pytest.raises(ValueError, match=r"with linear failed: KeyError: 'no such thing' \(mine.py, line \d+\)"):
        lab.compare(f"{mine}:fails", "linear", budget="3ep", seeds=1, out=tmp_path / "out", on=cluster)


def test_a_file_that_a_node_has_elsewhere_or_not_at_all(
    mine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{mine}:make_task"
    comparison = lab.Comparison(name, lab.load_methods("linear"), lab.Settings("3ep", 3))
    workload = lab.load_task(name).workload()
    settings = comparison.settings.for_task(workload)
    setting = comparison.setting(code_of(name), workload.fingerprint(), settings)
    monkeypatch.chdir(tmp_path)
    order = Order.here(name, None, settings, setting, 1)
    job = pickled(Job(comparison.methods[0], 0.5, 0))
    assert order.inside == "mine.py:make_task"
    moved = replace(order, task="/nowhere/mine.py:make_task")
    assert '"method": "linear"' in moved.make(job, lambda progress: None)
    monkeypatch.chdir("/")
    with pytest.raises(ValueError, match=r"has no file /nowhere/mine\.py; start the comparison with `ray job submit"):
        moved.make(job, lambda progress: None)
    with pytest.raises(ValueError, match=r"but the comparison was started with 9\.9; install the same version"):
        replace(order, version="9.9").make(job, lambda progress: None)


def test_the_command_starts_a_ray_of_its_own(tmp_path: Path) -> None:
    command = "compare --task digits --methods linear --budget 20steps --seeds 2 --on ray --processes 2 --out out"
    made = subprocess.run(
        [sys.executable, "-m", "lehr", *command.split()], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    assert "2 runs in out" in made.stdout
    assert made.stderr == ""


def test_more_gpus_than_this_machine_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(ValueError, match="give fewer gpus"), connected(lab.RayCluster(gpus=1000), 2):
        pass


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lab.RayCluster(gpus=-1.0), "gpus must be a number, at least 0"),
        (lambda: lab.RayCluster(gpus=1.5), "gpus must be a share of one GPU or a whole number"),
    ],
)
def test_impossible_shares_of_gpus(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
