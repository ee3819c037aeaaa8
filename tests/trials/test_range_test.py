"""The range test on any loop: what it finds, when it stops, and that it leaves no trace."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import lehr
from processes import run_all_ranks
from state.test_untouched import Run, same

INPUTS = torch.randn(256, 4, generator=torch.Generator().manual_seed(0))


class Loop:
    """Least squares on random batches, whose stable rates are known."""

    def __init__(self, lr: float = 0.1, *, tensor: bool = False, groups: int = 1) -> None:
        torch.manual_seed(0)
        self.model = nn.Linear(4, 1)
        rate = torch.tensor(lr) if tensor else lr
        parameters: Any = self.model.parameters()
        if groups == 2:
            parameters = [{"params": [self.model.weight]}, {"params": [self.model.bias], "lr": 0.1 * lr}]
        self.optimizer = torch.optim.SGD(parameters, lr=rate)
        self.batches = lehr.Batches(torch.utils.data.DataLoader(INPUTS, batch_size=16, shuffle=True))
        self.seen: list[list[float]] = []

    def loss(self) -> torch.Tensor:
        inputs = next(self.batches)
        return (self.model(inputs) - inputs.sum(1, keepdim=True)).square().mean()

    def step(self) -> torch.Tensor:
        self.seen.append([float(group["lr"]) for group in self.optimizer.param_groups])
        self.optimizer.zero_grad()
        loss = self.loss()
        loss.backward()
        self.optimizer.step()
        return loss

    def test(self, step: Callable[[], Any] | None = None, **changes: Any) -> lehr.RangeTestResult:
        arguments = {"low": 1e-4, "high": 10.0, "steps": 120, **changes}
        touches = [self.model, self.optimizer, self.batches, *arguments.pop("also", [])]
        return lehr.range_test(lehr.Training.of(step or self.step, touches=touches), **arguments)


@pytest.mark.parametrize("tensor", [False, True])
def test_it_finds_the_largest_stable_rate(tensor: bool) -> None:
    loop = Loop(tensor=tensor)
    found = loop.test()
    largest = float(torch.linalg.eigvalsh(2 * INPUTS.T @ INPUTS / 256).max())
    assert found.ending == "diverged"
    assert 0.4 / largest < found.edge() < 3 * 2 / largest  # 2 / curvature, for full batches
    assert found.steepest() < found.edge()
    assert found.valley() < found.edge()
    assert [rates[0] for rates in loop.seen] == pytest.approx(found.rates)
    assert float(loop.optimizer.param_groups[0]["lr"]) == pytest.approx(0.1)


def test_rates_rise_by_factors_or_by_differences() -> None:
    exp = Loop().test(steps=5, high=1.0).rates
    assert exp == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1.0])
    linear = Loop().test(steps=5, low=0.01, high=0.05, mode="linear").rates
    assert linear == pytest.approx([0.01, 0.02, 0.03, 0.04, 0.05])


def test_groups_and_optimizers_keep_their_ratios() -> None:
    loop = Loop(groups=2)
    other = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=0.05)
    seen = []

    def step() -> torch.Tensor:
        seen.append(other.param_groups[0]["lr"])
        return loop.step()

    touches = [loop.model, loop.optimizer, other, loop.batches]
    lehr.range_test(lehr.Training.of(step, touches=touches), low=1e-3, high=0.1, steps=12)
    assert all(b == pytest.approx(0.1 * a) for a, b in loop.seen)
    assert seen == pytest.approx([0.5 * a for a, _ in loop.seen])
    assert [group["lr"] for group in loop.optimizer.param_groups] == [0.1, pytest.approx(0.01)]
    assert other.param_groups[0]["lr"] == 0.05


@pytest.mark.parametrize("optimizer", ["sgd", "adamw, tensor rate"])
@pytest.mark.parametrize("ending", ["returns", "raises", "ctrl-c"])
def test_everything_is_bit_for_bit_as_before(optimizer: str, ending: str) -> None:
    """Weights, buffers, gradients, optimizer, AMP's scaler, all random numbers and the data."""
    run = Run(optimizer)
    before = run.snapshot()
    calls = []

    def step() -> float:
        calls.append(1)
        loss = run.step()
        if len(calls) == 7:
            if ending == "raises":
                raise RuntimeError
            if ending == "ctrl-c":
                raise KeyboardInterrupt
        return loss

    training = lehr.Training.of(step, touches=run.parts)
    if ending == "returns":
        assert len(lehr.range_test(training, low=1e-4, high=1e-1, steps=15).losses) == 15
    else:
        with pytest.raises(KeyboardInterrupt if ending == "ctrl-c" else RuntimeError):
            lehr.range_test(training, low=1e-4, high=1e-1, steps=15)
    assert same(run.snapshot(), before)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_it_stops_where_the_loss_is_not_finite(bad: float) -> None:
    loop = Loop()
    found = loop.test(lambda: bad if len(loop.seen) == 85 else loop.step())
    assert (found.ending, len(found.losses)) == ("not finite", 86)
    assert found.edge() > 0


