"""Lightning: one callback that drives the learning rates of a `Trainer`."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler, StochasticWeightAveraging, Timer
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

import lehr
from lehr._numbers import shown
from lehr.integrations._arguments import check_budget, check_countable, check_policy, parsed

LOOKS: Final = 3
"""How many batches a look along the step sees."""


class Lehr(Callback):
    """Drives the learning rates of a Lightning `Trainer` along a schedule or policy, under its budget.

    Let `configure_optimizers` return only the optimizer, with the peak rate. The scheduler is built when training
    starts, steps after each update, and goes into the trainer's checkpoints, so that `fit(ckpt_path=...)` goes on as if
    it had never been stopped. `LearningRateMonitor` logs its rates. Policies see the loss of each update, averaged over
    accumulated batches; those that look along the step see the step that will be made, with clipped gradients.

    A trainer lends no batches ahead, so looks see batches drawn for them from the data set of the training's loader, in
    an order of their own. The batches, weights and random numbers of the training are the same with looks and without.

    Args:
        policy: a schedule, a list of schedules (one for each parameter group, or for each optimizer) or a policy.
        budget: what there is to spend, as text such as "30min" or "3ep", or as a `lehr.Budget`; training stops when it
            is spent. If not given it is what the trainer's `max_epochs`, `max_steps` or `max_time` make it.
        find_peak: before training, asked for the peak rate with the run as a `lehr.Training`, such as
            `lambda training: lehr.range_test(training).valley()`. Parameter groups keep their ratios.
        look_batches: what looks and `find_peak` see, if the training's data set has no length or is not to be used.
        accept: how a checkpoint may differ from this run, as in `lehr.Scheduler`: `accept="budget"` trains longer.

    Raises:
        TypeError: if an argument, or the trainer, is of another kind.
        ValueError: when training starts, if the module returns a scheduler too, or the trainer has no end.

    >>> from lightning.pytorch.demos.boring_classes import BoringModel
    >>> class Model(BoringModel):
    ...     def configure_optimizers(self):
    ...         return torch.optim.SGD(self.parameters(), lr=0.1)
    >>> quiet = dict(logger=False, enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False)
    >>> driver = Lehr(lehr.Linear().after_warmup(0.1))
    >>> Trainer(max_steps=10, limit_val_batches=0, callbacks=[driver], **quiet).fit(Model())
    >>> driver.scheduler.updates, driver.scheduler.get_last_lr()
    (10, [0.0])
    """

    def __init__(
        self,
        policy: lehr.Policy | lehr.Schedule | Sequence[lehr.Schedule] | Sequence[Sequence[lehr.Schedule]],
        budget: str | lehr.Budget | None = None,
        *,
        find_peak: Callable[[lehr.Training], float] | None = None,
        look_batches: Iterable[Any] | None = None,
        accept: str | Collection[str] = (),
    ) -> None:
        check_policy(policy)
        check_budget(budget)
        if find_peak is not None and not callable(find_peak):
            raise TypeError(f"Lehr: find_peak must be a function of a lehr.Training; got {shown(find_peak)}")
        self.policy = policy
        self.budget = budget
        self.find_peak = find_peak
        self.look_batches = look_batches
        self.accept = accept
        self._scheduler: lehr.Scheduler | None = None
        self._loaded: Mapping[str, Any] | None = None
        self._peaks: list[list[Any]] = []
        self._losses: list[Tensor] = []
        self._saw_loss = False
        self._updates = 0
        self._pause = ExitStack()

    @property
    def scheduler(self) -> lehr.Scheduler:
        """The scheduler of the run, from when training starts.

        Raises:
            RuntimeError: before that.
        """
        if self._scheduler is None:
            raise RuntimeError("Lehr.scheduler is built when training starts; ask for it after trainer.fit has begun")
        return self._scheduler

    # -- the trainer's events ---------------------------------------------------------------------------------------

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the rates that the module asks for, before a checkpoint brings others."""
        self._peaks = [[group["lr"] for group in one.param_groups] for one in trainer.optimizers]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not isinstance(trainer, Trainer):
            raise TypeError(
                f"Lehr: the trainer is from the package {type(trainer).__module__.partition('.')[0]}; write from "
                "lightning.pytorch import Trainer, LightningModule"
            )
        if trainer.lr_scheduler_configs:
            raise ValueError(
                "Lehr: configure_optimizers returns a scheduler too, and both would set the learning rate; return only "
                "the optimizer, or leave the callback out"
            )
        if self._loaded is None and trainer.global_step:
            raise ValueError(
                f"Lehr: training goes on after {trainer.global_step:,} updates that this callback has not seen, so "
                "where its schedule was is not known; start a new Trainer, or give fit(ckpt_path=...) a checkpoint of "
                "a run with the callback"
            )
        if any(isinstance(one, StochasticWeightAveraging) for one in trainer.callbacks):
            raise ValueError(
                "Lehr: StochasticWeightAveraging sets the learning rate too; instead write Lightning's callback "
                "WeightAveraging(), which averages weights and leaves the rate alone"
            )
        looks = self.find_peak is not None or (isinstance(self.policy, lehr.Policy) and "loss_at" in self.policy.needs)
        watches = looks or (isinstance(self.policy, lehr.Policy) and self.policy.follow is None)
        if watches and not pl_module.automatic_optimization:
            raise ValueError(
                "Lehr: the module optimizes by hand (automatic_optimization=False), so the callback does not see the "
                "loss of an update; give it a schedule such as lehr.Linear()"
            )
        batches = lehr.Batches(self._batches_to_look_at(trainer) if looks else [None])
        self._training = _training_of(trainer, pl_module, batches)
        if self.find_peak is None and self._loaded is not None:
            self._restore_peaks(trainer)
        if self.find_peak is not None and self._loaded is None:
            self._training.set_peak(self.find_peak(self._training))
        self._scheduler = lehr.Scheduler(self._training, self.policy, self._budget_of(trainer), accept=self.accept)
        if self._loaded is not None:
            self._scheduler.load_state_dict(self._loaded["scheduler"])
            batches.load_state_dict(self._loaded["batches"])
            self._loaded = None
        self._losses.clear()
        self._updates = trainer.global_step
        self._saw_loss = self._updates > 0
        if self._scheduler.wants_loss:
            _after_clipping(pl_module, self._observe)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        if self.scheduler.wants_loss:
            scaler = _scaler_of(trainer)
            whole = loss.detach() * trainer.accumulate_grad_batches  # which it was divided by
            self._losses.append(whole if scaler is None else whole / scaler.get_scale())

    def _observe(self) -> None:
        """The gradients of an update are complete, unscaled and clipped."""
        if self._losses and self.scheduler.wants_loss:
            loss = torch.stack([one.float() for one in self._losses]).mean()
            self._losses.clear()  # optimizers with a closure may come here more than once an update
            self._saw_loss = True
            look = lehr.Probe(self._training, batches=LOOKS) if self.scheduler.wants_look else None
            self.scheduler.observe(loss=loss, loss_at=look)

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step != self._updates:  # else gradients are being accumulated
            self._updates = trainer.global_step
            if self.scheduler.wants_loss and not self._saw_loss:
                raise ValueError(
                    "Lehr: training_step returned no loss for the first update, but the policy needs one to start "
                    "from; return a loss there, or give a schedule such as lehr.Linear()"
                )
            self.scheduler.step()
        if self.budget is not None and self.scheduler.finished:
            trainer.should_stop = True

    def on_validation_start(self, trainer: Trainer, *_: Any) -> None:
        if self._scheduler is not None and self.budget is not None and not trainer.sanity_checking:
            self._pause.enter_context(self._scheduler.paused())

    def on_validation_end(self, *_: Any) -> None:
        self._pause.close()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        vars(pl_module).pop(_CLIP, None)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._pause.close()
        vars(pl_module).pop(_CLIP, None)

    def state_dict(self) -> dict[str, Any]:
        """The scheduler's state, and where looks are in their batches."""
        if self._scheduler is None:
            return dict(self._loaded or {})
        return {"scheduler": self._scheduler.state_dict(), "batches": self._training.batches.state_dict()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a checkpoint when training starts."""
        self._loaded = dict(state_dict) or None

    def _restore_peaks(self, trainer: Trainer) -> None:
        """The base rates that the module asked for: if they are not the checkpoint's, the scheduler says so."""
        for optimizer, rates in zip(trainer.optimizers, self._peaks, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["initial_lr"] = float(rate)

    # -- what the trainer says --------------------------------------------------------------------------------------

    def _budget_of(self, trainer: Trainer) -> lehr.Budget:
        if isinstance(self.budget, lehr.Budget):
            budget = self.budget
        elif self.budget is not None:
            budget = parsed(self.budget, _sizes(trainer))
        else:
            budget = _trainers_budget(trainer)
        check_countable(budget)
        if trainer.lightning_module.automatic_optimization:  # else only the module knows how many updates it makes
            _check_reached(budget, _updates_of(trainer))
        return budget

    def _batches_to_look_at(self, trainer: Trainer) -> Iterable[Any]:
        if "dataloader_iter" in inspect.signature(trainer.lightning_module.training_step).parameters:
            raise ValueError(
                f"Lehr: {self.policy!r} looks at batches beside those of the training, but training_step takes its own "
                "from dataloader_iter; write training_step(self, batch, batch_idx)"
            )
        if self.look_batches is not None:
            return self.look_batches
        loader = trainer.train_dataloader
        if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
            raise ValueError(
                f"Lehr: {self.policy!r} looks at batches beside those of the training, which cannot be drawn from its "
                "loader; give Lehr(..., look_batches=...), such as a second loader"
            )
        return _beside(loader, trainer.global_rank)


# -- how a trainer makes an update -----------------------------------------------------------------------------------

_CLIP: Final = "configure_gradient_clipping"


def _after_clipping(module: LightningModule, then: Callable[[], None]) -> None:
    """Have the module's clipping followed by something else; `on_before_optimizer_step` comes before it."""
    clip = getattr(module, _CLIP)

    def clip_and_go_on(*args: Any, **options: Any) -> None:
        clip(*args, **options)
        then()

    vars(module)[_CLIP] = clip_and_go_on


def _training_of(trainer: Trainer, module: LightningModule, batches: lehr.Batches[Any]) -> lehr.Training:
    """The trainer's way to make an update from the next of these batches."""
    scaler = _scaler_of(trainer)

    def loss() -> Tensor:
        with _silent(module):
            return _loss_of(trainer, module, next(batches))

    @torch.no_grad()  # a data-parallel model waits for the backward pass of each forward pass with gradients
    def look() -> Tensor:
        return loss()

    def step() -> Tensor:
        (optimizer,) = trainer.optimizers
        optimizer.zero_grad()
        value = loss()
        (value if scaler is None else scaler.scale(value)).backward()  # type: ignore[no-untyped-call]
        if scaler is not None and not getattr(optimizer, "_step_supports_amp_scaling", False):
            scaler.unscale_(optimizer)
        module.configure_gradient_clipping(
            optimizer,
            gradient_clip_val=trainer.gradient_clip_val,
            gradient_clip_algorithm=trainer.gradient_clip_algorithm,
        )
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(optimizer)
            scaler.update()
        return value

    return lehr.Training.of(step, touches=[module, *trainer.optimizers, batches], backward=look, scaler=scaler)


def _loss_of(trainer: Trainer, module: LightningModule, batch: Any) -> Tensor:
    batch = trainer.precision_plugin.convert_input(batch)
    batch = module._on_before_batch_transfer(batch, dataloader_idx=0)
    batch = trainer.strategy.batch_to_device(batch, dataloader_idx=0)
    takes_index = len(inspect.signature(module.training_step).parameters) > 1
    output = trainer.strategy.training_step(*((batch, 0) if takes_index else (batch,)))
    loss = output["loss"] if isinstance(output, Mapping) else output
    if not isinstance(loss, Tensor):
        raise ValueError("Lehr: training_step gave no loss for a batch; to look along the step there must be one")
    return loss


@contextmanager
def _silent(module: LightningModule) -> Iterator[None]:
    """What the module logs on a trial is not the training's."""
    before = {name: vars(module)[name] for name in ("log", "log_dict") if name in vars(module)}
    vars(module).update(log=lambda *_, **__: None, log_dict=lambda *_, **__: None)
    try:
        yield
    finally:
        del vars(module)["log"], vars(module)["log_dict"]
        vars(module).update(before)


def _scaler_of(trainer: Trainer) -> torch.amp.GradScaler | None:
    plugin = trainer.precision_plugin
    return plugin.scaler if isinstance(plugin, MixedPrecision) else None


def _beside(loader: DataLoader[Any], rank: int) -> DataLoader[Any]:
    """Batches like the loader's, from random numbers of their own."""
    dataset: Dataset[Any] = loader.dataset
    generator = torch.Generator().manual_seed(rank)
    size = loader.batch_size or getattr(loader.batch_sampler, "batch_size", 1)
    return DataLoader(dataset, batch_size=size, shuffle=True, collate_fn=loader.collate_fn, generator=generator)


def _sizes(trainer: Trainer) -> dict[str, float]:
    """How many updates an epoch has, and how many examples an update, as far as the trainer knows."""
    sizes: dict[str, float] = {}
    if (stages := _stages_of(trainer)) is not None and len(stages.scheduling) > 1:
        return sizes
    if math.isfinite(trainer.num_training_batches):
        sizes["steps_per_epoch"] = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
    size = getattr(trainer.train_dataloader, "batch_size", None)
    if size is not None:
        sizes["samples_per_step"] = size * trainer.accumulate_grad_batches * trainer.world_size
    return sizes


def _stages_of(trainer: Trainer) -> GradientAccumulationScheduler | None:
    """By what more or fewer batches are accumulated from some epoch on, if they are."""
    return next((one for one in trainer.callbacks if isinstance(one, GradientAccumulationScheduler)), None)


def _updates_of(trainer: Trainer) -> float:
    """How many updates there are until the trainer's end; infinite, or below 0, if it cannot tell."""
    stages, batches, epochs = _stages_of(trainer), trainer.num_training_batches, trainer.max_epochs
    if stages is None or epochs in (None, -1) or not math.isfinite(batches):
        return float(trainer.estimated_stepping_batches)
    updates = sum(math.ceil(batches / stages.get_accumulate_grad_batches(epoch)) for epoch in range(epochs))
    return float(updates if trainer.max_steps == -1 else min(updates, trainer.max_steps))


def _check_reached(budget: lehr.Budget, updates: float) -> None:
    """Whether the trainer does not end before the budget."""
    needed = None if budget.endless else budget.updates
    if needed is not None and 0 < updates < needed:
        raise ValueError(
            f"Lehr: the budget of {budget} is {needed:,.0f} updates, but the trainer ends after {updates:,.0f}; give "
            "Trainer more max_epochs or max_steps, or leave the budget out"
        )


def _trainers_budget(trainer: Trainer) -> lehr.Budget:
    steps, several = _updates_of(trainer), len(trainer.optimizers)
    if several > 1 and steps == trainer.max_steps:
        raise ValueError(
            f"Lehr: max_steps={trainer.max_steps} counts the updates of all {several} optimizers; say how many each "
            f'makes: Lehr(policy, "{trainer.max_steps // several}steps")'
        )
    seconds = next((one.time_elapsed() + one.time_remaining() for one in trainer.callbacks if _ends(one)), None)
    bounded = 0 < steps < math.inf
    if bounded and seconds is not None:
        raise ValueError(
            f"Lehr: the trainer ends after {steps:,.0f} updates or {seconds:g} seconds, whichever comes first; say "
            f'which is the budget: Lehr(policy, "{steps:.0f}steps") or Lehr(policy, "{seconds:g}s")'
        )
    if seconds is not None:
        return lehr.Budget(seconds=seconds)
    if not bounded:
        raise ValueError(
            "Lehr: the trainer has no end that can be counted; give Trainer max_steps or max_time, or write "
            'Lehr(policy, "1000steps")'
        )
    return lehr.Budget(steps=steps)


def _ends(callback: Callback) -> bool:
    return isinstance(callback, Timer) and callback.time_remaining() is not None
