"""Lightning's real trainer, driven by the callback, and by a scheduler that configure_optimizers returns."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

import lehr

lightning = pytest.importorskip("lightning.pytorch")

from lehr.integrations.lightning import Lehr  # noqa: E402

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.filterwarnings("error::lehr.BudgetWarning")]

INPUTS = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))


class Model(lightning.LightningModule):
    """Batch norm, and two parameter groups of different rates."""

    def __init__(self, configure: Callable[[Any], Any] | None = None, lr: float = 0.1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 1))
        self.configure = configure
        self.lr = lr
        self.rates: list[float] = []
        self.seen: list[Tensor] = []

    def loss(self, x: Tensor) -> Tensor:
        return (self.net(x) - x.sum(1, keepdim=True)).square().mean()

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        loss = self.loss(batch)
        self.log("train_loss", loss, on_step=True)
        return loss

    def on_train_batch_start(self, batch: Tensor, batch_idx: int) -> None:
        self.seen.append(batch)

    def configure_optimizers(self) -> Any:
        groups = [
            {"params": list(self.net[:2].parameters()), "lr": self.lr / 10},
            {"params": self.net[3].parameters()},
        ]
        optimizer = torch.optim.SGD(groups, lr=self.lr, momentum=0.9)
        optimizer.register_step_post_hook(lambda one, *_: self.rates.append(one.param_groups[1]["lr"]))
        return optimizer if self.configure is None else self.configure(optimizer)


def loader(**options: Any) -> DataLoader[Tensor]:
    return DataLoader(INPUTS, batch_size=8, **options)


def trainer(*callbacks: Any, **options: Any) -> Any:
    settings = {"logger": False, "enable_checkpointing": False, "max_epochs": 5} | options
    return lightning.Trainer(
        accelerator="cpu", devices=1, enable_progress_bar=False, enable_model_summary=False, callbacks=list(callbacks),
        limit_val_batches=0, **settings,
    )  # fmt: skip


def fit(
    policy: Any, *, model: Model | None = None, budget: Any = None, lehr_options: Any = None, **options: Any
) -> Any:
    driver = Lehr(policy, budget, **(lehr_options or {}))
    model = model or Model()
    run = trainer(driver, *options.pop("callbacks", ()), **options)
    run.fit(model, loader(), ckpt_path=None)
    return driver, model, run


def weights(model: nn.Module) -> Tensor:
    return torch.cat([value.detach().flatten().double() for value in model.state_dict().values()])


class Watches(lehr.Policy):
    """Notes each loss, and what is seen along the step at every fifth update."""

    needs = ("loss", "loss_at")

    def __init__(self, every: int = 5) -> None:
        self.every, self.losses, self.looks = every, [], []

    def wants_look(self, progress: float) -> bool:
        return len(self.losses) % self.every == 0

    def factors(self, moment: lehr.Moment) -> float:
        if moment.loss is not None:
            if moment.look is not None:
                self.looks.append((len(self.losses), moment.look.losses(0.0, 1)[0], moment.look.losses(1.0, 1)[0]))
            self.losses.append(float(moment.loss))
        return 1.0

    def __repr__(self) -> str:
        return "Watches()"


def stages() -> Any:
    """One batch an update, then two, then four."""
    return lightning.callbacks.GradientAccumulationScheduler({1: 2, 2: 4})


# -- the budget ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accumulate", [1, 3])
def test_the_trainers_epochs_are_the_budget(accumulate: int) -> None:
    driver, model, run = fit(lehr.Linear(), accumulate_grad_batches=accumulate)
    updates = {1: 40, 3: 15}[accumulate]
    assert driver.scheduler.updates == run.global_step == updates
    assert model.rates == pytest.approx([0.1 * (1 - k / updates) for k in range(updates)])
    assert driver.scheduler.get_last_lr() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("budget", "options", "expected"),
    [
        (None, {"max_steps": 12, "max_epochs": None}, lehr.Budget(steps=12)),
        (None, {"max_time": {"seconds": 1}, "max_epochs": None}, lehr.Budget(seconds=1)),
        ("2ep", {"accumulate_grad_batches": 2}, lehr.Budget(epochs=2, steps_per_epoch=4, samples_per_step=16)),
        ("80samples", {}, lehr.Budget(samples=80, steps_per_epoch=8, samples_per_step=8)),
        (lehr.Budget(steps=7), {"max_epochs": -1}, lehr.Budget(steps=7)),
        (None, {"callbacks": [stages()]}, lehr.Budget(steps=8 + 4 + 3 * 2)),
    ],
)
def test_a_budget_is_the_trainers_or_given(budget: Any, options: Any, expected: lehr.Budget) -> None:
    driver, _, run = fit(lehr.Linear(), budget=budget, **options)
    assert driver.scheduler.budget == expected
    if expected.updates is not None:
        assert run.global_step == driver.scheduler.updates == expected.updates
    assert driver.scheduler.progress >= 0.9


@pytest.mark.parametrize(
    ("budget", "options", "said"),
    [
        (None, {"max_epochs": -1}, "give Trainer max_steps or max_time"),
        (None, {"max_time": {"seconds": 9}}, r'Lehr\(policy, "40steps"\) or Lehr\(policy, "9s"\)'),
        (lehr.Budget(tokens=100), {}, "tokens_per_step=..."),
        ("2parsecs", {}, "unknown unit 'parsecs'"),
        ("10ep", {}, "is 80 updates, but the trainer ends after 40; give Trainer more max_epochs or max_steps"),
        ("2ep", {"callbacks": [stages()]}, "'2ep' counts epochs, but the trainer does not know.*as in '1000steps'"),
    ],
)
def test_what_is_no_budget_is_refused_before_training(budget: Any, options: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        fit(lehr.Linear(), budget=budget, **options)


# -- refusals --------------------------------------------------------------------------------------------------------


def test_a_second_scheduler_is_refused() -> None:
    both = Model(lambda one: ([one], [torch.optim.lr_scheduler.StepLR(one, 1)]))
    with pytest.raises(ValueError, match="configure_optimizers returns a scheduler too.*return only the optimizer"):
        fit(lehr.Linear(), model=both)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((0.1,), "policy must be a schedule"),
        ((lehr.Linear,), "policy must be a schedule"),
        (("cosine",), r"write lehr.parse_schedule\('cosine'\)"),
        (([],), "policy must be a schedule"),
        ((lehr.Linear(), 10), "budget must be"),
        ((lehr.Linear(), None, {"find_peak": True}), "find_peak must be a function"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(arguments: Any, said: str) -> None:
    *positional, options = (*arguments, {}) if not isinstance(arguments[-1], dict) else arguments
    with pytest.raises(TypeError, match=said):
        Lehr(*positional, **options)


class ByHand(Model):
    """Two updates a batch, by hand."""

    automatic_optimization = False

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Tensor, batch_idx: int) -> None:
        for half in batch.chunk(2):
            optimizer = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(self.loss(half))
            optimizer.step()


def test_optimizing_by_hand_takes_schedules() -> None:
    driver, model, _ = fit(lehr.Linear(), model=ByHand(), budget="80steps")
    assert driver.scheduler.updates == 80
    assert model.rates == pytest.approx([0.1 * (1 - k / 80) for k in range(80)])
    with pytest.raises(ValueError, match="optimizes by hand"):
        fit(lehr.LRTuner(), model=ByHand())


def test_steps_that_show_no_loss_or_take_their_own_batches_are_refused() -> None:
    class Skips(Model):
        def training_step(self, batch: Tensor, batch_idx: int) -> Any:
            return None if batch_idx in self.skipped else super().training_step(batch, batch_idx)

    class Takes(Model):
        def training_step(self, dataloader_iter: Any) -> Tensor:
            return self.loss(next(dataloader_iter)[0])

    skips = Skips()
    skips.skipped = (3, 4)
    driver, _, _ = fit(lehr.LearnedSchedule.pretrained(), model=skips)
    assert driver.scheduler.updates == 40
    skips = Skips()
    skips.skipped = (0,)
    with pytest.raises(ValueError, match="training_step returned no loss for the first update"):
        fit(lehr.LearnedSchedule.pretrained(), model=skips)
    with pytest.raises(ValueError, match="takes its own from dataloader_iter; write training_step"):
        fit(lehr.LRTuner(), model=Takes())
    assert fit(lehr.Linear(), model=Takes())[0].scheduler.updates == 40


class Two(ByHand):
    """Two optimizers, each of which makes an update a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Linear(4, 1)
        self.others: list[float] = []

    def configure_optimizers(self) -> Any:
        other = torch.optim.SGD(self.other.parameters(), lr=0.01)
        other.register_step_post_hook(lambda one, *_: self.others.append(one.param_groups[0]["lr"]))
        return [super().configure_optimizers(), other]

    def training_step(self, batch: Tensor, batch_idx: int) -> None:
        for optimizer, net in zip(self.optimizers(), (self.net, self.other), strict=True):
            optimizer.zero_grad()
            self.manual_backward(net(batch).square().mean())
            optimizer.step()


