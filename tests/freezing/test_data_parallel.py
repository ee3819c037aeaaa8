"""Two processes that train one model whose layers freeze."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.nn.parallel import DistributedDataParallel

import lehr
from processes import run_all_ranks

RANKS, STEPS = 2, 12


def _model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*(nn.Sequential(nn.Linear(6, 6), nn.Tanh()) for _ in range(3)), nn.Linear(6, 6))


class _Network(nn.Module):
    """No `Sequential`: built in another order than it runs in, with a parameter of its own."""

    def __init__(self, *, tied: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(6, 6, bias=False)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(6, 6), nn.Tanh()) for _ in range(3))
        self.first = nn.Linear(6, 6, bias=False)
        self.place = nn.Parameter(torch.ones(6))
        if tied:
            self.head.weight = self.first.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x) + self.place
        for block in self.blocks:
            x = block(x)
        out: torch.Tensor = self.head(x)
        return out


def _shard(model: nn.Module, blocks: nn.Module) -> None:
    mesh = init_device_mesh("cpu", (RANKS,))
    for block in blocks.children():
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)


def _batch(index: int) -> torch.Tensor:
    return torch.randn(8, 6, generator=torch.Generator().manual_seed(index))


def _plan(model: nn.Module, example: Any = None) -> tuple[lehr.FreezeOut, lehr.Scheduler]:
    plan = lehr.FreezeOut(lehr.layers_of(model, example), t0=0.25, how="linear")
    optimizer = torch.optim.AdamW(plan.param_groups(lr=0.01))
    return plan, lehr.Scheduler(optimizer, plan, lehr.Budget(steps=STEPS))


def _train(
    wrapper: nn.Module, scheduler: lehr.Scheduler, share: slice, *, accumulate: int = 1, toggle: nn.Module | None = None
) -> None:
    for index in range(STEPS):
        if toggle is not None:  # as for the generator's turn, and back
            toggle.requires_grad_(False)
            wrapper(_batch(0)[share])
            toggle.requires_grad_(True)
        scheduler.optimizer.zero_grad()
        for part in range(accumulate):
            last = part == accumulate - 1
            with nullcontext() if last else wrapper.no_sync():  # type: ignore[operator]
                (wrapper(_batch(index * accumulate + part)[share]).square().mean() / accumulate).backward()
        scheduler.optimizer.step()
        scheduler.step()


def _weights(model: nn.Module) -> list[float]:
    return [float(x) for p in model.parameters() for x in p.detach().flatten()]


def _work(rank: int, folder: str) -> None:
    mine = slice(rank * 4, rank * 4 + 4)
    found: dict[str, Any] = {}

    model = _model()
    plan, scheduler = _plan(model)
    wrapper = lehr.FreezableDataParallel(model)
    found["unwrapped"] = lehr.layers_of(wrapper).model is model
    sent: list[int] = []

    def counting(state: object, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
        sent.append(bucket.buffer().numel())
        gradients = bucket.buffer().div_(RANKS)
        done = dist.all_reduce(gradients, async_op=True).get_future()
        return done.then(lambda future: future.value()[0])  # type: ignore[no-any-return]

    counting.__annotations__ = {"bucket": dist.GradBucket, "return": torch.futures.Future[torch.Tensor]}
    wrapper.register_comm_hook(None, counting)
    _train(wrapper, scheduler, mine)
    found["weights"], found["sent"], found["frozen"] = _weights(model), sent, plan.frozen
    found["names"] = list(wrapper.state_dict()) == list(DistributedDataParallel(_model()).state_dict())

    accumulated = _model()
    _, scheduler = _plan(accumulated)
    _train(lehr.FreezableDataParallel(accumulated), scheduler, mine, accumulate=2)
    found["accumulated"] = _weights(accumulated)

    finding = _model()
    _, scheduler = _plan(finding)
    _train(DistributedDataParallel(finding, find_unused_parameters=True), scheduler, mine)
    found["finding unused"] = _weights(finding)

    toggled = _model()
    plan, scheduler = _plan(toggled)
    _train(lehr.FreezableDataParallel(toggled), scheduler, mine, toggle=toggled)
    found["toggled"], found["toggled frozen"] = _weights(toggled), plan.frozen

    sharded = _model()
    _shard(sharded, sharded)
    plan, scheduler = _plan(sharded)
    _train(sharded, scheduler, mine)
    found["sharded"] = [float(x) for p in sharded.parameters() for x in p.full_tensor().flatten()]  # type: ignore[attr-defined]
    found["sharded frozen"] = [plan.frozen, sum(p.grad is None for p in sharded.parameters())]

    for tied in (False, True):
        network = _Network(tied=tied)
        _shard(network, network.blocks)
        plan, scheduler = _plan(network, _batch(0))
        _train(network, scheduler, mine)
        found[f"network {tied}"] = [float(x) for p in network.parameters() for x in p.full_tensor().flatten()]  # type: ignore[attr-defined]
        found[f"network {tied} layers"] = [layer.name for layer in plan.layers]
        found[f"network {tied} frozen"] = [plan.frozen, sum(p.grad is None for p in network.parameters())]

    late = _Network(tied=False)
    layers = lehr.layers_of(late, _batch(0))
    plan, scheduler = _plan(_Network(tied=False), _batch(0))
    _shard(late, late.blocks)
    _shard(plan.layers.model, plan.layers.model.blocks)  # type: ignore[arg-type]
    try:
        plan.layers.model(_batch(0))
    except ValueError as error:
        found["sharded after the scheduler"] = str(error)
    try:
        lehr.FreezeOut(layers).bind(torch.optim.SGD(late.parameters()))
    except ValueError as error:
        found["sharded after the layers"] = str(error)
    try:
        lehr.layers_of(FullyShardedDataParallel(_model(), device_id=torch.device("cpu")), _batch(0))
    except ValueError as error:
        found["old"] = str(error)

    for name, arguments in (("plain", {}), ("static", {"static_graph": True})):
        model = _model()
        _, scheduler = _plan(model)
        model(_batch(0))  # without the wrapper, as to look at something first
        try:
            _train(DistributedDataParallel(model, **arguments), scheduler, mine)
        except ValueError as error:
            found[name] = str(error)
    Path(folder, f"{rank}.json").write_text(json.dumps(found))


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("ranks")
    run_all_ranks(_work, folder, RANKS)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(RANKS)]


def test_both_ranks_have_the_weights_that_one_process_would_have(ranks: list[dict[str, Any]]) -> None:
    assert ranks[0]["weights"] == ranks[1]["weights"]
    alone = _model()
    _, scheduler = _plan(alone)
    _train(alone, scheduler, slice(None))
    assert ranks[0]["weights"] == pytest.approx(_weights(alone), abs=1e-5)
    assert ranks[0]["frozen"] == 3


def test_fewer_gradients_are_sent_as_layers_freeze(ranks: list[dict[str, Any]]) -> None:
    """Numbers sent at each update: the layers still training, and no more."""
    sent = ranks[0]["sent"]
    layer = 6 * 6 + 6
    assert sent == [4 * layer] * 4 + [3 * layer] * 3 + [2 * layer] * 3 + [layer] * 2


def test_accumulation(ranks: list[dict[str, Any]]) -> None:
    assert ranks[0]["accumulated"] == ranks[1]["accumulated"]
    alone = _model()
    _, scheduler = _plan(alone)
    for index in range(STEPS):
        scheduler.optimizer.zero_grad()
        for part in range(2):
            (alone(_batch(2 * index + part)).square().mean() / 2).backward()
        scheduler.optimizer.step()
        scheduler.step()
    assert ranks[0]["accumulated"] == pytest.approx(_weights(alone), abs=1e-5)


def test_torchs_wrapper_works_if_it_looks_for_unused_parameters(ranks: list[dict[str, Any]]) -> None:
    assert ranks[0]["finding unused"] == pytest.approx(ranks[0]["weights"], abs=1e-6)


def test_torchs_plain_wrapper_is_refused_up_front(ranks: list[dict[str, Any]]) -> None:
    assert "FreezableDataParallel(model)" in ranks[0]["plain"]
    assert "without static_graph" in ranks[0]["static"]


def test_a_model_sharded_layer_by_layer(ranks: list[dict[str, Any]]) -> None:
    """FSDP's `fully_shard` before the plan is made, and a `Sequential`: what is known to work."""
    assert ranks[0]["sharded"] == pytest.approx(ranks[0]["weights"], abs=1e-6)
    assert ranks[0]["sharded frozen"] == [3, 6]


