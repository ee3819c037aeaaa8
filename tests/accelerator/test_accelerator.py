"""What could go otherwise on an accelerator: waiting for it, its random numbers, half precision, graphs, memory.

Run by `make accelerator DEVICE=cuda`; `DEVICE=cpu` tries the tests themselves where there is no accelerator.
"""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import lehr
from lab.small import task
from lehr import lab
from processes import run_ranks

DEVICE = os.environ.get("LEHR_DEVICE", "cpu")
pytestmark = pytest.mark.skipif("LEHR_DEVICE" not in os.environ, reason="made by make accelerator")
on_cuda = pytest.mark.skipif(not DEVICE.startswith("cuda"), reason="for CUDA: LEHR_DEVICE=cuda")

Batch = tuple[Tensor, Tensor]


def batches() -> Iterator[Batch]:
    """Four classes of points; the loader stays on the CPU, as loaders do."""
    random = torch.Generator().manual_seed(0)
    for _ in range(50):
        labels = torch.randint(4, (32,), generator=random)
        yield torch.randn(32, 8, generator=random) + 2.5 * nn.functional.one_hot(labels, 8), labels


def network(dropout: float = 0.1) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(dropout), nn.Linear(32, 32), nn.ReLU(),
        nn.Linear(32, 4),
    )  # fmt: skip


def loss(model: nn.Module, batch: Batch) -> Tensor:
    inputs, labels = batch
    return cross_entropy(model(inputs).float(), labels)


def training(rate: Any = 0.1, adam: bool = False, device: str = DEVICE, **options: Any) -> lehr.Training:
    torch.manual_seed(0)
    model = network(options.pop("dropout", 0.1)).to(device)
    made = torch.optim.AdamW(model.parameters(), lr=rate, capturable=isinstance(rate, Tensor) and rate.is_cuda)
    optimizer = made if adam else torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    return lehr.Training(model, optimizer, batches, loss, **options)


def weights(one: lehr.Training) -> Tensor:
    return torch.cat([part.detach().double().flatten().cpu() for part in one.modules[0].parameters()])


@contextmanager
def no_waiting() -> Iterator[None]:
    """Whatever waits for the device raises."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that it does not yet see all of them
            torch.cuda.set_sync_debug_mode("error")
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


# -- waiting ---------------------------------------------------------------------------------------------------------


@on_cuda
@pytest.mark.parametrize("policy", [lehr.Cosine().after_warmup(0.1), lehr.LearnedSchedule.pretrained()])
@pytest.mark.parametrize("adam", [False, True])
def test_no_update_waits_for_the_device(policy: Any, adam: bool) -> None:
    model = network().to(DEVICE)
    inputs, labels = (part.to(DEVICE) for part in next(batches()))
    rate = torch.tensor(0.01, device=DEVICE)
    kind = torch.optim.AdamW if adam else torch.optim.SGD
    optimizer = kind(model.parameters(), lr=rate, fused=True)  # type: ignore[call-arg]
    scheduler = lehr.Scheduler(optimizer, policy, lehr.Budget(steps=100))
    rates = []
    for update in range(20):
        with no_waiting() if update > 2 else nullcontext():
            optimizer.zero_grad()
            found = cross_entropy(model(inputs), labels)
            found.backward()
            scheduler.observe(loss=found)
            optimizer.step()
            scheduler.step()
        rates.append(float(rate))
    assert all(0.0 < one <= 0.01 * 100 for one in rates)
    assert len(set(rates)) > 10


@on_cuda
def test_a_schedule_keeps_the_device_busy() -> None:
    """Rates that are numbers cost no wait where the policy does not look at the loss."""
    one = training()
    scheduler = lehr.Scheduler(one, lehr.Linear(), lehr.Budget(steps=40))
    inputs, labels = (part.to(DEVICE) for part in next(batches()))
    one._update.batches = lehr.Batches(lambda: iter([(inputs, labels)]))  # data that are there already
    for update in range(20):
        with no_waiting() if update > 2 else nullcontext():
            one.step()
            scheduler.step()
    assert scheduler.updates == 20


# -- trials and looks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("adam", [False, True])
@pytest.mark.parametrize("look", ["range test", "rate search", "probe"])
def test_trials_leave_no_trace(look: str, adam: bool) -> None:
    """Dropout draws from the device's random numbers, which a trial draws too."""

    def run(with_look: bool) -> Tensor:
        one = training(0.01, adam)
        torch.manual_seed(7)
        for _ in range(5):
            one.step()
        if with_look and look == "range test":
            lehr.range_test(one, low=1e-4, high=10.0, steps=30)
        if with_look and look == "rate search":
            lehr.find_rate(one, "400steps")
        if with_look and look == "probe":
            one.backward()  # the batch is drawn in any case
            probe = lehr.Probe(one, batches=3)
            assert probe(0.0) != probe(2.0)
            one.update()
        elif look == "probe":
            one.step()
        for _ in range(5):
            one.step()
        return weights(one)

    assert torch.equal(run(False), run(True))


