"""Checkpoints are whole or not at all, and damage is noticed."""

from __future__ import annotations

import io
import itertools
import os
import random
import time
import zipfile
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lehr
from lehr.state import checkpoints as module
from processes import CONTEXT


def made(folder: Path, **changes: object) -> tuple[torch.nn.Linear, lehr.Checkpoints]:
    model = torch.nn.Linear(3, 1)
    parts = {"model": model, "random": lehr.RandomState(), **changes}
    return model, lehr.Checkpoints(folder, **parts)  # type: ignore[arg-type]


def saved(folder: Path, steps: int) -> list[float]:
    model, checkpoints = made(folder)
    values = []
    for step in range(1, steps + 1):
        with torch.no_grad():
            model.weight.fill_(step)
        checkpoints.save(step)
        values.append(float(step))
    return values


def test_the_newest_is_loaded_and_the_last_few_are_kept(tmp_path: Path) -> None:
    saved(tmp_path, 5)
    model, checkpoints = made(tmp_path)
    assert checkpoints.resume() == 5
    assert model.weight[0, 0] == 5.0
    assert len(list(tmp_path.iterdir())) == 2


def forge(folder: Path, content: object, number: int = 1, step: int = 1) -> Path:
    """A file under a right name whose content nobody expects: bytes as they are, or what `torch.save` makes of it."""
    folder.mkdir(exist_ok=True)
    part = folder / "forged"
    part.write_bytes(content) if isinstance(content, bytes) else torch.save(content, part)
    name = module._Name(number, step)
    with part.open("rb") as file:
        path = folder / f"{name}{module._hash(file, name)}.pt"
    return part.rename(path)


@pytest.mark.parametrize("damage", ["truncated", "one bit", "empty", "replaced"])
def test_a_damaged_one_is_passed_over(tmp_path: Path, damage: str) -> None:
    saved(tmp_path, 3)
    newest = max(tmp_path.iterdir())
    contents = bytearray(newest.read_bytes())
    if damage == "one bit":
        contents[len(contents) // 2] ^= 1
    wrong = {"truncated": contents[:-100], "empty": b"", "replaced": b"not a checkpoint"}
    newest.write_bytes(wrong.get(damage, contents))
    model, checkpoints = made(tmp_path)
    with pytest.warns(UserWarning, match=f"{newest.name} is truncated or damaged, so the checkpoint before it is used"):
        assert checkpoints.resume() == 2
    assert model.weight[0, 0] == 2.0


def test_if_all_are_damaged_nothing_starts_anew_by_itself(tmp_path: Path) -> None:
    saved(tmp_path, 2)
    for path in tmp_path.iterdir():
        path.write_bytes(b"")
    with (
        pytest.warns(UserWarning, match="damaged"),
        pytest.raises(ValueError, match="delete the folder to start anew"),
    ):
        made(tmp_path)[1].resume()


def test_a_kill_while_writing_leaves_the_last_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path, 1)
    before = sorted(path.name for path in tmp_path.iterdir())

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_hash", killed)
    with pytest.raises(KeyboardInterrupt):
        made(tmp_path)[1].save(2)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    monkeypatch.undo()
    left = tmp_path / ".12345.part"
    left.write_bytes(b"half")  # as kill -9 would leave it
    os.utime(left, (0, 0))
    assert made(tmp_path)[1].resume() == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_no_code_is_run_from_a_file(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (str(tmp_path / "ran"),))

    forge(tmp_path, {"model": Evil(), "random": None})
    with (
        pytest.warns(UserWarning, match="cannot be read without running code"),
        pytest.raises(ValueError, match="all checkpoints in .* are damaged"),
    ):
        made(tmp_path)[1].resume()
    assert not (tmp_path / "ran").exists()


def test_bad_use_is_told(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="model must have state_dict and load_state_dict; a int has not"):
        lehr.Checkpoints(tmp_path, model=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="give what to save by name"):
        lehr.Checkpoints(tmp_path)
    with pytest.raises(ValueError, match="keep must be a whole number, at least 1"):
        lehr.Checkpoints(tmp_path, keep=0, model=torch.nn.Linear(1, 1))
    saved(tmp_path, 1)
    other = lehr.Checkpoints(tmp_path, model=torch.nn.Linear(3, 1))
    with pytest.raises(ValueError, match="holds model, random, but this run has model"):
        other.resume()


