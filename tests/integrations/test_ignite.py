"""Ignite's real engine: a handler that calls `step()`, and its own handler refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import lehr

pytest.importorskip("ignite")

from ignite.engine import Engine, Events, create_supervised_trainer
from ignite.handlers import Checkpoint, DiskSaver, FastaiLRFinder
from ignite.handlers.param_scheduler import LRScheduler, create_lr_scheduler_with_warmup

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.filterwarnings("error::lehr.BudgetWarning")]

INPUTS = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
DATA = [(x, x.sum(1, keepdim=True)) for x in INPUTS.split(8)]


class Run:
    def __init__(self, policy: Any, *, accumulate: int = 1, updates: int = 40, event: Any = None) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.scheduler = lehr.Scheduler(self.optimizer, policy, lehr.Budget(steps=updates))
        self.trainer = create_supervised_trainer(
            self.model, self.optimizer, nn.functional.mse_loss, gradient_accumulation_steps=accumulate
        )
        if event is not None:
            self.trainer.add_event_handler(event, lambda *_: self.scheduler.step())
        self.rates: list[float] = []
        self.optimizer.register_step_post_hook(lambda one, *_: self.rates.append(one.param_groups[0]["lr"]))

    def go(self, handler: Any) -> None:
        self.trainer.add_event_handler(Events.ITERATION_STARTED, handler)
        self.trainer.run(DATA, max_epochs=1)

    def weights(self) -> Tensor:
        return torch.cat([p.detach().flatten() for p in self.model.parameters()])


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("event", [Events.ITERATION_COMPLETED, Events.EPOCH_COMPLETED])
def test_a_handler_is_right_at_every_update(event: Any, accumulate: int) -> None:
    curve, updates = lehr.Cosine().after_warmup(0.2), 40 // accumulate
    run = Run(curve, accumulate=accumulate, updates=updates, event=event)
    run.trainer.run(DATA, max_epochs=5)
    assert run.rates == pytest.approx([0.1 * curve(k / updates) for k in range(updates)])
    assert run.scheduler.finished


def test_a_handler_that_hands_the_engine_on_says_what_to_write() -> None:
    run = Run(lehr.Linear(), event=None)
    run.trainer.add_event_handler(Events.ITERATION_COMPLETED, run.scheduler.step)
    with pytest.raises(TypeError, match=r"as a handler lambda \*_: scheduler.step\(\)"):
        run.trainer.run(DATA, max_epochs=1)


@pytest.mark.parametrize(
    "use",
    [
        lambda run: run.go(LRScheduler(run.scheduler)),
        lambda run: create_lr_scheduler_with_warmup(run.scheduler, warmup_start_value=0.0, warmup_duration=5),
        lambda run: LRScheduler.simulate_values(5, run.scheduler),
    ],
    ids=["handler", "warm-up", "simulation"],
)
def test_ignites_own_handlers_say_what_to_write(use: Any) -> None:
    run = Run(lehr.Linear())
    with pytest.raises(AttributeError, match=r"Events.ITERATION_COMPLETED.*after_warmup\(0.1\).*scheduler.preview\(\)"):
        use(run)


@pytest.mark.parametrize("policy", [lehr.LRTuner(), lehr.LearnedSchedule.pretrained()], ids=["look", "loss"])
def test_a_policy_that_is_shown_nothing_says_what_to_write(policy: Any) -> None:
    with pytest.raises(RuntimeError, match=r"with Ignite write Engine\(.*training.step\(scheduler\)"):
        Run(policy, event=Events.ITERATION_COMPLETED).trainer.run(DATA, max_epochs=1)


def test_ignites_checkpoints_resume_bit_for_bit(tmp_path: Path) -> None:
    def parts(run: Run) -> dict[str, Any]:
        return {name: getattr(run, name) for name in ("model", "optimizer", "scheduler", "trainer")}

    whole, part = (Run(lehr.Linear(), event=Events.ITERATION_COMPLETED) for _ in range(2))
    saver = Checkpoint(parts(whole), DiskSaver(str(tmp_path)), n_saved=None)
    whole.trainer.add_event_handler(Events.EPOCH_COMPLETED, saver)
    whole.trainer.run(DATA, max_epochs=5)
    Checkpoint.load_objects(parts(part), checkpoint=tmp_path / "checkpoint_16.pt")
    part.trainer.run(DATA, max_epochs=5)
    assert part.rates == whole.rates[16:]
    assert torch.equal(part.weights(), whole.weights())


def test_ignites_finder_with_the_scheduler_in_what_it_saves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where it keeps them meanwhile
    run, finder = Run(lehr.Linear(), event=Events.ITERATION_COMPLETED), FastaiLRFinder()
    parts = {"model": run.model, "optimizer": run.optimizer, "scheduler": run.scheduler}
    with (
        pytest.warns(lehr.BudgetWarning, match="look for a rate with lehr.range_test"),
        finder.attach(run.trainer, parts, num_iter=20, start_lr=1e-4, end_lr=1.0) as search,
    ):
        search.run(DATA)
    assert run.rates[1:] == pytest.approx(finder.get_results()["lr"][:-1])
    run.rates.clear()
    run.trainer.run(DATA, max_epochs=5)
    assert run.rates == pytest.approx([0.1 * (1 - k / 40) for k in range(40)])
    assert run.scheduler.finished


def test_layers_freeze() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    plan = lehr.FreezeOut(lehr.layers_of(model), t0=0.5, how="linear")
    optimizer = torch.optim.SGD(plan.param_groups(lr=0.1), momentum=0.9)
    scheduler = lehr.Scheduler(optimizer, plan, lehr.Budget(steps=40))
    trainer = create_supervised_trainer(model, optimizer, nn.functional.mse_loss)
    first: list[Tensor] = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda *_: scheduler.step())
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda *_: first.append(model[0].weight.detach().clone()))
    trainer.run(DATA, max_epochs=5)
    assert scheduler.finished
    assert not torch.equal(first[18], first[19])
    assert all(torch.equal(one, first[19]) for one in first[20:])


def test_an_engine_of_a_training_looks_along_the_step() -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    training = lehr.Training(
        model, optimizer, DATA, lambda model, batch: nn.functional.mse_loss(model(batch[0]), batch[1])
    )
    scheduler = lehr.Scheduler(training, lehr.LRTuner(), training.budget("20ep"))
    trainer = Engine(lambda engine, _: training.step(scheduler).item())
    losses: list[float] = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: losses.append(engine.state.output))
    trainer.run(range(160), max_epochs=1)
    assert scheduler.finished
    assert losses[-1] < 0.1 * losses[0]
