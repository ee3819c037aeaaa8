"""Accelerate's real wrappers, in one process: no code of ours is needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

import lehr

accelerate = pytest.importorskip("accelerate")

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.filterwarnings("error::lehr.BudgetWarning")]

INPUTS = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """Accelerate keeps one state a process."""
    from accelerate.state import AcceleratorState, GradientState

    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


class Run:
    """The loop of Accelerate's documentation."""

    def __init__(self, policy: Any, *, accumulate: int = 1, lr: float = 0.1, **options: Any) -> None:
        torch.manual_seed(0)
        self.accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=accumulate, **options)
        net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 1))
        optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9)
        self.inner = optimizer
        scheduler = lehr.Scheduler(optimizer, policy, lehr.Budget(steps=30))
        self.ours = scheduler
        self.model, self.optimizer, self.loader, self.scheduler = self.accelerator.prepare(
            net, optimizer, DataLoader(INPUTS, batch_size=8), scheduler
        )
        self.rates: list[float] = []
        optimizer.register_step_post_hook(lambda one, *_: self.rates.append(one.param_groups[0]["lr"]))

    def loss(self, x: Tensor) -> Tensor:
        return (self.model(x) - x.sum(1, keepdim=True)).square().mean()

    def train(self, updates: int = 30) -> None:
        while True:
            for x in self.loader:
                if self.ours.updates >= updates:
                    return
                with self.accelerator.accumulate(self.model):
                    self.accelerator.backward(self.loss(x))
                    self.optimizer.step()
                    self.scheduler.step()
                    self.optimizer.zero_grad()


@pytest.mark.parametrize("accumulate", [1, 2, 3])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"step_scheduler_with_optimizer": False},
        {"dataloader_config": accelerate.utils.DataLoaderConfiguration(split_batches=True)},
    ],
    ids=["usual", "not with the optimizer", "split batches"],
)
def test_prepared_schedulers_count_updates(accumulate: int, options: Any) -> None:
    curve = lehr.Cosine().after_warmup(0.2)
    run = Run(curve, accumulate=accumulate, **options)
    run.train()
    assert run.ours.optimizer is run.inner
    assert run.rates == pytest.approx([0.1 * curve(k / 30) for k in range(30)])
    assert run.scheduler.get_last_lr() == [0.0]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_scheduler_may_be_built_on_the_prepared_optimizer(accumulate: int) -> None:
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=accumulate)
    net = nn.Linear(4, 1)
    inner = torch.optim.SGD(net.parameters(), lr=0.1)
    model, optimizer, loader = accelerator.prepare(net, inner, DataLoader(INPUTS, batch_size=8))
    scheduler = lehr.Scheduler(optimizer, lehr.Linear(), lehr.Budget(steps=8 // accumulate))
    assert scheduler.optimizer is inner
    rates = []
    inner.register_step_post_hook(lambda one, *_: rates.append(one.param_groups[0]["lr"]))
    for x in loader:
        with accelerator.accumulate(model):
            accelerator.backward(model(x).square().mean())
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
    assert rates == pytest.approx([0.1 * (1 - k * accumulate / 8) for k in range(8 // accumulate)])


@pytest.mark.parametrize("accumulate", [1, 2])
def test_saved_states_resume_bit_for_bit(accumulate: int, tmp_path: Path) -> None:
    whole = Run(lehr.Cosine(), accumulate=accumulate)
    whole.train(16)  # whole epochs, since a loader draws from the random numbers when it starts
    whole.accelerator.save_state(str(tmp_path))
    whole.train()
    fresh = Run(lehr.Cosine(), accumulate=accumulate)
    fresh.accelerator.load_state(str(tmp_path))
    fresh.train()
    assert fresh.rates == whole.rates[16:]
    assert all(map(torch.equal, fresh.model.parameters(), whole.model.parameters()))


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (lehr.LearnedSchedule.pretrained(), "with Accelerate call observe.*scheduler.scheduler"),
        (lehr.LRTuner(), r"with Accelerate write lehr.fit\(lehr.Training\(model"),
    ],
    ids=["loss", "look"],
)
def test_a_policy_that_is_shown_nothing_says_what_to_write(policy: Any, said: str) -> None:
    with pytest.raises(RuntimeError, match=said):
        Run(policy).train()


def prepared(accumulate: int, clip: float | None) -> Any:
    torch.manual_seed(0)
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=accumulate)
    net = nn.Linear(4, 1)
    model, optimizer, loader = accelerator.prepare(
        net, torch.optim.SGD(net.parameters(), lr=1e-6), DataLoader(INPUTS, batch_size=8, shuffle=True)
    )
    batches = lehr.Batches(loader)

    def backward() -> Tensor:
        optimizer.zero_grad()
        losses = []
        for _ in range(accumulate):
            x = next(batches)
            loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
            accelerator.backward(loss)
            losses.append(loss.detach())
        if clip is not None:
            accelerator.clip_grad_norm_(model.parameters(), clip)
        return torch.stack(losses).mean()

    def step() -> Tensor:
        loss = backward()
        optimizer.step()
        return loss

    return model, lehr.Training.of(step, touches=[model, optimizer, batches], backward=backward)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_training_looks_tests_and_tunes(accumulate: int, clip: float | None) -> None:
    model, training = prepared(accumulate, clip)
    before = [p.detach().clone() for p in model.parameters()]
    found = lehr.range_test(training, low=1e-4, high=10.0, steps=60)
    assert len(found.rates) > 20
    assert all(map(torch.equal, before, model.parameters()))
    scheduler = lehr.Scheduler(training, lehr.LRTuner(), lehr.Budget(steps=150))
    losses = [float(loss) for loss in training.run(scheduler)]
    assert scheduler.updates == 150
    assert losses[-1] < 0.1 * losses[0]
    assert scheduler.policy.history[0].what == "look"


def test_observing_in_a_loop_of_ones_own() -> None:
    run = Run(lehr.LearnedSchedule.pretrained(), accumulate=2)
    for index in range(60):
        x = INPUTS[8 * (index % 8) : 8 * (index % 8) + 8]
        with run.accelerator.accumulate(run.model):
            loss = run.loss(x)
            run.accelerator.backward(loss)
            if run.accelerator.sync_gradients:
                run.ours.observe(loss=loss.detach())
            run.optimizer.step()
            run.scheduler.step()
            run.optimizer.zero_grad()
    assert run.ours.updates == 30
    assert len(set(run.rates)) > 15