def test_a_damaged_one_counts_no_more(tmp_path: Path) -> None:
    """Else the saves that follow a resume would be thought older than it, and be deleted."""
    _, checkpoints = made(tmp_path)
    for step in (100, 200):
        checkpoints.save(step)
    newest = max(tmp_path.glob("*.pt"))
    newest.write_bytes(b"")
    with pytest.warns(UserWarning, match="damaged"):
        assert checkpoints.resume() == 100
    for step in (120, 140, 160):
        checkpoints.save(step)
    newest = max(tmp_path.glob("*.pt"))
    newest.write_bytes(b"")
    with pytest.warns(UserWarning, match="damaged"):
        assert checkpoints.resume() == 140


class Box:
    def __init__(self, value: object) -> None:
        self.value = value

    def state_dict(self) -> dict[str, object]:
        return {"value": self.value}

    def load_state_dict(self, state: dict[str, object]) -> None:
        if isinstance(state["value"], str):
            raise ValueError(state["value"])
        self.value = state["value"]


def test_what_could_not_be_loaded_again_is_not_saved(tmp_path: Path) -> None:
    checkpoints = lehr.Checkpoints(tmp_path, model=torch.nn.Linear(1, 1), box=Box(np.zeros(2)))
    with pytest.raises(ValueError, match="the state of box could not be loaded again"):
        checkpoints.save(1)
    assert not list(tmp_path.iterdir())


def test_a_part_that_refuses_leaves_all_as_they_were(tmp_path: Path) -> None:
    model, box = torch.nn.Linear(1, 1), Box("no, thank you")
    checkpoints = lehr.Checkpoints(tmp_path, model=model, box=box)
    checkpoints.save(1)
    box.value = 3
    with torch.no_grad():
        model.weight.fill_(7.0)
    with pytest.raises(ValueError, match="no, thank you"):
        checkpoints.resume()
    assert (model.weight.item(), box.value) == (7.0, 3)


class Optimizing:
    """A model, an optimizer and a scheduler that goes with no other base rate than its own."""

    def __init__(self, lr: float) -> None:
        self.model = torch.nn.Linear(1, 1)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=lr)
        self.scheduler = lehr.Scheduler(self.optimizer, lehr.Linear(), lehr.Budget(steps=10))

    def parts(self, names: Sequence[str]) -> dict[str, Any]:
        return {name: getattr(self, name) for name in names}


@pytest.mark.parametrize("names", list(itertools.permutations(("model", "optimizer", "scheduler"))))
def test_parts_that_depend_on_each_other_are_put_back_in_any_order(tmp_path: Path, names: Sequence[str]) -> None:
    saved, mine = Optimizing(0.1), Optimizing(0.1)
    saved.optimizer.param_groups[0]["initial_lr"] = 0.3  # as no run of this scheduler had it
    box = Box("no, thank you")
    lehr.Checkpoints(tmp_path, **saved.parts(names), zbox=box).save(3)
    before = [deepcopy(part.state_dict()) for part in mine.parts(names).values()]
    with pytest.raises(ValueError, match="base learning rates changed|no, thank you"):
        lehr.Checkpoints(tmp_path, **mine.parts(names), zbox=Box(1)).resume()
    assert repr([part.state_dict() for part in mine.parts(names).values()]) == repr(before)


def test_whatever_a_part_raises_is_one_kind_of_error(tmp_path: Path) -> None:
    lehr.Checkpoints(tmp_path, model=torch.nn.Linear(2, 1)).save(1)
    with pytest.raises(ValueError, match="(?s)model refuses its state: RuntimeError: .*size mismatch"):
        lehr.Checkpoints(tmp_path, model=torch.nn.Linear(3, 1)).resume()