@pytest.mark.parametrize("loss", [0.1, 0.3, 0.7, 1.0, 2.302585, 100.1, -3.3, 0.0])
def test_a_constant_loss_does_not_diverge_and_suggests_nothing(loss: float) -> None:
    found = Loop().test(lambda: loss)
    assert found.ending == "high"
    for ask in (found.valley, found.edge, found.bounds):
        with pytest.raises(lehr.NoSuggestion):
            ask()


@pytest.mark.parametrize("kind", ["quantised", "mostly tiny"])
def test_neither_do_losses_whose_noise_hides(kind: str) -> None:
    stopped = 0
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)

        def step() -> float:
            if kind == "quantised":
                return round((2.3 + 0.004 * float(torch.randn((), generator=generator))) * 64) / 64  # noqa: B023
            return 2.0 if float(torch.rand((), generator=generator)) < 0.07 else 0.01  # noqa: B023

        stopped += Loop().test(step).ending != "high"
    assert stopped <= 2  # three bad batches running do come by chance, now and then


def test_the_edge_is_below_the_rate_that_broke_it() -> None:
    """The loss at an update tells of the one before it."""
    loop = Loop()
    broken = []

    def step() -> float:
        loss = float("nan") if broken else 2.0 - 0.05 * len(loop.seen)
        loop.step()
        broken.extend([True] if loop.seen[-1][0] > 1.0 else [])
        return loss

    found = loop.test(step, low=1e-3, high=10.0, steps=20)
    assert found.edge() == pytest.approx(max(rate for rate in found.rates if rate <= 1.0))


def test_a_scheduler_that_steps_before_the_update_does_not_spoil_the_rate() -> None:
    loop = Loop()
    scheduler = torch.optim.lr_scheduler.LambdaLR(loop.optimizer, lambda epoch: 0.01)
    used = []
    loop.optimizer.register_step_post_hook(lambda o, *_: used.append(o.param_groups[0]["lr"]))

    def step() -> torch.Tensor:
        loop.optimizer.zero_grad()
        loss = loop.loss()
        loss.backward()
        scheduler.step()
        loop.optimizer.step()
        return loss

    with pytest.warns(UserWarning, match="before"):  # torch's own, about the order
        found = loop.test(step, also=[scheduler])
    assert used == pytest.approx(found.rates)


def test_negative_losses_are_fine() -> None:
    loop = Loop()
    plain, moved = loop.test(), loop.test(lambda: loop.step() - 1000.0)
    assert moved.ending == plain.ending == "diverged"
    assert len(moved.losses) == len(plain.losses)
    assert moved.edge() == pytest.approx(plain.edge())


def test_accumulation_and_a_metric() -> None:
    loop = Loop()

    def step() -> tuple[torch.Tensor, float]:
        loop.optimizer.zero_grad()
        losses = [loop.loss() / 4 for _ in range(4)]
        for loss in losses:
            loss.backward()
        loop.optimizer.step()
        return sum(losses, torch.zeros(())), 0.5

    found = loop.test(step, evaluate=lambda: -loop.loss(), evaluate_every=10)
    assert found.metrics == [0.5] * len(found.losses)
    assert found.evaluations is not None
    assert [rate for rate, _ in found.evaluations] == found.rates[9::10][: len(found.evaluations)]
    low, high = found.bounds()
    assert 0 < low < high


