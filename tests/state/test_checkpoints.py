"""Checkpoints are whole or not at all, and damage is noticed."""

from __future__ import annotations

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
        pytest.raises(ValueError, match="delete them to start anew"),
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
    (tmp_path / ".12345.part").write_bytes(b"half")  # as kill -9 would leave it
    assert made(tmp_path)[1].resume() == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_no_code_is_run_from_a_file(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (str(tmp_path / "ran"),))

    part = tmp_path / "x"
    torch.save({"model": Evil(), "random": None}, part)
    part.rename(tmp_path / f"step-000000000001-{module._hash(part)}.pt")
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
