"""Checkpoints are whole or not at all, and damage is noticed."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch

import lehr
from lehr.state import checkpoints as module


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

    part = tmp_path / "x"
    torch.save({"model": Evil(), "random": None}, part)
    part.rename(tmp_path / f"000001-step-1-{module._hash(part)}.pt")
    with pytest.raises(Exception, match="[Ww]eights"):
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
    for step in (-1, 1.5, None, True):
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