def test_a_scheduler_that_is_attached_does_not_disturb_nor_is_disturbed() -> None:
    loop = Loop()
    scheduler = lehr.Scheduler(loop.optimizer, lehr.Linear().after_warmup(0.5), lehr.Budget(steps=100))
    loop.step(), scheduler.step()
    before = scheduler.get_last_lr()

    def step() -> torch.Tensor:
        loss = loop.step()
        scheduler.step()
        return loss

    found = loop.test(step)
    assert found.rates[:5] == pytest.approx([1e-4 * (1e5 ** (k / 119)) for k in range(5)])
    assert (scheduler.last_epoch, scheduler.get_last_lr(), loop.optimizer.param_groups[0]["lr"]) == (
        1,
        before,
        before[0],
    )


def test_torchs_schedulers_too_if_they_are_named() -> None:
    loop = Loop()
    scheduler = torch.optim.lr_scheduler.StepLR(loop.optimizer, 2)

    def step() -> torch.Tensor:
        loss = loop.step()
        scheduler.step()
        return loss

    found = loop.test(step, also=[scheduler])
    assert [rates[0] for rates in loop.seen] == pytest.approx(found.rates)
    assert scheduler.last_epoch == 0
    with pytest.raises(ValueError, match="name the scheduler that does so in its touches"):
        loop.test(step)


def test_a_compiled_model_and_step() -> None:
    loop = Loop(tensor=True)
    model = torch.compile(loop.model, backend="eager")
    update = torch.compile(loop.optimizer.step, backend="eager")

    def step() -> torch.Tensor:
        loop.optimizer.zero_grad()
        inputs = next(loop.batches)
        loss = (model(inputs) - inputs.sum(1, keepdim=True)).square().mean()
        loss.backward()
        update()
        return loss

    assert loop.test(step).rates == loop.test().rates
    assert loop.test(step).losses == pytest.approx(loop.test().losses, rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"low": 0.0}, "low must be above 0 and high above low"),
        ({"low": 1.0, "high": 0.1}, "high above low"),
        ({"high": math.inf}, "high above low"),
        ({"steps": 1}, "steps must be a whole number, at least 2"),
        ({"mode": "log"}, "mode must be 'exp' or 'linear'"),
        ({"evaluate_every": 0}, "evaluate_every must be"),
        ({"diverge": 0.0}, "diverge must be above 0"),
        ({"step": lambda: None}, "step must return the loss, one number; got None. Does it end with `return loss`"),
        ({"step": lambda: torch.ones(3)}, "step must return the loss, one number"),
    ],
)
def test_bad_use_is_told(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Loop().test(**changes)


def test_an_optimizer_without_a_rate_is_told() -> None:
    with pytest.raises(ValueError, match="range_test: a parameter group needs a learning rate above 0"):
        Loop(lr=0.0).test()
    with pytest.raises(TypeError, match=r"training must be a lehr\.Training"):
        lehr.range_test(lambda: 1.0)  # type: ignore[arg-type]


def _work(rank: int, folder: str) -> None:
    torch.manual_seed(0)
    model = nn.parallel.DistributedDataParallel(nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    generator = torch.Generator().manual_seed(rank)  # each sees its own data
    mine: list[float] = []

    def step() -> torch.Tensor:
        inputs = torch.randn(16, 4, generator=generator)
        optimizer.zero_grad()
        loss = (model(inputs) - inputs.sum(1, keepdim=True)).square().mean()
        loss.backward()
        optimizer.step()
        mine.append(float(loss.detach()))
        return loss * float("nan") if rank == 1 and len(mine) == 90 else loss

    training = lehr.Training.of(step, touches=[model, optimizer, generator])
    found = lehr.range_test(training, low=1e-4, high=1.0, steps=120)
    Path(folder, f"{rank}.json").write_text(json.dumps([found.to_dict(), mine, model.module.weight.tolist()]))


def test_two_ranks_average_stop_together_and_agree(tmp_path: Path) -> None:
    run_all_ranks(_work, tmp_path, 2)
    (one, mine, weight), (two, theirs, other) = [json.loads((tmp_path / f"{r}.json").read_text()) for r in range(2)]
    assert one["losses"][:-1] == two["losses"][:-1]
    assert one["rates"] == two["rates"]
    assert (one["ending"], len(one["losses"])) == (two["ending"], 90) == ("not finite", 90)
    assert one["losses"][:-1] == pytest.approx([(a + b) / 2 for a, b in zip(mine, theirs, strict=True)][:-1])
    assert mine != theirs
    assert weight == other
