"""Where and how runs compute: devices, precision, accumulated batches, compilation, and memory that runs out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import lehr
from lab import any_training as trainings
from lab.small import task
from lehr import lab
from lehr.lab.failures import ran_out_of_memory
from lehr.lab.on_ray import Order
from lehr.lab.placement import devices
from lehr.lab.report import csv_of, render


def train(one: lab.Task, budget: str = "10steps", **placement: Any) -> lab.Run:
    settings = lab.Settings(budget, 2, lab.Placement("cpu", **placement))
    return lab.train(one, lab.METHODS["linear"], settings, 0, 0.1)


def test_batches_add_up_to_the_update_of_a_larger_one() -> None:
    one, two = train(task(batch_size=16), "2ep"), train(task(batch_size=8), "2ep", accumulate=2)
    assert one.updates == two.updates == 10
    assert two.forward_passes == 2 * one.forward_passes
    assert [row.passes for row in two.curve] == [10, 20]
    for ours, theirs in zip(two.curve, one.curve, strict=True):
        assert ours.train_loss == pytest.approx(theirs.train_loss, rel=1e-5)
        assert ours.validation_loss == pytest.approx(theirs.validation_loss, rel=1e-5)


def test_half_precision_comes_close() -> None:
    full = train(task())
    own = lab.train(trainings.two_optimizers(), lab.METHODS["linear"], lab.Settings("5steps", 2), 0)
    for precision in ("bf16", "fp16"):
        half = train(task(), precision=precision)
        assert half.curve[-1].validation_loss == pytest.approx(full.curve[-1].validation_loss, rel=0.15)
        assert half.curve[-1].train_loss != full.curve[-1].train_loss
        settings = lab.Settings("5steps", 2, lab.Placement(precision=precision))  # type: ignore[arg-type]
        half = lab.train(trainings.two_optimizers(), lab.METHODS["linear"], settings, 0)
        assert half.test == pytest.approx(own.test, abs=0.1)
        assert half.curve[-1].train_loss != own.curve[-1].train_loss


def test_another_device_has_the_same_start_and_all_of_the_run() -> None:
    """The `meta` device has no numbers, but refuses to mix its tensors with those of another."""
    images = torch.randn(80, 3, 8, 8)
    one = task(
        data=lab.split(images, (images.mean((1, 2, 3)) > 0).long(), validation=20, test=20),
        model=lambda: torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 2)),
    )
    for placement in (lab.Placement("meta"), lab.Placement("meta", accumulate=2)):
        loop = one.workload().loop(0, placement)
        assert loop.training.step().device.type == "meta"
        assert loop.example().device.type == "meta"
        with pytest.raises(RuntimeError, match="meta tensors"):  # all came to a number, which there is none of
            loop.evaluate_validation()
    seeds = [
        one.workload().loop(0, lab.Placement("cpu", precision)).model.state_dict() for precision in ("fp32", "bf16")
    ]  # type: ignore[arg-type]
    assert all(torch.equal(a, b) for a, b in zip(*(state.values() for state in seeds), strict=True))


def test_networks_are_compiled_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[torch.nn.Module] = []

    def note(module: torch.nn.Module) -> None:
        compiled.append(module)

    monkeypatch.setattr(torch.nn.Module, "compile", note)
    train(task())
    assert not compiled
    train(task(), compile=True)
    settings = lab.Settings("2steps", 1, lab.Placement(compile=True))
    lab.train(trainings.stream(), lab.METHODS["linear"], settings, 0)
    assert [type(module).__name__ for module in compiled] == ["Linear", "Sequential"]


def test_a_training_stays_where_it_was_made_or_is_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    workload = trainings.stream().workload()
    assert workload.placed(lab.Placement()).device == "cpu"
    moved: list[torch.device] = []
    monkeypatch.setattr(lehr.Training, "to", lambda training, device, **_: moved.append(device))
    workload.loop(0, lab.Placement("cpu"))
    workload.loop(0, lab.Placement("meta"))
    assert moved == [torch.device("meta")]


def test_memory_that_runs_out_fails_a_run_and_not_the_others(tmp_path: Path) -> None:
    def model() -> torch.nn.Module:
        if torch.initial_seed() == 1:
            raise torch.OutOfMemoryError("Tried to allocate 20.00 GiB")
        return torch.nn.Linear(4, 2)

    results = lab.compare(
        task(model=model), "linear,cosine", budget="10steps", seeds=3, lr_grid=[0.1, 0.2], out=tmp_path
    )
    assert results.total.runs == 10
    assert results.best is None
    row = results.of("linear")
    assert [(one.seed, one.failure) for one in row.diverged] == [
        (1, "out of memory on cpu: Tried to allocate 20.00 GiB")
    ]
    assert row.lr in (0.1, 0.2)
    assert row.test is not None
    assert row.test.n == 2
    assert results.standing(row) == "1 of 3 failed"
    page = render(lab.read_results(tmp_path))
    assert "linear failed with seed 1: out of memory on cpu: Tried to allocate 20.00 GiB. Its mean" in page
    assert csv_of(results).count("out of memory on cpu") == 2
    again = lab.compare(task(model=model), "linear,cosine", budget="10steps", seeds=3, lr_grid=[0.1, 0.2], out=tmp_path)
    assert again == results


def test_what_counts_as_memory_that_runs_out() -> None:
    with pytest.raises(RuntimeError) as said:
        torch.empty(2**60)
    assert ran_out_of_memory(said.value)
    assert ran_out_of_memory(RuntimeError("MPS backend out of memory"))
    assert not ran_out_of_memory(RuntimeError("shapes cannot be multiplied"))
    assert not ran_out_of_memory(ValueError("out of memory"))


def test_processes_share_the_devices(tmp_path: Path) -> None:
    """Two numbers of the CPU stand for two accelerators; each run says where it was."""
    (tmp_path / "mine.py").write_text(
        "import os, time, torch\nfrom dataclasses import replace\nfrom pathlib import Path\nfrom lehr import lab\n\n"
        "def model():  # waits for the other process, or one of them could make both runs\n"
        "    here, end = Path(__file__).parent, time.monotonic() + 60\n    (here / f'{os.getpid()}.here').touch()\n"
        "    while len(list(here.glob('*.here'))) < 2 and time.monotonic() < end:\n        time.sleep(0.02)\n"
        "    raise torch.OutOfMemoryError('full')\n\n"
        "def make_task():\n    return replace(lab.load_task('digits'), model=model)\n"
    )
    name = f"{tmp_path / 'mine.py'}:make_task"
    results = lab.compare(name, "linear,cosine", budget="5steps", seeds=1, processes=2, device=["cpu:0", "cpu:1"])
    assert {run.failure for run in results.runs} == {"out of memory on cpu:0: full", "out of memory on cpu:1: full"}
    assert results.setting.placement.device == "cpu"
    with pytest.raises(ValueError, match="device=cpu:0, cpu:1 needs processes"):
        lab.compare("digits", "linear", seeds=1, device="cpu:0,cpu:1")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"device": "gpu"}, "device must be auto, cpu, or an accelerator such as cuda:1; got 'gpu'"),
        ({"device": 3.5}, "device must be auto, cpu"),
        ({"precision": "int8"}, "precision must be fp32, bf16 or fp16; got 'int8'"),
        ({"compile": 1}, "compile must be True or False; got 1"),
        ({"accumulate": 0}, "accumulate must be a whole number, at least 1"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lab.Placement(**changes)


def test_devices_that_are_not_here_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lehr.lab.placement.accelerator", lambda: "cpu")
    with pytest.raises(ValueError, match="device 'cuda:1' is not to be had here: torch .* finds cpu only"):
        lab.compare("digits", "linear", seeds=1, device="cuda:1")
    monkeypatch.setattr("lehr.lab.placement.accelerator", lambda: "cuda")
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    assert lab.Placement().at == torch.device("cuda")
    assert lab.Placement("cuda:1").check().kind == lab.Placement("cuda")
    with pytest.raises(ValueError, match="device 'cuda:2' is not to be had here: there are 2, numbered from 0"):
        lab.Placement("cuda:2").check()
    assert devices("cuda:0, cuda:1") == ["cuda:0", "cuda:1"]
    for text in ("", "cpu,cuda", "auto,cuda"):
        with pytest.raises(ValueError, match="device"):
            devices(text)


def test_a_run_on_a_cluster_computes_where_it_has_something(monkeypatch: pytest.MonkeyPatch) -> None:
    auto, none, some = lab.Placement(), lab.RayCluster(), lab.RayCluster(gpus=0.5)
    for here, there in (("cpu", "cuda"), ("cuda", "cuda"), ("xpu", "xpu")):
        monkeypatch.setattr("lehr.lab.on_ray.accelerator", lambda here=here: here)
        assert (none.place(auto), some.place(auto)) == ("cpu", there)
    assert some.place(lab.Placement("cpu")) == "cpu"
    with pytest.raises(ValueError, match="Ray says which GPU a run gets; give device=cuda"):
        some.place(lab.Placement("cuda:1"))
    with pytest.raises(ValueError, match="a run on Ray sees no GPU unless it gets one; give gpus"):
        none.place(lab.Placement("cuda"))
    with pytest.raises(
        ValueError, match="device=cuda:0, cuda:1 is for processes of this machine; on Ray give one kind"
    ):
        lab.compare("digits", "linear", seeds=1, device=["cuda:0", "cuda:1"], on=some, processes=2)


def test_other_machines_find_the_file_of_a_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    setting = lab.Comparison("digits", lab.load_methods("linear"), lab.Settings()).setting(None, "0", lab.Settings())
    for name, inside in (
        (f"{tmp_path}/mine.py:make_task", "mine.py:make_task"), (f"{tmp_path}/book.txt", "book.txt"),
        ("/there/mine.py:make_task", "/there/mine.py:make_task"), ("cifar10/resnet18", "cifar10/resnet18"),
    ):  # fmt: skip
        assert Order.here(name, None, lab.Settings(), setting, 1).inside == inside


def test_runs_on_another_kind_of_device_are_of_another_comparison() -> None:
    setting = lab.Comparison("digits", lab.load_methods("linear"), lab.Settings()).setting
    here, there, beside = (
        setting(None, "0", lab.Settings("1ep", placement=lab.Placement(one))) for one in ("cpu", "cuda:0", "cuda:1")
    )
    assert "placement" in here.unlike(there)
    assert not there.unlike(beside)
    assert replace(here, placement=lab.Placement("cuda")) == there