def test_parts_can_be_told_what_to_accept(tmp_path: Path) -> None:
    def scheduler(steps: int) -> lehr.Scheduler:
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        return lehr.Scheduler(optimizer, lehr.Linear(), lehr.Budget(steps=np.float64(steps)))

    lehr.Checkpoints(tmp_path, scheduler=scheduler(10)).save(0)
    longer = lehr.Checkpoints(tmp_path, scheduler=scheduler(20))
    with pytest.raises(ValueError, match="the budget changed"):
        longer.resume()
    assert longer.resume(scheduler={"accept": "budget"}) == 0
    with pytest.raises(ValueError, match="there is no part optimizer"):
        longer.resume(optimizer={})


def test_steps_are_whole_numbers(tmp_path: Path) -> None:
    for step in (-1, 1.5, None, True, 2**63, 10**400):
        with pytest.raises(ValueError, match="step must be a whole number, at least 0"):
            made(tmp_path)[1].save(step)  # type: ignore[arg-type]


def test_random_numbers_go_on_where_they_were(tmp_path: Path) -> None:
    def draw() -> list[float]:
        return [random.random(), float(np.random.rand()), float(np.random.randn()), float(torch.rand(1))]

    np.random.randn()  # leaves a second normal number waiting
    _, checkpoints = made(tmp_path)
    checkpoints.save(1)
    expected = draw()
    draw()
    checkpoints.resume()
    assert draw() == expected


@pytest.mark.parametrize(
    "content",
    [
        b"", b"text", b"PK\x03\x04 but no archive", b"\x80\x02}.", [1, 2], {3: 4}, "model", None,
        {"model": torch.zeros(1).expand(10**8)},
    ],
)  # fmt: skip
@pytest.mark.parametrize("old", [False, True])
def test_odd_content_under_a_right_name_is_passed_over(tmp_path: Path, content: object, old: bool) -> None:
    if old:
        saved(tmp_path, 2)
    odd = forge(tmp_path, content, number=9, step=99)
    model, checkpoints = made(tmp_path)
    with pytest.warns(UserWarning, match=f"{odd.name} is (truncated or )?damaged"):
        if not old:
            with pytest.raises(ValueError, match="are damaged"):
                checkpoints.resume()
            return
        assert checkpoints.resume() == 2
    assert model.weight[0, 0] == 2.0


def rezipped(content: bytes, method: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w", method) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    return file.getvalue()


def test_what_claims_to_be_larger_than_its_file_takes_no_memory(tmp_path: Path) -> None:
    """A compressed file of zeros, and a number expanded to a gigabyte."""
    buffer = io.BytesIO()
    torch.save({"model": {"weight": torch.zeros(2**22)}, "random": None}, buffer)
    small = rezipped(buffer.getvalue(), zipfile.ZIP_DEFLATED)
    assert len(small) < 2**20
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number, content in enumerate((small, {"model": torch.zeros(1).expand(2**30)}), start=1):
        forge(tmp_path, content, number)
    with (
        pytest.warns(UserWarning, match=r"compressed|claim to be 4,294,967,292 bytes larger"),
        pytest.raises(ValueError, match="are damaged"),
    ):
        made(tmp_path)[1].resume()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**15  # kilobytes


def test_expanded_tensors_of_a_sound_size_can_be_saved(tmp_path: Path) -> None:
    box = Box(torch.arange(4.0).expand(100, 4))
    lehr.Checkpoints(tmp_path / "sound", box=box).save(1)
    again = Box(None)
    assert lehr.Checkpoints(tmp_path / "sound", box=again).resume() == 1
    assert torch.equal(again.value, box.value)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="the state of box could not be loaded again, .* expanded tensors"):
        lehr.Checkpoints(tmp_path / "vast", box=Box(torch.zeros(1).expand(2**30))).save(1)


def test_a_folder_or_a_broken_link_under_a_checkpoints_name_is_passed_over(tmp_path: Path) -> None:
    saved(tmp_path, 2)
    (tmp_path / "000009-step-9-0123456789abcdef.pt").mkdir()
    (tmp_path / "000008-step-8-0123456789abcdef.pt").symlink_to(tmp_path / "nowhere")
    with pytest.warns(UserWarning, match="is no file, so the checkpoint before it is used"):
        assert made(tmp_path)[1].resume() == 2