@pytest.mark.parametrize("tied", [False, True])
def test_any_model_sharded(ranks: list[dict[str, Any]], tied: bool) -> None:
    """Layers, order and weights are those of one process with the whole batch."""
    alone = _Network(tied=tied)
    plan, scheduler = _plan(alone, _batch(0))
    _train(alone, scheduler, slice(None))
    assert ranks[0][f"network {tied} layers"] == [layer.name for layer in plan.layers]
    assert ranks[0][f"network {tied}"] == pytest.approx(_weights(alone), abs=1e-5)
    assert ranks[0][f"network {tied} frozen"] == [plan.frozen, sum(p.grad is None for p in alone.parameters())]


@pytest.mark.parametrize("when", ["sharded after the scheduler", "sharded after the layers"])
def test_a_plan_made_before_sharding_is_refused(ranks: list[dict[str, Any]], when: str) -> None:
    assert "call layers_of after whatever replaces or adds parameters (fully_shard" in ranks[0][when]


def test_the_older_wrapper_is_refused_by_name(ranks: list[dict[str, Any]]) -> None:
    assert "FullyShardedDataParallel, which joins" in ranks[0]["old"]
    assert "fully_shard instead" in ranks[0]["old"]


def test_toggled_gradients(ranks: list[dict[str, Any]]) -> None:
    """As a critic's are: the wrapper waits for no gradient that will not come."""
    assert ranks[0]["toggled"] == pytest.approx(ranks[0]["weights"], abs=1e-6)
    assert ranks[0]["toggled frozen"] == 3


def test_it_looks_like_torchs_wrapper(ranks: list[dict[str, Any]]) -> None:
    assert ranks[0]["names"]
    assert ranks[0]["unwrapped"]


def test_a_static_graph_is_refused() -> None:
    with pytest.raises(ValueError, match="static_graph"):
        lehr.FreezableDataParallel(_model(), static_graph=True)
