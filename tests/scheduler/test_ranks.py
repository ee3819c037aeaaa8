"""Two processes that do not do the same: each ends with a sentence, and none aborts."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

import lehr
from lehr.scheduler import ranks

SENTENCE = "rank 0 of 2 could not agree with the others on the loss: another rank has stopped, or did not call"


class Looks(lehr.Policy):
    needs = ("loss",)
    seen: list[Any]

    def __init__(self) -> None:
        self.seen = []

    def factors(self, moment: lehr.Moment) -> float:
        if moment.loss is not None:
            self.seen.append(moment.loss)
        return 1.0

    def __repr__(self) -> str:
        return "Looks()"


def _raises(rank: int) -> None:
    if rank:
        raise KeyError("mine")


def _dies(rank: int) -> None:
    if rank:
        os._exit(9)


def _nothing(rank: int) -> None:
    pass


GIVEN: dict[str, tuple[Any, Any, Callable[[int], None]]] = {
    "a number and a tensor": (1.0, torch.tensor(2.0), _nothing),
    "half precision and double": (torch.tensor([1.0], dtype=torch.bfloat16), torch.tensor(2.0).double(), _nothing),
    "whole numbers": (1, torch.tensor(2), _nothing),
    "one raises": (1.0, 1.0, _raises),
    "one gives three losses": (1.0, torch.zeros(3), _nothing),
    "one is killed": (1.0, 1.0, _dies),
}


def _work(rank: int, folder: str) -> None:
    for number, (name, (*losses, act)) in enumerate(GIVEN.items()):
        dist.init_process_group(
            "gloo", init_method=f"file://{folder}/meet{number}", rank=rank, world_size=2, timeout=timedelta(seconds=60)
        )
        policy = Looks()
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        scheduler = lehr.Scheduler(optimizer, policy, lehr.Budget(steps=3))
        try:
            act(rank)
            scheduler.observe(loss=losses[rank])
            said = " ".join(f"{type(loss).__name__} {float(loss)}" for loss in policy.seen)
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
        Path(folder, f"{name} {rank}.txt").write_text(said)
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("ranks")
    context = mp.start_processes(  # type: ignore[no-untyped-call]
        _work, (str(folder),), nprocs=2, join=False, start_method="spawn"
    )
    for process in context.processes:
        process.join(300)
    return {path.stem: path.read_text() for path in folder.glob("*.txt")}


@pytest.mark.parametrize("name", ["a number and a tensor", "half precision and double", "whole numbers"])
def test_kinds_of_numbers_mix(said: dict[str, str], name: str) -> None:
    kinds = ["Tensor" if isinstance(loss, torch.Tensor) else "float" for loss in GIVEN[name][:2]]
    assert [said[f"{name} {rank}"] for rank in range(2)] == [f"{kind} 1.5" for kind in kinds]


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("one raises", "KeyError: 'mine'"),
        ("one gives three losses", "ValueError: loss must be one number on every rank; rank 1 got (3,)"),
        ("one is killed", None),
    ],
)
def test_the_rank_that_is_left_says_what_to_look_for(said: dict[str, str], name: str, other: str | None) -> None:
    assert said[f"{name} 0"].startswith(f"RuntimeError: {SENTENCE}")
    assert "first error in their output" in said[f"{name} 0"]
    assert said.get(f"{name} 1") == other


def test_alone_nothing_is_sent() -> None:
    loss = torch.tensor([1.0, 2.0])
    assert ranks.mean(loss) is loss
    assert ranks.of_first(3.0) == ranks.total(3.0) == 3.0