def test_two_optimizers_have_one_budget() -> None:
    _, model, _ = fit([[lehr.Linear(), lehr.Linear()], [lehr.Constant()]], model=Two())
    assert model.rates == pytest.approx([0.1 * (1 - k / 40) for k in range(40)])
    assert model.others == [0.01] * 40
    with pytest.raises(ValueError, match=r'max_steps=40 counts the updates of all 2 optimizers.*"20steps"'):
        fit(lehr.Linear(), model=Two(), max_steps=40)
    _, model, run = fit(lehr.Linear(), model=Two(), budget="20steps", max_steps=40)
    assert model.rates == pytest.approx([0.1 * (1 - k / 20) for k in range(20)])
    assert run.global_step == 40


def test_a_loader_that_cannot_be_drawn_from_twice_is_refused() -> None:
    class Stream(torch.utils.data.IterableDataset):  # type: ignore[type-arg]
        def __iter__(self) -> Any:
            return iter(INPUTS)

    run = trainer(Lehr(lehr.LRTuner(), "10steps"))
    with pytest.raises(ValueError, match="look_batches"):
        run.fit(Model(), DataLoader(Stream(), batch_size=8))


def test_a_trainer_of_the_old_package_is_refused() -> None:
    old = pytest.importorskip("pytorch_lightning")

    class Old(old.LightningModule):
        training_step = Model.training_step
        loss = Model.loss

        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Linear(4, 1)

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    run = old.Trainer(max_epochs=1, callbacks=[Lehr(lehr.Linear())], accelerator="cpu", logger=False)
    with pytest.raises(TypeError, match=r"from lightning\.pytorch import Trainer, LightningModule"):
        run.fit(Old(), loader())