def test_a_folder_is_never_deleted_in_place_of_an_old_checkpoint(tmp_path: Path) -> None:
    saved(tmp_path, 2)
    folder = tmp_path / "000000-step-9-0123456789abcdef.pt"
    folder.mkdir()
    made(tmp_path)[1].save(3)
    assert folder.is_dir()


@pytest.mark.parametrize(
    "rename", [lambda n: n.replace("-step-3-", "-step-30-"), lambda n: n.replace("000003-", "000009-")]
)
def test_a_file_that_was_renamed_is_not_believed(tmp_path: Path, rename: Callable[[str], str]) -> None:
    saved(tmp_path, 3)
    newest = max(tmp_path.iterdir())
    newest.rename(tmp_path / rename(newest.name))
    with pytest.warns(UserWarning, match="damaged"):
        assert made(tmp_path)[1].resume() == 2


def test_files_of_other_names_are_left_alone(tmp_path: Path) -> None:
    saved(tmp_path, 1)
    for name in ("000009-step-²-0123456789abcdef.pt", f"{'9' * 40}-step-1-0123456789abcdef.pt", "notes-step-1-x.pt"):
        (tmp_path / name).write_text("mine")
    assert made(tmp_path)[1].resume() == 1
    assert len(list(tmp_path.iterdir())) == 4


def test_two_identical_states_make_identical_files(tmp_path: Path) -> None:
    paths = [made(tmp_path / name, model=Box([1.5, "text"]), random=Box(3))[1].save(7) for name in ("a", "b")]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].name == paths[1].name
    assert paths[0].stat().st_mode & 0o777 == 0o644


def _saving(folder: str, seconds: float) -> None:
    checkpoints = lehr.Checkpoints(folder, keep=1, box=Box(0))
    end, step = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        step += 1
        checkpoints.parts["box"].value = step  # type: ignore[attr-defined]
        checkpoints.save(step)


def test_resuming_while_another_process_saves_and_deletes(tmp_path: Path) -> None:
    made(tmp_path, model=Box(0), random=Box(0))
    lehr.Checkpoints(tmp_path, keep=1, box=Box(0)).save(0)
    process = CONTEXT.Process(target=_saving, args=(str(tmp_path), 4.0))
    process.start()
    box, steps = Box(None), [0]
    checkpoints = lehr.Checkpoints(tmp_path, keep=1, box=box)
    while process.is_alive():
        step = checkpoints.resume()
        assert step is not None
        assert step >= steps[-1]
        assert box.value == step
        steps.append(step)
    process.join()
    assert process.exitcode == 0
    assert len(set(steps)) > 10


def test_checkpoints_that_vanish_are_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path, 2)

    def deleted(checkpoint: module._Checkpoint) -> None:
        checkpoint.path.unlink()
        raise FileNotFoundError(checkpoint.path)

    monkeypatch.setattr(module, "_read", deleted)
    with pytest.raises(ValueError, match="were deleted while one was read; call resume again"):
        made(tmp_path)[1].resume()


def test_a_machine_without_room_does_not_put_a_sound_checkpoint_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path, 1)
    load = torch.load

    def no_room(*args: object, map_location: str, **how: object) -> object:
        if map_location == "cpu":
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes.")
        return load(*args, map_location=map_location, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(torch, "load", no_room)
    with pytest.raises(MemoryError, match="allocate"):
        made(tmp_path)[1].resume()
    monkeypatch.undo()
    assert made(tmp_path)[1].resume() == 1


def test_a_pipe_with_a_checkpoints_name_is_passed_over_and_a_file_is_no_folder(tmp_path: Path) -> None:
    checkpoints = lehr.Checkpoints(tmp_path, random=lehr.RandomState())
    path = checkpoints.save(3)
    os.mkfifo(tmp_path / "000009-step-9-0123456789abcdef.pt")
    with pytest.warns(UserWarning, match="is no file, so the checkpoint before it is used"):
        assert checkpoints.resume() == 3
    with pytest.raises(ValueError, match="folder must be a folder"):
        lehr.Checkpoints(path, random=lehr.RandomState())
