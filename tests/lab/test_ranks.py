"""Runs that are two processes each."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lehr import lab
from lehr.lab.launch import spread_over
from lehr.lab.ranks import Ranks

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes are forked")

MINE = """
import os
import signal
import time

import torch
import torch.distributed as dist
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

import lehr
from lehr import lab

inputs = torch.randn(160, 4, generator=torch.Generator().manual_seed(0))
targets = (inputs.sum(1) > 0).long()
rows = TensorDataset(inputs[:80], targets[:80])


def tensors():
    return lab.Task(
        model=lambda: torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)),
        data=lab.split(inputs, targets, validation=40, test=40),
        loss=cross_entropy,
        optimizer=lambda model: torch.optim.SGD(model.parameters(), lr=0.5),
        batch_size=8,
    )


def accuracy(training):
    model = training.modules[0]
    return (model(inputs[80:]).argmax(-1) == targets[80:]).float().mean()


def task(parallel=DistributedDataParallel, shares=True, begin=lambda seed: None, **changes):
    def make_training(seed):
        begin(seed)
        model = parallel(torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 2)))
        loader = DataLoader(
            rows, batch_size=8, sampler=DistributedSampler(rows, seed=seed) if shares else None
        )
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        return lehr.Training(model, optimizer, loader, lambda model, batch: cross_entropy(model(batch[0]), batch[1]))

    return lab.TrainingTask(make_training=make_training, validate=accuracy, test=accuracy, **changes)


def alone():
    return task(parallel=lambda model: model)


def same():
    return task(shares=False)


def in_rank_1(act):
    def begin(seed):
        if seed == 1 and dist.get_rank() == 1:
            act()

    return lambda: task(begin=begin)


def out_of_memory():
    raise torch.OutOfMemoryError("Tried to allocate 20 GiB")


def wrong():
    raise KeyError("x")


killed = in_rank_1(lambda: os.kill(os.getpid(), signal.SIGKILL))
full = in_rank_1(out_of_memory)
broken = in_rank_1(wrong)


def slow():
    return task(begin=lambda seed: time.sleep(0.3) if dist.get_world_size() == 2 else None)
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return path


def compare(mine: Path, function: str, methods: str = "linear", ranks: int = 2, **arguments: Any) -> lab.Results:
    given = {"budget": "2ep", "seeds": 1, "evaluations": 2, **arguments}
    return lab.compare(f"{mine}:{function}", methods, processes_per_run=ranks, **given)


def of(results: lab.Results) -> list[lab.Run]:
    """The runs without their times."""
    return [
        replace(run, seconds=0.0, curve=tuple(replace(row, seconds=0.0) for row in run.curve)) for run in results.runs
    ]


def test_a_task_shares_out_its_batches(mine: Path) -> None:
    methods = "linear,freezeout,lrtuner"
    one, two = (compare(mine, "tensors", methods, ranks, budget="160samples") for ranks in (1, 2))
    assert two.setting.placement.ranks == 2
    assert one.setting.unlike(two.setting)
    for alone, together in zip(one.runs, two.runs, strict=True):
        assert together.updates == alone.updates == 20
        assert together.rates == alone.rates
        for ours, theirs in zip(together.curve, alone.curve, strict=True):
            assert ours.train_loss == pytest.approx(theirs.train_loss, rel=1e-4)
            assert ours.validation_loss == pytest.approx(theirs.validation_loss, rel=1e-4)