# -- losses and looks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accumulate", [1, 3])
def test_policies_see_the_mean_loss_of_an_update(accumulate: int) -> None:
    losses: list[list[float]] = [[]]

    class Notes(Model):
        def loss(self, x: Tensor) -> Tensor:
            value = super().loss(x)
            losses[-1].append(float(value))
            return value

        def optimizer_step(self, *arguments: Any, **options: Any) -> None:
            super().optimizer_step(*arguments, **options)
            losses.append([])

    class Plain(Watches):
        needs = ("loss",)

        def wants_look(self, progress: float) -> bool:
            return False

    driver, _, _ = fit(Plain(), model=Notes(), accumulate_grad_batches=accumulate)
    assert driver.policy.losses == pytest.approx([sum(each) / len(each) for each in losses if each])


def half(init_scale: float = 2.0**10) -> Any:
    scaler = torch.amp.GradScaler("cpu", init_scale=init_scale)
    return lightning.plugins.precision.MixedPrecision("16-mixed", "cpu", scaler=scaler)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
@pytest.mark.parametrize("clip", [None, 0.01])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_look_sees_the_step_that_is_made(clip: float | None, accumulate: int, precision: str) -> None:
    fixed = INPUTS[:16].clone()
    after: list[float] = []

    class Asks(Model):
        def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, closure: Any) -> None:
            super().optimizer_step(epoch, batch_idx, optimizer, closure)
            with torch.no_grad(), self.trainer.precision_plugin.train_step_context(), lehr.untouched(self):
                after.append(float(self.loss(fixed)))

    policy = Watches()
    mixed = {"plugins": [half()]} if precision == "16-mixed" else {"precision": precision}
    fit(
        policy, model=Asks(), lehr_options={"look_batches": [fixed]}, gradient_clip_val=clip,
        accumulate_grad_batches=accumulate, **mixed,
    )  # fmt: skip
    assert len(policy.looks) == (8 if accumulate == 1 else 4)
    assert [there for _, _, there in policy.looks] == [after[index] for index, _, _ in policy.looks]
    assert all(here != there for _, here, there in policy.looks)