@pytest.mark.parametrize("name", ["linear", "tuner", "learned", "mlrsnet"])
def test_rates_are_those_of_the_cpu(name: str) -> None:
    """As far as two devices' arithmetic agrees."""
    policies: dict[str, Callable[[], Any]] = {
        "linear": lehr.Linear,
        "tuner": lehr.LRTuner,
        "learned": lehr.LearnedSchedule.pretrained,
        "mlrsnet": lehr.MLRSNet.pretrained,
    }
    told = {}
    for device in ("cpu", DEVICE):
        one = training(0.02, device=device, dropout=0.0)
        scheduler = lehr.Scheduler(one, policies[name](), lehr.Budget(steps=40))
        told[device] = [(float(one.optimizers[0].param_groups[0]["lr"]), float(found)) for found in one.run(scheduler)]
    assert len(told[DEVICE]) == 40
    for (ours, seen), (theirs, saw) in zip(told[DEVICE], told["cpu"], strict=True):
        assert ours == pytest.approx(theirs, rel=0.02)
        assert seen == pytest.approx(saw, rel=0.02, abs=1e-3)


# -- precision, compilers, graphs ------------------------------------------------------------------------------------


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("policy", [lehr.Linear(), None], ids=["linear", "autopilot"])
def test_half_precision_trains(half: torch.dtype, policy: Any) -> None:
    options = {"scaler": torch.amp.GradScaler(DEVICE)} if half is torch.float16 else {}
    one = training(0.1, autocast=half, **options)
    result = lehr.fit(one, "600steps", policy, progress=False)
    assert result.ending == "budget spent"
    assert result.losses[-1][1] < 0.5


def test_updates_that_a_scaler_skips_are_not_counted() -> None:
    one = training(0.1, autocast=torch.float16, scaler=torch.amp.GradScaler(DEVICE, init_scale=2.0**60))
    scheduler = lehr.Scheduler(one, lehr.Linear(), lehr.Budget(steps=20))
    drawn = sum(1 for _ in one.run(scheduler))
    assert scheduler.updates == 20
    assert drawn > 25


@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
@pytest.mark.parametrize("policy", ["linear", "tuner", "autopilot"])
def test_a_compiled_model_trains(mode: str, policy: str) -> None:
    torch._dynamo.reset()
    one = training(0.05, dropout=0.0)
    one.modules[0].compile(mode=mode)
    if policy == "autopilot":
        result = lehr.fit(one, "500steps", progress=False)
        assert result.losses[-1][1] < 0.9
        return
    chosen = lehr.Linear() if policy == "linear" else lehr.LRTuner()
    scheduler = lehr.Scheduler(one, chosen, lehr.Budget(steps=300))
    losses = [float(found) for found in one.run(scheduler)]
    assert losses[-1] < 0.9 < losses[0]


@on_cuda
@pytest.mark.parametrize("captured", ["before the scheduler is built", "after it is built"])
@pytest.mark.parametrize("groups", [1, 3])
def test_an_update_that_is_replayed_as_a_graph_is_given_its_rates(captured: str, groups: int) -> None:
    """Hooks do not run in a replay, so the calls of `step` are counted; the rate is a tensor that the graph reads."""
    weights = [torch.zeros(2, device=DEVICE) for _ in range(groups)]
    made = [{"params": [one], "lr": torch.tensor(0.1 / (1 + i), device=DEVICE)} for i, one in enumerate(weights)]
    for one in weights:
        one.grad = torch.ones_like(one)
    optimizer = torch.optim.SGD(made, fused=True)
    graph, curve = torch.cuda.CUDAGraph(), lehr.Cosine().after_warmup(0.2)

    def capture() -> None:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            optimizer.step()
        torch.cuda.current_stream().wait_stream(side)
        with torch.cuda.graph(graph):
            optimizer.step()

    if captured == "before the scheduler is built":
        capture()
    scheduler = lehr.Scheduler(optimizer, curve, lehr.Budget(steps=50), count="calls")
    if captured == "after it is built":
        capture()
    for k in range(50):
        before = [one.clone() for one in weights]
        graph.replay()
        for i, (one, was) in enumerate(zip(weights, before, strict=True)):
            assert (was - one).tolist() == pytest.approx([curve(k / 50) * 0.1 / (1 + i)] * 2, abs=1e-6)
        scheduler.step()
    assert scheduler.finished


