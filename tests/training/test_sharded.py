"""Two processes over which `fully_shard` has spread a model: rates and weights are those of one process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard

import lehr
from processes import run_all_ranks

STEPS = 12

POLICIES: dict[str, Callable[[nn.Module], Any]] = {
    "schedule": lambda model: lehr.Linear().after_warmup(0.2),
    "tuner": lambda model: lehr.LRTuner(),
    "learned": lambda model: lehr.LearnedSchedule.pretrained(),
    "freezing": lambda model: lehr.FreezeOut(lehr.layers_of(model), t0=0.25, how="linear"),
}

SPREAD_ANEW = ("schedule", "learned", "freezing")
"""Whose state has the same entries all the time, as `torch.distributed.checkpoint` wants it."""


class Run:
    """Every process sees the same batches, so that their mean is what one process has."""

    def __init__(self, policy: str) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(*(nn.Sequential(nn.Linear(6, 6), nn.Tanh()) for _ in range(3)), nn.Linear(6, 6))
        if dist.is_initialized():
            for part in self.model:
                fully_shard(part)
            fully_shard(self.model)
        made = POLICIES[policy](self.model)
        groups = made.param_groups(lr=0.01) if isinstance(made, lehr.FreezeOut) else self.model.parameters()
        optimizer = torch.optim.AdamW(groups, lr=0.01)
        inputs = torch.randn(64, 6, generator=torch.Generator().manual_seed(1))
        loader = torch.utils.data.DataLoader(inputs, batch_size=8)  # type: ignore[arg-type]
        self.training = lehr.Training(
            self.model, optimizer, loader, lambda model, x: (model(x) - x.sin()).square().mean()
        )
        self.scheduler = lehr.Scheduler(self.training, made, lehr.Budget(steps=STEPS))
        self.rates: list[list[float]] = []

    def go(self, updates: int) -> Run:
        for _ in range(updates):
            self.rates.append(self.scheduler.get_last_lr())
            self.training.step(self.scheduler)
        return self

    def state(self) -> dict[str, Any]:
        optimizer = self.training.optimizers[0]
        return {
            "model": get_model_state_dict(self.model),
            "optimizer": get_optimizer_state_dict(self.model, optimizer),
            "scheduler": self.scheduler,
            "batches": self.training.batches,
        }

    def save(self, folder: Path) -> Run:
        dcp.save(self.state(), checkpoint_id=folder, no_dist=not dist.is_initialized())
        return self

    def load(self, folder: Path) -> Run:
        alone = not dist.is_initialized()
        dcp.load({"scheduler": self.scheduler}, checkpoint_id=folder, no_dist=alone)  # it says which layers are frozen
        state = self.state()
        dcp.load(state, checkpoint_id=folder, no_dist=alone)
        set_model_state_dict(self.model, state["model"])
        set_optimizer_state_dict(self.model, self.training.optimizers[0], state["optimizer"])
        return self

    def weights(self) -> list[float]:
        whole = [one.full_tensor() if dist.is_initialized() else one for one in self.model.parameters()]  # type: ignore[operator]
        return torch.cat([one.detach().flatten() for one in whole]).tolist()


def _older() -> list[Any]:
    """What the older wrapper takes, and what is said where it does not."""
    model = FullyShardedDataParallel(nn.Sequential(nn.Linear(6, 6), nn.Tanh()), device_id=torch.device("cpu"))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    training = lehr.Training(model, optimizer, [torch.ones(4, 6)], lambda model, x: (model(x) - x).square().mean())
    scheduler = lehr.Scheduler(training, lehr.Linear(), lehr.Budget(steps=4))
    rates = [scheduler.get_last_lr()[0] for _ in training.run(scheduler)]
    tested = lehr.range_test(training, low=1e-4, high=0.1, steps=12)
    learned = lehr.fit(training, "4steps", lehr.LearnedSchedule.pretrained(), progress=False)
    said = ""
    try:
        lehr.fit(training, "4steps", lehr.LRTuner(), progress=False)
    except ValueError as error:
        said = str(error)
    return [rates, tested.losses, [rate[0] for _, _, rate in learned.rates], said]


def _work(rank: int, folder: str) -> None:
    found: dict[str, Any] = {}
    for policy in POLICIES:
        run = Run(policy).go(STEPS // 2)
        if policy in SPREAD_ANEW:
            run.save(Path(folder, f"{policy} of two"))
        run.go(STEPS - STEPS // 2)
        found[policy] = [run.rates, run.weights()]
        if policy in SPREAD_ANEW:
            more = Run(policy).load(Path(folder, f"{policy} of one")).go(STEPS - STEPS // 2)
            found[f"{policy} of one"] = [more.rates, more.weights()]
    tested = Run("schedule").go(2)
    before = tested.weights()
    result = lehr.range_test(tested.training, low=1e-4, high=0.1, steps=12)
    found["older wrapper"] = _older()
    found["range test"] = [result.losses, tested.weights() == before]
    Path(folder, f"{rank}.json").write_text(json.dumps(found))


pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled:UserWarning")  # which is tested, too


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sharded")
    for policy in SPREAD_ANEW:
        Run(policy).go(STEPS // 2).save(folder / f"{policy} of one")
    run_all_ranks(_work, folder, 2)
    return folder


@pytest.fixture(scope="module")
def ranks(folder: Path) -> list[dict[str, Any]]:
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("policy", POLICIES)
def test_a_sharded_model_trains_as_a_whole_one(ranks: list[dict[str, Any]], policy: str) -> None:
    whole = Run(policy).go(STEPS)
    for found in ranks:
        rates, weights = found[policy]
        assert [x for row in rates for x in row] == pytest.approx([x for row in whole.rates for x in row], rel=1e-4)
        assert weights == pytest.approx(whole.weights(), abs=1e-4)


@pytest.mark.parametrize("policy", SPREAD_ANEW)
def test_a_run_goes_on_in_another_number_of_processes(ranks: list[dict[str, Any]], folder: Path, policy: str) -> None:
    """By way of torch.distributed.checkpoint, from two to one and from one to two."""
    one = Run(policy).load(folder / f"{policy} of two")
    assert one.scheduler.updates == STEPS // 2
    one.go(STEPS - STEPS // 2)
    for found in ranks:
        whole, weights = found[policy]
        for rates, ended in [(one.rates, one.weights()), found[f"{policy} of one"]]:
            flat = [rate for row in rates for rate in row]
            assert flat == pytest.approx([rate for row in whole[STEPS // 2 :] for rate in row], rel=1e-4)
            assert ended == pytest.approx(weights, abs=1e-4)


def test_a_range_test_of_a_sharded_model_leaves_no_trace(ranks: list[dict[str, Any]]) -> None:
    whole = lehr.range_test(Run("schedule").go(2).training, low=1e-4, high=0.1, steps=12)
    for found in ranks:
        losses, same = found["range test"]
        assert losses == pytest.approx(whole.losses, rel=1e-4)
        assert same


def test_the_older_wrapper_takes_all_but_looks(ranks: list[dict[str, Any]]) -> None:
    rates, losses, learned, said = ranks[0]["older wrapper"]
    assert rates == pytest.approx([0.0075, 0.005, 0.0025, 0.0])
    assert len(losses) == 12
    assert losses[-1] < losses[0]
    assert len(set(learned)) > 2
    assert "is in a FullyShardedDataParallel" in said
    assert "fully_shard instead" in said
    assert ranks[1]["older wrapper"] == ranks[0]["older wrapper"]