def test_updates_that_amp_skips_spend_nothing_and_losses_are_unscaled() -> None:
    class Plain(Watches):
        needs = ("loss",)

        def wants_look(self, progress: float) -> bool:
            return False

    driver, _, run = fit(Plain(), plugins=[half(init_scale=2.0**26)])
    skipped = run.global_step - driver.scheduler.updates
    assert 0 < skipped < 20
    assert len(driver.policy.losses) == 40
    assert max(driver.policy.losses) < 100.0


@pytest.mark.parametrize("shuffle", [True, False])
def test_looks_leave_no_trace(shuffle: bool) -> None:
    def run(policy: Any) -> tuple[Tensor, list[Tensor], Any]:
        model = Model()
        each = trainer(Lehr(policy))
        torch.manual_seed(1)
        each.fit(model, loader(shuffle=shuffle))
        return weights(model), model.seen, each.callback_metrics["train_loss"]

    looking, plain = run(Watches()), run(lehr.Constant())
    assert torch.equal(looking[0], plain[0])
    assert all(map(torch.equal, looking[1], plain[1]))
    assert looking[2] == plain[2]


def test_the_tuner_tunes() -> None:
    driver, model, _ = fit(lehr.LRTuner(), model=Model(lr=1e-6), max_epochs=20)
    assert driver.scheduler.policy.history[0].what == "look"
    assert max(model.rates) > 1e-4
    assert not {"log", "log_dict", "configure_gradient_clipping"} & set(vars(model))
    with torch.no_grad():
        assert float(model.loss(INPUTS)) < 2.0


def test_the_learned_schedule_gets_its_losses() -> None:
    driver, model, _ = fit(lehr.LearnedSchedule.pretrained(), max_epochs=10)
    assert driver.scheduler.updates == 80
    assert len(set(model.rates)) > 40


# -- the range test --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_range_test_sets_the_peak_and_leaves_no_trace(clip: float | None) -> None:
    tests: list[lehr.RangeTestResult] = []

    def peak(training: lehr.Training) -> float:
        tests.append(lehr.range_test(training, low=1e-4, high=10.0, steps=60))
        return 0.05

    def run(lr: float, **options: Any) -> tuple[Any, Any]:
        model = Model(lr=lr)
        torch.manual_seed(1)
        driver = Lehr(lehr.Linear(), **options)
        trainer(driver, gradient_clip_val=clip).fit(model, loader(shuffle=True))
        return driver, model

    driver, model = run(10.0, find_peak=peak)
    _, plain = run(0.5)
    assert driver.scheduler.base_lrs == pytest.approx([0.05, 0.5])
    assert len(tests[0].rates) > 20
    assert torch.allclose(weights(model), weights(plain))
    assert all(map(torch.equal, model.seen, plain.seen))