# -- stopping and going on -------------------------------------------------------------------------------------------


class KilledError(Exception):
    """Ends a run where a test wants it to."""


@pytest.mark.parametrize("stop", [20, 150, 500])
def test_a_run_of_the_autopilot_goes_on_bit_for_bit(stop: int, tmp_path: Path) -> None:
    """Stopped amid the trials, soon after them, and near the end."""
    whole = training(0.01)
    lehr.fit(whole, "800steps", every="10steps", checkpoints=tmp_path / "whole", progress=False)

    def kill(update: int, values: Any) -> None:
        if update >= stop:
            raise KilledError

    first = training(0.01)
    with pytest.raises(KilledError):
        lehr.fit(first, "800steps", every="10steps", checkpoints=tmp_path / "k", progress=False, log=kill, log_every=1)
    second = training(0.01)
    result = lehr.fit(second, "800steps", every="10steps", checkpoints=tmp_path / "k", progress=False)
    assert result.ending == "budget spent"
    assert torch.equal(weights(second), weights(whole))


@pytest.mark.parametrize(("here", "there"), [(DEVICE, "cpu"), ("cpu", DEVICE)])
def test_a_checkpoint_goes_on_on_another_device(here: str, there: str, tmp_path: Path) -> None:
    first = training(0.02, device=here, dropout=0.0)
    scheduler = lehr.Scheduler(first, lehr.LRTuner(), lehr.Budget(steps=60))
    for count, _ in enumerate(first.run(scheduler), start=1):
        if count == 30:
            lehr.Checkpoints(tmp_path, training=first, scheduler=scheduler).save(30)
    second = training(0.02, device=there, dropout=0.0)
    again = lehr.Scheduler(second, lehr.LRTuner(), lehr.Budget(steps=60))
    assert lehr.Checkpoints(tmp_path, training=second, scheduler=again).resume() == 30
    losses = [float(found) for found in second.run(again)]
    assert len(losses) == 30
    assert again.finished
    assert all(map(math.isfinite, losses))


def test_seconds_end_when_the_device_has_ended_too() -> None:
    """Launches run ahead of a device: the run that says it is done after its seconds must be."""
    size = 4_096 if DEVICE.startswith("cuda") else 256
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(size, size) for _ in range(6))).to(DEVICE)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    inputs = torch.randn(size, size, device=DEVICE)
    one = lehr.Training(model, optimizer, [inputs], lambda model, batch: model(batch).square().mean())
    for _ in range(2):
        one.step()
    began = time.monotonic()
    result = lehr.fit(one, "4s", lehr.Linear(), progress=False)
    if DEVICE != "cpu":
        torch.accelerator.synchronize()
    assert time.monotonic() - began < 5.0
    assert result.ending == "budget spent"


# -- several processes -----------------------------------------------------------------------------------------------


