"""Two processes that do not do the same: each ends with a sentence, and none aborts."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
import torch
import torch.distributed as dist

import lehr
from lehr.scheduler import last_words, ranks
from processes import run_ranks

SENTENCE = "NoAgreementError: rank 0 of 2 could not agree with the others on the loss: "


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


THREE = "observe: loss must be one real number; got a tensor of torch.float32 and shape (3,)"

GIVEN: dict[str, tuple[Any, Any, Callable[[int], None]]] = {
    "a number and a tensor": (1.0, torch.tensor(2.0), _nothing),
    "half precision and double": (torch.tensor([1.0], dtype=torch.bfloat16), torch.tensor(2.0).double(), _nothing),
    "whole numbers": (1, torch.tensor(2), _nothing),
    "one raises": (1.0, 1.0, _raises),
    "one gives three losses": (1.0, torch.zeros(3), _nothing),
    "one is killed": (1.0, 1.0, _dies),
}


def _work(rank: int, folder: str) -> None:
    last_words.PATIENCE = 1.0  # type: ignore[misc]
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
    run_ranks(_work, folder, 2)
    return {path.stem: path.read_text() for path in folder.glob("*.txt")}


@pytest.mark.parametrize("name", ["a number and a tensor", "half precision and double", "whole numbers"])
def test_kinds_of_numbers_mix(said: dict[str, str], name: str) -> None:
    kinds = ["Tensor" if isinstance(loss, torch.Tensor) else "float" for loss in GIVEN[name][:2]]
    assert [said[f"{name} {rank}"] for rank in range(2)] == [f"{kind} 1.5" for kind in kinds]


@pytest.mark.parametrize(
    ("name", "other", "known"),
    [
        ("one raises", "KeyError: 'mine'", "no word came from rank 1 ("),
        ("one gives three losses", f"ValueError: {THREE}", f"rank 1 stopped with ValueError: {THREE} ("),
        ("one is killed", None, "rank 1 is gone: its process "),
    ],
)
def test_the_rank_that_is_left_says_which_has_stopped_and_why(
    said: dict[str, str], name: str, other: str | None, known: str
) -> None:
    assert said[f"{name} 0"].startswith(f"{SENTENCE}{known}")
    assert said.get(f"{name} 1") == other


PLAN = lehr.Budget(seconds=100.0)
TIMEOUT = 30.0


def _until_one_dies(rank: int, folder: str) -> None:
    """Four ranks whose clocks are skewed train by rank 0's, until rank 2 is killed."""
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/four", rank=rank, world_size=4, timeout=timedelta(seconds=TIMEOUT)
    )
    time = [1_000.0 * rank]

    def now() -> float:
        time[0] += 1.0 + 0.5 * rank
        return time[0]

    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = lehr.Scheduler(optimizer, lehr.Linear(), PLAN, now=now)
    rates: list[float] = []
    said = "none"
    try:
        while not scheduler.finished:
            if rank == 2 and len(rates) == 20:
                os._exit(9)
            rates += scheduler.get_last_lr()
            optimizer.step()
            began = monotonic()
            scheduler.step()
    except RuntimeError as error:
        said = str(error)
    Path(folder, f"{rank}.json").write_text(json.dumps([rates, said, monotonic() - began]))


def test_where_one_of_four_is_killed_the_others_stop_in_time_at_the_same_rate(tmp_path: Path) -> None:
    run_ranks(_until_one_dies, tmp_path, 4)
    left = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1, 3)]
    for rank, (rates, said, waited) in zip((0, 1, 3), left, strict=True):
        assert rates[:21] == left[0][0][:21]
        assert said.startswith(f"rank {rank} of 4 could not agree with the others on the time: rank 2 is gone: its")
        assert waited < TIMEOUT
    assert {len(rates) for rates, _, _ in left} <= {21, 22}  # the last may have been agreed on with some of them
    assert left[0][0][0] > left[0][0][19] > 0.0


def test_alone_nothing_is_sent() -> None:
    loss = torch.tensor([1.0, 2.0])
    assert ranks.mean(loss) is loss
    assert ranks.of_first(3.0) == ranks.total(3.0) == 3.0