@pytest.mark.parametrize("precision", ["32-true", "16-mixed"])
@pytest.mark.parametrize("clip", [None, 0.5])
def test_a_range_test_makes_the_updates_of_a_training_of_ours(clip: float | None, precision: str) -> None:
    tests: list[lehr.RangeTestResult] = []

    def peak(training: lehr.Training) -> float:
        tests.append(lehr.range_test(training, low=1e-3, high=1.0, steps=30))
        return 0.05

    mixed = {"plugins": [half()]} if precision == "16-mixed" else {}
    batches = list(INPUTS.split(8))
    fit(lehr.Linear(), lehr_options={"find_peak": peak, "look_batches": batches}, gradient_clip_val=clip, **mixed)
    model = Model()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10) if mixed else None
    ours = lehr.Training(
        model, model.configure_optimizers(), batches, lambda model, x: model.loss(x), clip_norm=clip,
        autocast=torch.half if mixed else None, scaler=scaler,
    )  # fmt: skip
    expected = lehr.range_test(ours, low=1e-3, high=1.0, steps=30)
    assert tests[0].rates == expected.rates
    assert tests[0].losses == pytest.approx(expected.losses, rel=1e-5)


def test_two_processes_agree(tmp_path: Path) -> None:
    script = Path(__file__).with_name("two_processes.py")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for name in ("tuner", "range test"):
        first, second = (json.loads((tmp_path / f"{name} {rank}.json").read_text()) for rank in (0, 1))
        assert first == second
        assert first["updates"] == 48  # 16 batches each, two an update, six epochs
        assert max(first["rates"]) > 1e-3
        assert first["weights"] == pytest.approx([1.0] * 4, abs=0.05)
    first, second = (json.loads((tmp_path / f"freezing {rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    assert [rate > 0.0 for rate in first["rates"]] == [k < 24 for k in range(48)]
    assert "find_unused_parameters=True" in (tmp_path / "plain 0.txt").read_text()


# -- checkpoints and logs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "policy",
    [lehr.Cosine().after_warmup(0.3), lehr.LRTuner(), lehr.LearnedSchedule.pretrained() * lehr.Linear()],
    ids=["schedule", "tuner", "learned"],
)
def test_resuming_is_bit_for_bit(policy: Any, tmp_path: Path) -> None:
    def make() -> Any:
        again = (
            policy
            if isinstance(policy, lehr.Schedule)
            else type(policy)()
            if isinstance(policy, lehr.LRTuner)
            else (lehr.LearnedSchedule.pretrained() * lehr.Linear())
        )
        return Lehr(again)

    saving = lightning.callbacks.ModelCheckpoint(dirpath=tmp_path, every_n_epochs=2, save_top_k=-1, filename="{epoch}")
    whole = Model()
    driver = make()
    trainer(driver, saving, enable_checkpointing=True).fit(whole, loader())
    part, resumed = Model(), make()
    trainer(resumed).fit(part, loader(), ckpt_path=tmp_path / "epoch=1.ckpt")
    assert part.rates == whole.rates[16:]
    assert torch.equal(weights(part), weights(whole))
    assert resumed.scheduler.get_last_lr() == driver.scheduler.get_last_lr()


class Freezes(Model):
    """Layers that freeze, the first half-way."""

    def __init__(self) -> None:
        super().__init__()
        self.plan = lehr.FreezeOut(lehr.layers_of(self.net, INPUTS[:8]), t0=0.5, how="linear")
        self.first: list[Tensor] = []

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.plan.param_groups(lr=0.1), momentum=0.9)
        optimizer.register_step_post_hook(lambda one, *_: self.rates.append(one.param_groups[0]["lr"]))
        optimizer.register_step_post_hook(lambda *_: self.first.append(self.net[0].weight.detach().clone()))
        return optimizer


@pytest.mark.parametrize("epoch", [1, 3], ids=["before", "after"])
def test_layers_freeze_and_resume_bit_for_bit(epoch: int, tmp_path: Path) -> None:
    saving = lightning.callbacks.ModelCheckpoint(dirpath=tmp_path, every_n_epochs=2, save_top_k=-1, filename="{epoch}")
    whole = Freezes()
    trainer(Lehr(whole.plan), saving, enable_checkpointing=True).fit(whole, loader())
    assert [rate > 0.0 for rate in whole.rates] == [k < 20 for k in range(40)]
    assert all(torch.equal(one, whole.first[19]) for one in whole.first[20:])
    assert not torch.equal(whole.first[18], whole.first[19])
    part = Freezes()
    trainer(Lehr(part.plan)).fit(part, loader(), ckpt_path=tmp_path / f"epoch={epoch}.ckpt")
    assert part.rates == whole.rates[8 * (epoch + 1) :]
    assert torch.equal(weights(part), weights(whole))


def test_another_length_is_refused_unless_accepted(tmp_path: Path) -> None:
    driver = Lehr(lehr.Linear())
    first = trainer(driver, max_epochs=2)
    first.fit(Model(), loader())
    first.save_checkpoint(tmp_path / "end.ckpt")
    with pytest.raises(ValueError, match="the budget changed"):
        trainer(Lehr(lehr.Linear()), max_epochs=4).fit(Model(), loader(), ckpt_path=tmp_path / "end.ckpt")
    longer, model = Lehr(lehr.Linear(), accept="budget"), Model()
    trainer(longer, max_epochs=4).fit(model, loader(), ckpt_path=tmp_path / "end.ckpt")
    assert model.rates == pytest.approx([0.1 * (1 - k / 32) for k in range(16, 32)])


def test_another_peak_after_loading_is_refused_unless_accepted(tmp_path: Path) -> None:
    saving = lightning.callbacks.ModelCheckpoint(dirpath=tmp_path, every_n_epochs=2, save_top_k=-1, filename="{epoch}")
    trainer(Lehr(lehr.Linear()), saving, enable_checkpointing=True).fit(Model(), loader())
    with pytest.raises(ValueError, match="base learning rates changed"):
        trainer(Lehr(lehr.Linear())).fit(Model(lr=0.05), loader(), ckpt_path=tmp_path / "epoch=1.ckpt")
    model = Model(lr=0.05)
    trainer(Lehr(lehr.Linear(), accept="base_lrs")).fit(model, loader(), ckpt_path=tmp_path / "epoch=1.ckpt")
    assert model.rates == pytest.approx([0.05 * (1 - k / 40) for k in range(16, 40)])


def test_a_peak_that_was_found_is_gone_on_with(tmp_path: Path) -> None:
    saving = lightning.callbacks.ModelCheckpoint(dirpath=tmp_path, every_n_epochs=2, save_top_k=-1, filename="{epoch}")
    trainer(Lehr(lehr.Linear(), find_peak=lambda training: 0.02), saving, enable_checkpointing=True).fit(
        Model(), loader()
    )
    model = Model()
    trainer(Lehr(lehr.Linear(), find_peak=lambda training: 0.3)).fit(
        model, loader(), ckpt_path=tmp_path / "epoch=1.ckpt"
    )
    assert model.rates == pytest.approx([0.2 * (1 - k / 40) for k in range(16, 40)])  # ten times the first group's


def test_averaging_that_sets_the_rate_is_refused() -> None:
    run = trainer(Lehr(lehr.Linear()), lightning.callbacks.StochasticWeightAveraging(1e-2))
    with pytest.raises(ValueError, match=r"instead write .*WeightAveraging\(\)"):
        run.fit(Model(), loader())


def test_going_on_without_the_callbacks_state_is_refused(tmp_path: Path) -> None:
    plain = trainer(max_epochs=2)
    plain.fit(Model(), loader())
    plain.save_checkpoint(tmp_path / "plain.ckpt")
    with pytest.raises(ValueError, match="goes on after 16 updates that this callback has not seen"):
        trainer(Lehr(lehr.Linear())).fit(Model(), loader(), ckpt_path=tmp_path / "plain.ckpt")
    driver = Lehr(lehr.Linear())
    run, model = trainer(driver, max_epochs=2), Model()
    run.fit(model, loader())
    run.fit_loop.max_epochs = 4
    with pytest.raises(ValueError, match="start a new Trainer"):
        run.fit(model, loader())


def test_a_callback_serves_one_run_after_another() -> None:
    driver = Lehr(lehr.Linear())
    for _ in range(2):
        model = Model()
        trainer(driver, max_epochs=2).fit(model, loader())
        assert model.rates == pytest.approx([0.1 * (1 - k / 16) for k in range(16)])


def test_the_monitor_logs_the_rates(tmp_path: Path) -> None:
    logger = lightning.loggers.CSVLogger(tmp_path)
    monitor = lightning.callbacks.LearningRateMonitor(logging_interval="step")
    run = trainer(Lehr(lehr.Linear()), monitor, logger=logger, log_every_n_steps=1)
    model = Model()
    run.fit(model, loader())
    assert monitor.lrs["lr-SGD/pg2"] == pytest.approx(model.rates)
    assert "lr-SGD/pg2" in (Path(logger.log_dir) / "metrics.csv").read_text()


def test_asking_too_early_says_when() -> None:
    with pytest.raises(RuntimeError, match="after trainer.fit has begun"):
        _ = Lehr(lehr.Linear()).scheduler


# -- without the callback --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interval", ["epoch", "step"])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_scheduler_from_configure_optimizers_is_right_at_every_update(interval: str, accumulate: int) -> None:
    updates = {1: 40, 3: 15}[accumulate]
    curve = lehr.Cosine().after_warmup(0.2)

    def configure(optimizer: Any) -> Any:
        scheduler = lehr.Scheduler(optimizer, curve, lehr.Budget(steps=updates))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": interval}}

    model = Model(configure)
    trainer(accumulate_grad_batches=accumulate).fit(model, loader())
    assert model.rates == pytest.approx([0.1 * curve(k / updates) for k in range(updates)])


@pytest.mark.parametrize("interval", ["epoch", "step"])
def test_a_scheduler_from_configure_optimizers_resumes_bit_for_bit(interval: str, tmp_path: Path) -> None:
    def configure(optimizer: Any) -> Any:
        scheduler = lehr.Scheduler(optimizer, lehr.Linear(), lehr.Budget(steps=40))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": interval}}

    saving = lightning.callbacks.ModelCheckpoint(dirpath=tmp_path, every_n_epochs=2, save_top_k=-1, filename="{epoch}")
    whole, part = Model(configure), Model(configure)
    trainer(saving, enable_checkpointing=True).fit(whole, loader())
    trainer().fit(part, loader(), ckpt_path=tmp_path / "epoch=1.ckpt")
    assert part.rates == whole.rates[16:]
    assert torch.equal(weights(part), weights(whole))


@pytest.mark.parametrize("policy", [lehr.LRTuner(), lehr.LearnedSchedule.pretrained()], ids=["look", "loss"])
def test_a_policy_from_configure_optimizers_says_what_to_write(policy: Any) -> None:
    model = Model(lambda one: ([one], [lehr.Scheduler(one, policy, lehr.Budget(steps=40))]))
    with pytest.raises(RuntimeError, match=r"return only the optimizer.*lightning.Lehr\(policy\)"):
        trainer().fit(model, loader())


def test_what_configure_optimizers_says_beyond_the_scheduler_is_refused() -> None:
    def configure(optimizer: Any) -> Any:
        scheduler = lehr.Scheduler(optimizer, lehr.Linear(), lehr.Budget(steps=40))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "reduce_on_plateau": True, "monitor": "train_loss"},
        }

    with pytest.raises(TypeError, match='leave "reduce_on_plateau" out'):
        trainer().fit(Model(configure), loader())


