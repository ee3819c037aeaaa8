"""Files that somebody spoilt are refused in one sentence, without taking memory, or hold what was written."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import lehr
from fuzz.mutations import SEARCHING, bounded, fuzzed, same, spoil, spoil_bytes
from lehr.state import checkpoints as module


def names(refusal: ValueError, path: Path) -> None:
    assert str(path) in str(refusal)


def _learned() -> lehr.LearnedSchedule:
    torch.manual_seed(0)
    return lehr.LearnedSchedule(lehr.learned.BudgetNetwork(4), header={"on": ["digits"], "seeds": 3})


def _mlrsnet() -> lehr.MLRSNet:
    torch.manual_seed(0)
    return lehr.MLRSNet(*[lehr.mlrsnet.MLRSNetwork(4) for _ in range(2)], header={"on": "digits"})


@pytest.mark.parametrize(("make", "load"), [(_learned, lehr.LearnedSchedule.load), (_mlrsnet, lehr.MLRSNet.load)])
@fuzzed
@given(data=st.data())
def test_weights(
    make: Callable[[], Any], load: Callable[[Path], Any], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path, original = tmp_path_factory.mktemp("weights") / "file.safetensors", make()
    original.save(path)
    path.write_bytes(spoil_bytes(path.read_bytes(), data))
    try:
        with bounded(megabytes=128):
            loaded = load(path)
    except ValueError as refusal:
        names(refusal, path)
    else:
        assert repr(loaded) == repr(original)
        assert loaded.header == original.header
    path.unlink()


@pytest.mark.parametrize("make", [_learned, _mlrsnet])
def test_every_flipped_bit_of_a_file_is_noticed(make: Callable[[], Any], tmp_path: Path) -> None:
    path, original = tmp_path / "file.safetensors", make()
    original.save(path)
    content = path.read_bytes()
    for place in range(0, len(content), 1 if SEARCHING else 61):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        try:
            loaded = type(original).load(path)
        except ValueError:
            continue
        assert (repr(loaded), loaded.header) == (repr(original), original.header), place


def _published(*, old: bool) -> bytes:
    from lehr.mlrsnet.published import NAMES

    torch.manual_seed(0)
    weights = lehr.mlrsnet.MLRSNetwork(4).state_dict()
    file = io.BytesIO()
    torch.save({theirs: weights[ours] for theirs, ours in NAMES.items()}, file, _use_new_zipfile_serialization=not old)
    return file.getvalue()


@pytest.mark.parametrize("old", [False, True])
@fuzzed
@given(data=st.data())
def test_published_files(old: bool, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("published") / "file.pth"
    path.write_bytes(spoil_bytes(_published(old=old), data))
    try:
        with bounded(megabytes=128):
            loaded = lehr.MLRSNet.from_published(path, cell="meta-test")
    except ValueError as refusal:
        names(refusal, path)
    else:
        rates = loaded.rates([2.3, 1.0, 0.1])
        assert bool((torch.isfinite(rates) & (rates >= 0.0)).all())
    path.unlink()


class _Run:
    """A model, an optimizer with state and a scheduler, from one seed."""

    def __init__(self, folder: Path) -> None:
        torch.manual_seed(0)
        self.model = torch.nn.Linear(3, 2)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.1)
        self.scheduler = lehr.Scheduler(self.optimizer, _learned(), lehr.Budget(steps=10))
        self.checkpoints = lehr.Checkpoints(
            folder, model=self.model, optimizer=self.optimizer, scheduler=self.scheduler, random=lehr.RandomState()
        )

    def update(self) -> None:
        self.optimizer.zero_grad()
        loss = self.model(torch.randn(4, 3)).square().mean()
        loss.backward()
        self.scheduler.observe(loss=loss.detach())
        self.optimizer.step()
        self.scheduler.step()

    def state(self) -> list[Any]:
        return [deepcopy(part.state_dict()) for part in (self.model, self.optimizer, self.scheduler)]


def _forge(folder: Path, content: bytes) -> None:
    """A second checkpoint whose name fits its content."""
    name = module._Name(2, 2)
    (folder / f"{name}{module._hash(io.BytesIO(content), name)}.pt").write_bytes(content)


@pytest.mark.parametrize("forged", [False, True], ids=["damaged", "under a right name"])
@pytest.mark.filterwarnings("ignore::lehr.BudgetWarning")
@fuzzed
@given(data=st.data())
def test_checkpoints(forged: bool, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("run")
    first = _Run(folder)
    first.update()
    first.checkpoints.save(1)
    saved = first.state()
    first.update()
    newest = first.checkpoints.save(2)
    content = newest.read_bytes()
    spoilt = spoil_bytes(content, data)
    newest.unlink()
    if forged:
        _forge(folder, spoilt)
    else:
        newest.write_bytes(spoilt)
    second = _Run(folder)
    before = second.state()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            with bounded(megabytes=128):
                step = second.checkpoints.resume()
        except ValueError:
            assert forged  # it is whole, but a part refuses its state
            assert same(second.state(), before)
        else:
            assert step in (1, 2)
            if step == 1:
                assert same(second.state(), saved)
            elif not forged:
                assert spoilt == content
    for path in folder.iterdir():
        path.unlink()


@pytest.mark.filterwarnings("ignore::lehr.BudgetWarning")
@fuzzed
@given(data=st.data())
def test_checkpoints_of_spoilt_states(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("run")
    first = _Run(folder)
    first.update()
    states = {name: part.state_dict() for name, part in first.checkpoints.parts.items()}
    states["scheduler"] = spoil(states["scheduler"], data)
    file = io.BytesIO()
    try:
        torch.save(states, file)
    except Exception:  # what cannot be saved at all is in no file
        return
    _forge(folder, file.getvalue())
    second = _Run(folder)
    before = second.state()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            with bounded(megabytes=128):
                second.checkpoints.resume()
        except ValueError:
            assert same(second.state(), before)
        else:
            second.update()
    for path in folder.iterdir():
        path.unlink()