def _one_of_two(rank: int, folder: str) -> None:
    """Two processes that share the device agree over gloo, whose tensors may lie anywhere."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/two", rank=rank, world_size=2)
    said = {}
    for name, policy in (("tuner", lehr.LRTuner()), ("learned", lehr.LearnedSchedule.pretrained())):
        torch.manual_seed(0)
        model = network(0.0).to(DEVICE)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
        parallel = nn.parallel.DistributedDataParallel(model)

        def own() -> Iterator[Batch]:
            return (batch for index, batch in enumerate(batches()) if index % 2 == dist.get_rank())

        one = lehr.Training(parallel, optimizer, own, loss, device=DEVICE)
        scheduler = lehr.Scheduler(one, policy, lehr.Budget(steps=40))
        said[name] = [[float(optimizer.param_groups[0]["lr"]) for _ in one.run(scheduler)], weights(one).tolist()]
    torch.save(said, Path(folder, f"{rank}.pt"))
    dist.destroy_process_group()


def test_two_processes_on_one_device_agree(tmp_path: Path) -> None:
    run_ranks(_one_of_two, tmp_path, 2)
    one, two = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    for name in ("tuner", "learned"):
        assert len(one[name][0]) == 40
        assert one[name] == two[name]


def _nccl(rank: int, folder: str) -> None:
    dist.init_process_group("nccl", init_method=f"file://{folder}/nccl", rank=rank, world_size=1)
    from torch.distributed.fsdp import fully_shard

    from lehr.scheduler import ranks

    several, ranks.several = ranks.several, lambda: True
    numbers = [ranks.of_first(3.5), ranks.total(2.0), ranks.mean(1.25)]
    kept = ranks.mean(torch.tensor(0.5, device=DEVICE, dtype=torch.float16))
    on_cpu = ranks.mean(torch.tensor(0.25))
    ranks.several = several
    torch.manual_seed(0)
    model = network(0.0).to(DEVICE)
    for layer in model:
        if isinstance(layer, nn.Linear):
            fully_shard(layer)
    fully_shard(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    one = lehr.Training(model, optimizer, batches, loss, device=DEVICE)
    scheduler = lehr.Scheduler(one, lehr.LRTuner(), lehr.Budget(steps=60))
    losses = [float(found) for found in one.run(scheduler)]
    found = lehr.range_test(one, low=1e-4, high=1.0, steps=20)
    told = [numbers, [float(kept), str(kept.dtype), kept.device.type], [float(on_cpu), on_cpu.device.type]]
    torch.save([told, losses, list(found.rates)], f"{folder}/n.pt")
    dist.destroy_process_group()


@on_cuda
def test_agreement_and_sharded_models_over_nccl(tmp_path: Path) -> None:
    """One process, since NCCL wants a GPU for each."""
    run_ranks(_nccl, tmp_path, 1)
    told, losses, rates = torch.load(tmp_path / "n.pt", weights_only=True)
    assert told == [[3.5, 2.0, 1.25], [0.5, "torch.float16", "cuda"], [0.25, "cpu"]]
    assert losses[-1] < losses[0]
    assert rates


# -- the lab ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "placement",
    [{}, {"precision": "bf16"}, {"precision": "fp16"}, {"compile": True}, {"accumulate": 2}],
    ids=["plain", "bf16", "fp16", "compiled", "accumulated"],
)
def test_runs_of_the_lab_come_near_those_on_the_cpu(placement: dict[str, Any]) -> None:
    torch._dynamo.reset()
    here = lab.Settings("200steps", 2, lab.Placement(DEVICE, **placement))
    there = lab.Settings("200steps", 2, lab.Placement("cpu", accumulate=placement.get("accumulate", 1)))
    for name in ("linear", "lrtuner", "learned"):
        ours, theirs = (lab.train(task(), lab.METHODS[name], one, 0, 0.1) for one in (here, there))
        assert ours.updates == theirs.updates == 200
        assert ours.curve[-1].validation_loss == pytest.approx(theirs.curve[-1].validation_loss, rel=0.15, abs=0.02)


@on_cuda
def test_processes_share_an_accelerator(tmp_path: Path) -> None:
    both = [
        lab.compare(
            "digits", "linear,cosine", budget="3ep", seeds=2, lr_grid=[0.1, 0.3], device=DEVICE, processes=processes,
            out=tmp_path / str(processes),
        )
        for processes in (1, 4)
    ]  # fmt: skip
    for one, two in zip(both[0].methods, both[1].methods, strict=True):
        assert one.test is not None
        assert two.test is not None
        assert one.test.mean == pytest.approx(two.test.mean, abs=0.02)


class _Huge(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(4, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(inputs) + torch.empty(2**42, dtype=torch.uint8, device=inputs.device)[:1]


@on_cuda
def test_memory_that_runs_out_fails_the_run_in_a_sentence() -> None:
    results = lab.compare(task(model=_Huge), "linear", budget="5steps", seeds=1, device=DEVICE)
    (run,) = results.runs
    assert run.failure is not None
    assert run.failure.startswith("out of memory on cuda")