def test_lightnings_own_finder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where it keeps the weights meanwhile
    finder = lightning.callbacks.LearningRateFinder(num_training_steps=20)
    model = Model()
    trainer(Lehr(lehr.Linear()), finder).fit(model, loader())
    found = finder.optimal_lr.results["lr"]
    assert model.rates[:20] == pytest.approx(found)
    assert model.rates[20:] == pytest.approx([model.lr * (1 - k / 40) for k in range(40)])

    def configure(optimizer: Any) -> Any:
        return [optimizer], [lehr.Scheduler(optimizer, lehr.Linear(), lehr.Budget(steps=40))]

    with pytest.raises(lehr.BudgetWarning, match="look for a rate with lehr.range_test instead"):
        trainer(lightning.callbacks.LearningRateFinder(num_training_steps=20)).fit(Model(configure), loader())


def test_the_wrappers_of_lightning_and_fabric_are_looked_through() -> None:
    from lightning.fabric import Fabric
    from lightning.pytorch.core.optimizer import LightningOptimizer

    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    assert lehr.Scheduler(LightningOptimizer(optimizer), lehr.Linear(), lehr.Budget(steps=3)).optimizer is optimizer
    fabric = Fabric(accelerator="cpu", devices=1)
    fabric_model, fabric_optimizer = fabric.setup(model, optimizer)
    scheduler = lehr.Scheduler(fabric_optimizer, lehr.Linear(), lehr.Budget(steps=3))
    assert scheduler.optimizer is optimizer
    rates = []
    while not scheduler.finished:
        fabric_optimizer.zero_grad()
        fabric.backward(fabric_model(torch.ones(1, 2)).sum())
        rates.append(optimizer.param_groups[0]["lr"])
        fabric_optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([0.1, 0.2 / 3, 0.1 / 3])


