"""The training: how somebody makes an update, as one noun that every procedure takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Final, final

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lehr._arguments import number_argument, whole_argument
from lehr._numbers import SMALLEST, real, shown
from lehr.budget import Budget
from lehr.scheduler import Scheduler
from lehr.scheduler.drivers import rescale
from lehr.scheduler.last_words import tell
from lehr.scheduler.param_groups import base_rates, peak_of
from lehr.state import Batches, RandomState, untouched
from lehr.state.generators import GeneratorState, is_generator
from lehr.state.loading import all_or_nothing, load_part
from lehr.state.nested import Restore
from lehr.state.optimizers import unwrapped
from lehr.state.random_state import RandomNumbers
from lehr.state.reading import Fields
from lehr.state.snapshots import Stateful, modules, snapshot
from lehr.training.idle import check_idle
from lehr.training.inputs import batches_of, check_arguments, device_named, optimizers_of, parts_in
from lehr.training.loss_update import LossUpdate
from lehr.training.placement import device_of
from lehr.training.probe import Probe
from lehr.training.step_update import StepUpdate
from lehr.training.update import OutOfData, Update

LOOKS: Final = 3
"""How many batches a look along the step sees."""


@final
class Training:
    """How you make an update: the model, its optimizer or several, the batches and the loss.

    Every procedure takes it: `plan`, `range_test`, `Scheduler`, `Probe`, `fit`. It knows what an update changes, so
    that trials put all of that back by themselves: the model with its buffers, modes and extra state, optimizers and
    those inside them, the scaler, the data and the random numbers.

    An update draws `accumulate` batches, adds up their gradients, unscales and clips them, and steps every optimizer.

    Args:
        model: the module that is trained.
        optimizer: its optimizer, or several that step together.
        batches: a `DataLoader` or any other iterable, or a function that returns an iterator for each epoch. It is gone
            round for ever, in the order that it gives.
        loss: model, batch -> loss, a tensor of one; or a pair of the loss and metrics by name.
        device: where batches go; where the model is, if not given.
        autocast: the type of automatic mixed precision, such as `torch.bfloat16`; None for none.
        scaler: the gradient scaler, for `torch.float16`.
        accumulate: batches whose gradients make one update, at least 1.
        clip_norm: largest norm of an update's gradient, above 0; None does not clip.
        touches: what else an update changes: a second network, an average of weights, a scheduler of another kind.
        amount: batch -> samples or tokens in it, for a budget in those. If not given, a batch holds as many samples as
            its first tensor is long; tokens must be counted by it.

    Raises:
        TypeError: if an argument is of the wrong kind, or an optimizer asks for a closure.
        ValueError: if an argument is out of range, or no parameter of the optimizers is the model's.

    >>> model = torch.nn.Linear(4, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> loader = torch.utils.data.DataLoader(torch.randn(64, 4), batch_size=16)
    >>> training = Training(model, optimizer, loader, lambda model, x: (model(x) - x[:, :1]).square().mean())
    >>> scheduler = Scheduler(training, Linear(), training.budget("2ep"))
    >>> losses = [loss.item() for loss in training.run(scheduler)]
    >>> len(losses), losses[-1] < losses[0]
    (8, True)
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | Sequence[Optimizer],
        batches: Iterable[Any] | Callable[[], Iterator[Any]],
        loss: Callable[[Any, Any], Any],
        *,
        device: torch.device | str | None = None,
        autocast: torch.dtype | None = None,
        scaler: torch.amp.GradScaler | None = None,
        accumulate: int = 1,
        clip_norm: float | None = None,
        touches: Sequence[Any] = (),
        amount: Callable[[Any], float] | None = None,
    ) -> None:
        check_arguments(model, loss, scaler, autocast, amount)
        accumulate = whole_argument("Training: accumulate", accumulate)
        if clip_norm is not None:
            clip_norm = number_argument("Training: clip_norm", clip_norm, SMALLEST, math.inf)
        self.batches: Batches[Any] = batches_of(batches)
        given = optimizers_of(optimizer)
        more = [loss] if isinstance(loss, nn.Module) else []
        self._sort([model, *given, *more, *parts_in(touches), *([] if scaler is None else [scaler])])
        known = {id(parameter) for module in self.modules for parameter in module.parameters()}
        if not any(id(p) in known for one in self.optimizers for group in one.param_groups for p in group["params"]):
            raise ValueError("Training: optimizer updates no parameter of model; build it from model.parameters()")
        self.accumulate = accumulate
        place = device_named(device) if device is not None else device_of(model)
        moves = device is not None or place.type != "cpu"
        mixed = None if autocast is None else (place.type, autocast)
        self._update: Update = LossUpdate(
            model, given, self.batches, loss, place if moves else None, mixed, scaler, accumulate, clip_norm, amount
        )

    @classmethod
    def of(
        cls,
        step: Callable[[], Any],
        *,
        touches: Sequence[Any],
        backward: Callable[[], Any] | None = None,
        scaler: torch.amp.GradScaler | None = None,
    ) -> Training:
        """A training whose update is your own function, for loops that lehr does not own.

        Policies that look at the loss are shown it after the update that it came from. Those that look along the step,
        such as `LRTuner`, need `backward`; at the few updates at which they look, gradients are computed twice.

        Args:
            step: makes one update and returns the loss, or a pair of the loss and metrics.
            touches: all that `step` changes: models, optimizers, schedulers, scalers, data (as `Batches`), ...
            backward: draws the data of an update and leaves its gradients as the optimizers will use them (clipped, if
                you clip), without an update; returns the loss.
            scaler: the gradient scaler, if gradients are left scaled.

        Raises:
            TypeError: if `touches` names no optimizer, or something that cannot be put back.

        >>> model = torch.nn.Linear(4, 1)
        >>> optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=2)
        >>> inputs = torch.randn(16, 4)
        >>> def closure():
        ...     optimizer.zero_grad()
        ...     loss = (model(inputs) - 1.0).square().mean()
        ...     loss.backward()
        ...     return loss
        >>> training = Training.of(lambda: optimizer.step(closure), touches=[model, optimizer])
        >>> training.step() > training.step()
        tensor(True)
        """
        for name, value in (("step", step), ("backward", backward or step)):
            if not callable(value):
                raise TypeError(f"Training.of: {name} must be a function; got {shown(value)}")
        training = cls.__new__(cls)
        parts = parts_in(touches)
        training._sort([*parts, *([] if scaler is None else [scaler])])
        for part in training._others:
            snapshot(part)  # says at once what cannot be put back
        training.batches = next((part for part in parts if isinstance(part, Batches)), Batches([None]))
        training.accumulate = 1
        training._update = StepUpdate(step, backward, training.optimizers, training.mark_data)
        return training

    def _sort(self, touches: Sequence[Any]) -> None:
        """Sort all that an update changes by what it is."""
        parts = list({id(part): part for part in touches if part is not None}.values())
        self.modules: Sequence[nn.Module] = tuple(part for part in parts if isinstance(part, nn.Module))
        self.as_given: Sequence[Optimizer] = tuple(part for part in parts if isinstance(part, Optimizer))
        if not self.as_given:
            raise TypeError("Training.of: touches must name the optimizer, or several, that the update steps")
        self.optimizers: Sequence[Optimizer] = tuple({id(one): one for one in map(unwrapped, self.as_given)}.values())
        scalers = [part for part in parts if isinstance(part, torch.amp.GradScaler)]
        self.scaler: torch.amp.GradScaler | None = scalers[0] if scalers else None
        self._others = [part for part in parts if not isinstance(part, nn.Module | Optimizer)]

    # -- an update --------------------------------------------------------------------------------------------------

    def step(self, scheduler: Scheduler | None = None) -> Tensor:
        """Make one update, and tell the scheduler what it needs to know.

        Args:
            scheduler: that drives this training's optimizers; it is told the loss and stepped. With None, stepping one
                is left to you.

        Returns:
            The loss, averaged over the batches of the update, without graph.
        """
        try:
            return self._update.step(scheduler, self._look)
        except BaseException as error:
            tell(error)
            raise

    def run(self, scheduler: Scheduler) -> Iterator[Tensor]:
        """Make updates until the budget is spent, or the data has come to its end.

        Args:
            scheduler: that drives this training's optimizers.

        Yields:
            The loss of each update.

        Raises:
            ValueError: if the scheduler drives none of this training's optimizers, and so would never come to its end.
            RuntimeError: if no update is made any more.
        """
        if not set(scheduler.optimizers) & set(self.optimizers):
            raise ValueError("Training.run: scheduler drives other optimizers than this training's")
        idle = 0
        while not scheduler.finished:
            before = scheduler.updates
            try:
                loss = self.step(scheduler)
            except OutOfData:
                return
            idle = 0 if scheduler.updates > before else idle + 1
            check_idle(idle)
            yield loss

    def backward(self) -> Tensor:
        """The gradients of an update, unscaled and clipped; for a loop of your own, before `update`.

        Goes on with an accumulation that was begun.

        Returns:
            The loss, averaged over the batches of the update, without graph.
        """
        return self._update.backward()

    def backward_micro_batch(self) -> Tensor:
        """Add the gradients of the next batch to those of the update under way, and return that batch's loss."""
        return self._update.backward_micro_batch()

    def update(self) -> None:
        """Step every optimizer with the gradients of `backward`."""
        self._update.apply()

    @property
    def metrics(self) -> Mapping[str, Any]:
        """What the loss gave beside itself at the last update, by name."""
        return self._update.metrics

    def count(self, unit: str) -> None:
        """Count the samples or tokens of updates that no scheduler drives, too; `counted` says how many there were.

        Args:
            unit: "samples" or "tokens".

        Raises:
            ValueError: if they cannot be counted.
        """
        self._update.count(unit)

    @property
    def counted(self) -> float:
        """Samples or tokens of the last update on this rank, where they are counted."""
        return self._update.counted

    # -- looks and trials -------------------------------------------------------------------------------------------

    @property
    def cannot_look(self) -> str | None:
        """Why the loss along a step cannot be had; None if it can."""
        return self._update.cannot_look

    def loss_ahead(self) -> Tensor:
        """The loss of the next batch, without gradients."""
        return self._update.loss_ahead()

    def _look(self) -> Probe:
        return Probe(self, batches=LOOKS)

    def mark_data(self) -> Restore:
        """Note all but weights and optimizer state that a look changes; what is returned puts it back."""
        known = {id(parameter) for module in self.modules for parameter in module.parameters()}
        restores = [modules(self.modules, known), *(snapshot(part) for part in self._others), *self._mark_batches()]

        def restore() -> None:
            for put_back in reversed(restores):
                put_back()

        return restore

    def _mark_batches(self) -> list[Restore]:
        return [] if self._owns_data else [self.batches.mark()]

    @property
    def _owns_data(self) -> bool:
        """Whether the batches are among what was named as touched."""
        return any(part is self.batches for part in self._others)

    @property
    def parts(self) -> list[Any]:
        """All that an update changes."""
        return [
            *self.modules,
            *self.as_given,
            *self._others,
            *([] if self._owns_data else [self.batches]),
            self._update,
        ]

    @property
    def has_schedulers(self) -> bool:
        """Whether an update steps schedulers of its own, which set the rate."""
        return any(isinstance(part, LRScheduler) for part in self._others)

    def untouched(self) -> AbstractContextManager[None]:
        """A context in which updates leave no trace: what they change is put back, also after an error.

        >>> model = torch.nn.Linear(1, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> training = Training(model, optimizer, [torch.ones(1, 1)], lambda model, x: model(x).sum())
        >>> before = model.weight.item()
        >>> with training.untouched():
        ...     _ = training.step()
        >>> model.weight.item() == before
        True
        """
        return untouched(*self.parts)

    # -- devices ----------------------------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Where the first network is; the CPU if there is none."""
        return device_of(self.modules[0]) if self.modules else torch.device("cpu")

    def to(
        self,
        device: torch.device | str,
        *,
        autocast: torch.dtype | None = None,
        scaler: torch.amp.GradScaler | None = None,
    ) -> None:
        """Move a training that has not begun to another device: its networks, and its batches from then on.

        Args:
            device: such as "cuda:1".
            autocast: the type of automatic mixed precision; None leaves it as it was.
            scaler: the gradient scaler; None leaves it as it was.

        Raises:
            ValueError: if the optimizers have stepped already or keep weights of their own, or the step is a function
                of yours, which places its batches itself.

        >>> model = torch.nn.Linear(1, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> training = Training(model, optimizer, [torch.ones(1, 1)], lambda model, x: model(x).sum())
        >>> training.to("cpu")
        >>> training.device
        device(type='cpu')
        """
        place = torch.device(device)
        if not isinstance(self._update, LossUpdate):
            raise ValueError(
                "Training.to: a step of your own places its batches itself, in a precision of its own; make its "
                "networks there, and leave device and precision out"
            )
        if any(one.state for one in self.optimizers):
            raise ValueError("Training.to: an optimizer has stepped already; move a training before its first update")
        for module in self.modules:
            module.to(place)
        updated = {p.device.type for one in self.optimizers for group in one.param_groups for p in group["params"]}
        if updated - {place.type}:
            raise ValueError(
                f"Training.to: an optimizer updates weights that did not move to {place}; make the networks there, and "
                "the optimizers from them"
            )
        self._update.to(place, autocast, scaler)
        if scaler is not None:
            self._others = [part for part in self._others if part is not self.scaler]
            self.scaler = scaler
            self._others.append(scaler)

    # -- rates and budgets ------------------------------------------------------------------------------------------

    @property
    def peak(self) -> float:
        """The base rate of the first parameter group that trains; the others keep their ratio to it."""
        return peak_of("Training.peak", base_rates(self.optimizers))

    def set_peak(self, rate: float) -> None:
        """Give all parameter groups other base rates, of which the first is `rate`, with the ratios between them.

        Works before a scheduler is built and after.

        Args:
            rate: above 0.

        Raises:
            ValueError: if `rate` is not above 0 and finite, or no group has a rate above 0.

        >>> layers = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
        >>> groups = [{"params": layers[0].parameters(), "lr": 0.01}, {"params": layers[1].parameters(), "lr": 0.1}]
        >>> optimizer = torch.optim.SGD(groups)
        >>> model = torch.nn.Sequential(*layers)
        >>> training = Training(model, optimizer, [torch.ones(1, 1)], lambda model, x: model(x).sum())
        >>> training.set_peak(0.5)
        >>> [group["lr"] for group in optimizer.param_groups]
        [0.5, 5.0]
        """
        number = real(rate)
        if number is None or not 0.0 < number < math.inf:
            raise ValueError(f"Training.set_peak: rate must be a number above 0 and finite; got {shown(rate)}")
        bases = base_rates(self.optimizers)
        share = number / peak_of("Training.set_peak", bases)
        rescale(self.optimizers, [base * share for base in bases])

    def budget(self, amount: str | Budget) -> Budget:
        """A budget that knows this training's epochs and batches.

        Args:
            amount: a text such as "500steps", "3ep", "1e6samples" or "30min"; a budget is returned as it is.

        Raises:
            ValueError: if the text is no budget, or counts epochs of data whose length is not known.

        >>> model = torch.nn.Linear(1, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> loader = torch.utils.data.DataLoader(torch.ones(80, 1), batch_size=10)
        >>> Training(model, optimizer, loader, lambda model, x: model(x).sum(), accumulate=2).budget("3ep")
        Budget(epochs=3, steps_per_epoch=4, samples_per_step=20)
        """
        if isinstance(amount, Budget):
            return amount
        if not isinstance(amount, str):
            raise TypeError(f"budget must be a lehr.Budget or a text such as '30min'; got {shown(amount)}")
        batches = self.batches.per_epoch if self.batches.loader != [None] else None
        budget = Budget.parse(
            amount,
            steps_per_epoch=None if not batches else batches / self.accumulate,
            samples_per_step=self.samples_per_step,
        )
        counts = isinstance(self._update, LossUpdate) and not isinstance(self.samples_per_step, int)
        return replace(budget, samples_per_step=None) if counts and budget.unit == "samples" else budget

    @property
    def samples_per_step(self) -> float | None:
        """The samples of an update over all ranks: a whole number if all have as many, else their mean.

        None if the loader does not say, or `amount` counts something of its own.
        """
        loader = self.batches.loader
        size = getattr(loader, "batch_size", None)
        if not isinstance(size, int) or (isinstance(self._update, LossUpdate) and self._update.amount is not None):
            return None
        ranks = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
        sampler, most = getattr(loader, "sampler", None), size * self.accumulate * ranks
        if getattr(loader, "drop_last", False):
            return most
        if not isinstance(sampler, Sized):
            return float(most)
        return most if len(sampler) % size == 0 else most * len(sampler) / (size * math.ceil(len(sampler) / size))

    # -- checkpoints ------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """All that an update changes, the position in the data and the random numbers among it.

        Also in the middle of an accumulation, whose gradients are then in it. Loads with `weights_only=True`.
        """
        return {
            "modules": [module.state_dict() for module in self.modules],
            "optimizers": [one.state_dict() for one in self.as_given],
            "others": [part.state_dict() for part in self._stateful()],
            "batches": self.batches.state_dict(),
            "update": self._update.state_dict(),
            "random": RandomState().state_dict(),
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned, bit for bit.

        Raises:
            ValueError: if it comes from another training, is no state at all, or a part refuses its own; everything is
                then as it was.
        """
        fields = Fields("the checkpoint's training", state_dict)
        mine: dict[str, Sequence[Any]] = {
            "modules": self.modules, "optimizers": self.as_given, "others": self._stateful(),
        }  # fmt: skip
        for name, parts in mine.items():
            given = fields.any(name)
            if not isinstance(given, list | tuple):
                raise fields.error(name, f"a list of {len(parts)} states", given)
            if len(given) != len(parts):
                raise ValueError(
                    f"the checkpoint holds {len(given)} {name}, but this training has {len(parts)}; build it as the "
                    "one that was saved"
                )
        go_on = self._update.read(fields.any("update"))
        random = RandomNumbers.read("the checkpoint's random numbers", fields.any("random"))
        with all_or_nothing([*self.modules, *self.as_given, *self._others]):
            for name, parts in mine.items():
                for part, state in zip(parts, fields.any(name), strict=True):
                    load_part(f"the checkpoint's {name}: {type(part).__name__}", part, state)
            self.batches.load_state_dict(fields.any("batches"))
            go_on()
        random.go_on()

    def _stateful(self) -> list[Stateful]:
        others = [GeneratorState(part) if is_generator(part) else part for part in self._others]
        return [part for part in others if part is not self.batches]


def check_training(who: str, training: Any) -> None:
    """Whether a procedure was handed a training.

    Raises:
        TypeError: if not, with the way to make one.
    """
    if not isinstance(training, Training):
        raise TypeError(
            f"{who}: training must be a lehr.Training(model, optimizer, loader, loss), or lehr.Training.of(step, "
            f"touches=[...]) for a loop of your own; got {type(training).__name__}"
        )