def test_a_training_finds_itself_under_torchrun(mine: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    two = compare(mine, "task", "linear,cosine", seeds=2, out=out, processes=2)
    assert [run.updates for run in two.runs] == [10] * 4  # an epoch of 80 is five batches of 8 on each of two
    assert "WORLD_SIZE" not in os.environ
    by_samples = compare(mine, "task", budget="160samples")
    assert of(by_samples)[0].curve == of(two)[0].curve
    (out / "runs" / "cosine_lr-task_seed-1.json").unlink()
    assert of(compare(mine, "task", "linear,cosine", seeds=2, out=out)) == of(two)
    by_time = compare(mine, "task", budget="0.2s")
    assert by_time.runs[0].curve[-1].progress >= 1.0
    with pytest.raises(ValueError, match="holds runs of another comparison .*placement"):
        compare(mine, "tensors", out=out, ranks=1)


def test_a_rank_that_dies_fails_its_run_and_not_the_others(mine: Path) -> None:
    began = time.monotonic()
    for function, failure in (
        ("killed", "rank 1 of 2 was killed (SIGKILL), as for want of memory"),
        ("full", "rank 1 of 2: out of memory on cpu: Tried to allocate 20 GiB"),
    ):
        results = compare(mine, function, seeds=3)
        assert [run.failure for run in results.runs] == [None, failure, None]
    assert time.monotonic() - began < 120
    with pytest.raises(ValueError, match=r"training .*broken with linear failed: KeyError: 'x' \(mine.py, line \d+\)"):
        compare(mine, "broken", seeds=2)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("same", "all 2 processes of a run draw the same batches; give each its share .*DistributedSampler"),
        ("alone", "the 2 processes of a run have come to other weights, .*DistributedDataParallel"),
    ],
)
def test_processes_that_do_not_train_together_are_refused(mine: Path, function: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare(mine, function)


def test_what_makes_no_sense_is_refused(mine: Path) -> None:
    with pytest.raises(ValueError, match="3 processes cannot share batches of 8 evenly"):
        compare(mine, "tensors", ranks=3)
    with pytest.raises(ValueError, match="processes_per_run must be a whole number, at least 1 .*got 0"):
        compare(mine, "tensors", ranks=0)
    with pytest.raises(ValueError, match="processes_per_run=2 needs a task that other processes can find"):
        lab.compare(lab.load_task("digits"), "linear", processes_per_run=2)
    with pytest.raises(ValueError, match="processes_per_run=2 is for processes of this machine; on Ray"):
        compare(mine, "tensors", on=lab.RayCluster())
    with pytest.raises(ValueError, match="ranks=2 needs as many processes that train together, and here is 1"):
        lab.train(lab.load_task("digits"), lab.METHODS["linear"], lab.Settings("1ep", 1, lab.Placement(ranks=2)), 0)


def test_ranks_are_spread_over_accelerators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.accelerator.device_count", lambda: 4)
    placed = lab.Placement("cuda", ranks=2)
    assert spread_over(["auto"], lab.Placement(ranks=2), placed.on("cuda:0")) == (
        "cuda:0",
        "cuda:1",
        "cuda:2",
        "cuda:3",
    )
    assert spread_over(["cuda:1", "cuda:3"], placed.on("cuda:1"), placed.on("cuda:1")) == ("cuda:1", "cuda:3")
    assert spread_over(["auto"], lab.Placement(ranks=2), placed.on("cpu")) == ("cpu",)
    with pytest.raises(ValueError, match=r"processes_per_run=2 needs as many devices, and there are 1 \(cuda:1\)"):
        spread_over(["cuda:1"], placed.on("cuda:1"), placed.on("cuda:1"))
    assert Ranks(4, 3).part(8) == slice(6, 8)


@pytest.mark.skipif(not os.environ.get("LEHR_KILLS"), reason="make kill")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_stopped_in_the_middle_it_goes_on_from_there(mine: Path, tmp_path: Path, how: signal.Signals) -> None:
    out = tmp_path / "out"
    command = [
        sys.executable, "-m", "lehr", "compare", "--task", f"{mine}:slow", "--methods", "linear,constant",
        "--budget", "2ep", "--seeds", "3", "--processes", "1", "--processes-per-run", "2", "--out", str(out),
    ]  # fmt: skip
    whole = compare(mine, "slow", "linear,constant", seeds=3, evaluations=20)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while len(list(out.glob("runs/*.json"))) < 2:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    ranks = _descendants(process.pid)
    assert len(ranks) >= 2
    os.kill(process.pid, how)
    process.communicate(timeout=60)
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{rank}").exists() for rank in ranks):
        assert time.monotonic() < deadline, "a rank outlived its parent"
        time.sleep(0.05)
    assert len(list(out.glob("runs/*.json"))) < 6
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert len(json.loads((out / "results.json").read_text())["runs"]) == 6
    assert of(lab.read_results(out)) == of(whole)


def _descendants(pid: int) -> list[int]:
    children = [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return children + [one for child in children for one in _descendants(child)]