def test_fabric_trains_through_a_training() -> None:
    from lightning.fabric import Fabric

    torch.manual_seed(0)
    fabric = Fabric(accelerator="cpu", devices=1)
    net = nn.Linear(4, 1)
    model, optimizer = fabric.setup(net, torch.optim.SGD(net.parameters(), lr=1e-6))
    batches = lehr.Batches(fabric.setup_dataloaders(loader(shuffle=True)))

    def backward() -> Tensor:
        optimizer.zero_grad()
        x = next(batches)
        loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
        fabric.backward(loss)
        return loss

    def step() -> Tensor:
        loss = backward()
        optimizer.step()
        return loss

    training = lehr.Training.of(step, touches=[model, optimizer, batches], backward=backward)
    before = weights(net)
    found = lehr.range_test(training, low=1e-4, high=10.0, steps=60)
    assert len(found.rates) > 20
    assert torch.equal(weights(net), before)
    scheduler = lehr.Scheduler(training, lehr.LRTuner(), lehr.Budget(steps=150))
    losses = [float(loss) for loss in training.run(scheduler)]
    assert len(losses) == 150
    assert losses[-1] < 0.1 * losses[0]


@pytest.mark.parametrize("policy", ["learned", "freezing"])
def test_fabric_saves_and_resumes_bit_for_bit(policy: str, tmp_path: Path) -> None:
    from lightning.fabric import Fabric

    def run(resume: bool) -> tuple[list[float], Tensor]:
        torch.manual_seed(0)
        fabric, net, rates = Fabric(accelerator="cpu", devices=1), nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1)), []
        plan = lehr.FreezeOut(lehr.layers_of(net), t0=0.5, how="linear")
        inner = torch.optim.SGD(plan.param_groups(lr=0.01), momentum=0.9)
        inner.register_step_post_hook(lambda one, *_: rates.append(one.param_groups[0]["lr"]))
        model, optimizer = fabric.setup(net, inner)
        made = plan if policy == "freezing" else lehr.LearnedSchedule.pretrained()
        scheduler = lehr.Scheduler(optimizer, made, lehr.Budget(steps=32))
        state = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
        if resume:
            fabric.load(tmp_path / "state.ckpt", state)
        for epoch in range(3 if resume else 0, 4):
            for x in fabric.setup_dataloaders(loader()):
                optimizer.zero_grad()
                loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
                fabric.backward(loss)
                scheduler.observe(loss=loss)
                optimizer.step()
                scheduler.step()
            if epoch == 2 and not resume:
                fabric.save(tmp_path / "state.ckpt", state)
        return rates, weights(net)

    rates, ended = run(resume=False)
    assert len(rates) == 32
    again, resumed = run(resume=True)
    assert again == rates[24:]
    assert torch.equal(resumed, ended)
    if policy == "freezing":
        assert [rate > 0.0 for rate in rates] == [k < 16 for k in range(32)]
