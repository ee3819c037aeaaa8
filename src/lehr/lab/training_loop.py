"""Runs of a `TrainingTask`: the user's own training, made anew from each seed, and the user's own evaluation."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

import lehr
from lehr._numbers import shown
from lehr.lab.content import code_hash, content_hash
from lehr.lab.loop import Score
from lehr.lab.metric import Criterion
from lehr.lab.placement import AUTO, Placement
from lehr.lab.ranks import Ranks, own_part
from lehr.lab.seeds import check_new, seed_everything

if TYPE_CHECKING:  # a task makes its workload
    from lehr.lab.training_task import TrainingTask

HASHED: Final = 2
"""How many first batches tell data apart."""

SAMPLED: Final = 1_000
"""About how many numbers of a tensor tell weights apart."""


class TrainingWorkload:
    """A training task, ready for runs.

    Args:
        task: the task.
    """

    def __init__(self, task: TrainingTask) -> None:
        self.task = task
        self._fingerprint: str | None = None
        self._counts: lehr.Budget | None = None
        self._device = ""

    @property
    def about(self) -> str:
        """The task's own line."""
        return self.task.about

    @property
    def budget(self) -> str:
        """The task's own budget."""
        return self.task.budget

    @property
    def criterion(self) -> Criterion:
        """The task's own criterion."""
        return self.task.criterion

    def workload(self) -> TrainingWorkload:
        """Itself."""
        return self

    def fingerprint(self) -> str:
        """A hash of the first two batches of `make_training(0)` and of its initial weights.

        The code of a task with a file has a hash of its own. What two batches do not show, such as other data further
        on, is not noticed. `make_training(0)` is called twice, to see that the seed decides.

        Raises:
            ValueError: if both calls differ.
        """
        if self._fingerprint is None:
            self._fingerprint = self._first()
            if self._first() != self._fingerprint:
                raise ValueError(
                    "TrainingTask: make_training(0) gave other batches or weights when it was called again, so runs "
                    "could not be compared; make loaders, samplers and generators anew in it, and take their random "
                    "numbers from the seed"
                )
        return self._fingerprint

    def _first(self) -> str:
        training = self.loop(0).training
        weights = [list(module.state_dict().values()) for module in training.modules]
        batches = [
            content_hash(batch) for batch in islice(training.batches, HASHED)
        ]  # each at once: tensors may be reused
        return content_hash(weights, batches)

    def likeness(self) -> str:
        """A hash of the networks, optimizers, criterion and the code of the task's three functions.

        What these functions call has no part in it, so after changes there, give a comparison another folder.
        """
        task, training = self.task, self.loop(0).training
        options = [
            (type(one).__name__, [{k: v for k, v in group.items() if k != "params"} for group in one.param_groups])
            for one in training.optimizers
        ]
        code = [code_hash(function) for function in (task.make_training, task.validate, task.test)]
        said = f"{list(training.modules)!r} {options!r} {training.accumulate} {task.criterion} {code}"
        return hashlib.sha256(re.sub(r"0x[0-9a-f]+", "", said).encode()).hexdigest()[:16]

    def budget_of(self, text: str, accumulate: int = 1) -> lehr.Budget:
        """The budget that `text` names, with what the training knows of its epochs and batches."""
        if self._counts is None:
            self.loop(0)
        assert self._counts is not None
        counts = self._counts
        if counts.steps_per_epoch is None and lehr.Budget.parse(text, steps_per_epoch=1).unit == "epochs":
            raise ValueError(
                f"the budget {text!r} counts epochs, but the training's batches do not say how many there are; give a "
                "budget in steps, such as '500steps'"
            )
        return lehr.Budget.parse(text, steps_per_epoch=counts.steps_per_epoch, samples_per_step=counts.samples_per_step)

    def placed(self, placement: Placement) -> Placement:
        """The placement, with the device on which the training was made for "auto"."""
        if placement.accumulate != 1:
            raise ValueError(
                "accumulate is for a lab.Task; a TrainingTask says "
                f"lehr.Training(..., accumulate={placement.accumulate}) in make_training"
            )
        if placement.device != "auto":
            return placement.check()
        if not self._device:
            self.loop(0)
        return placement.on(self._device)

    def loop(self, seed: int, placement: Placement = AUTO, *, measures: bool = False) -> TrainingLoop:
        """A run at its start; what its loss measures at each update is measured in any case."""
        loop = TrainingLoop(self.task, seed, placement)
        self._counts = self._counts or loop.training.budget("1steps")
        self._device = self._device or str(loop.training.device)
        return loop


class TrainingLoop:
    """A user's training at its start.

    Args:
        task: whose training.
        seed: of every random number.
        placement: to which device it is moved, in which precision, whether it is compiled, and how many processes train
            it together, each of which has called `make_training`.

    Raises:
        ValueError: if `make_training` returns anything but a training, one that was trained before, or one that steps a
            scheduler of its own.
    """

    def __init__(self, task: TrainingTask, seed: int, placement: Placement = AUTO) -> None:
        seed_everything(seed)
        self.task = task
        self.placement = placement
        self.ranks = Ranks.here(placement.ranks)
        self.training = _made(task, seed)
        placement.move(self.training)
        self._replicas = False
        self.evaluation_passes = 0
        self.search_passes = 0
        self.search_seconds = 0.0
        self.probe_passes = 0

    @property
    def model(self) -> nn.Module:
        """The first module of the training."""
        if not self.training.modules:
            raise ValueError("TrainingTask: the training names no model; add it to touches of lehr.Training.of")
        return self.training.modules[0]

    @property
    def optimizer(self) -> Optimizer:
        """The training's optimizer.

        Raises:
            ValueError: if it has several, or one that wraps another.
        """
        given = self.training.as_given
        if len(given) != 1 or given[0] is not self.training.optimizers[0]:
            kinds = " and ".join(type(one).__name__ for one in given)
            raise ValueError(
                f"FreezeOut drives one plain optimizer, whose groups it splits by layer; this training has {kinds}"
            )
        return given[0]

    @property
    def peak(self) -> float:
        """The rate of the first parameter group that trains."""
        return self.training.peak

    def set_peak(self, lr: float | None) -> float:
        """Set the rate of the first parameter group that trains, the others keeping their ratio; None leaves it."""
        if lr is not None:
            self.training.set_peak(lr)
        return self.peak if lr is None else lr

    def regroup(self, groups: list[dict[str, Any]]) -> None:
        """Have the optimizer, which has not stepped yet, update these groups."""
        optimizer = self.optimizer
        optimizer.param_groups.clear()
        for group in groups:
            optimizer.add_param_group(group)

    def example(self) -> Any:
        """What the task says that the model is called with."""
        if self.task.example is None and not isinstance(self.model, nn.Sequential):
            raise ValueError(
                "freezing needs to see the model run once: give TrainingTask example=, what the model is called with: "
                "a tensor, a tuple of arguments or a dict of named ones"
            )
        return self.task.example

    def run(self, scheduler: lehr.Scheduler) -> Iterator[float]:
        """The training's own updates, each with its loss.

        Raises:
            ValueError: if the data come to their end before the budget, or several processes draw the same.
        """
        if self.ranks.count > 1:
            self._check_shares()
        looks_along = "loss_at" in scheduler.policy.needs
        calls = _Calls(self.training.modules if looks_along else ())
        losses, batches = self.training.run(scheduler), self.training.accumulate
        usual = batches  # calls in an update that only trains; a loss may call its model several times
        if self.placement.compile:
            for module in self.training.modules:
                module.compile()
        try:
            while True:
                looks, _ = scheduler.wants_look, calls.take()
                if (loss := next(losses, None)) is None:
                    break
                if looks:
                    self.probe_passes += max(0, round(calls.take() * batches / usual) - batches)
                else:
                    usual = calls.take() or usual
                yield self.ranks.mean(loss.item())
        finally:
            calls.remove()
        if not scheduler.finished:
            raise ValueError(
                f"TrainingTask: the batches came to their end after {scheduler.updates} updates, before the budget of "
                f"{scheduler.budget}; give lehr.Training a loader, or a function that returns an iterator for an epoch"
            )

    def evaluate_validation(self) -> Score:
        """What `validate` says."""
        return self._score("validate")

    def evaluate_test(self) -> Score:
        """What `test` says."""
        return self._score("test")

    def _check_shares(self) -> None:
        """See whether processes with the same weights draw batches of their own."""
        self._replicas = self.ranks.alike(self._weights())
        if not self._replicas or self.training.batches.loader == [None]:  # each has a part of the weights; no batches
            return
        with lehr.untouched(self.training.batches):
            first = content_hash(next(self.training.batches, None))
        if self.ranks.alike(first):
            raise ValueError(
                f"TrainingTask: all {self.ranks.count} processes of a run draw the same batches; give each its share "
                "in make_training, as for torchrun: DataLoader(..., sampler=DistributedSampler(dataset))"
            )

    def _check_together(self) -> None:
        """See whether processes that began with the same weights still have them."""
        if self._replicas and not self.ranks.alike(self._weights()):
            raise ValueError(
                f"TrainingTask: the {self.ranks.count} processes of a run have come to other weights, since each "
                "trains by itself; have make_training wrap the model, as for torchrun: DistributedDataParallel(model)"
            )

    def _weights(self) -> str:
        """A hash of a sample of every weight that trains."""
        weights = (p.detach() for module in self.training.modules for p in module.parameters() if p.requires_grad)
        local = map(own_part, weights)
        return content_hash([p.flatten()[:: max(1, p.numel() // SAMPLED)] for p in local])

    def _score(self, name: str) -> Score:
        self._check_together()
        with _undisturbed(self.training), self.placement.autocast():
            said = getattr(self.task, name)(self.training)
            self.evaluation_passes += 1
            decides = self.task.criterion.name
            numbers = {key: _number(name, value) for key, value in _by_name(said, decides).items()}
        if decides not in numbers:
            raise ValueError(
                f"TrainingTask: {name} must return a number named {decides!r}, as criterion says; got "
                f"{', '.join(numbers) or 'none'}"
            )
        value, loss = numbers.pop(decides), numbers.pop("loss", None) if decides != "loss" else numbers[decides]
        return Score(value, loss, numbers)


def _made(task: TrainingTask, seed: int) -> lehr.Training:
    training = task.make_training(seed)
    if not isinstance(training, lehr.Training):
        raise ValueError(f"TrainingTask: make_training must return a lehr.Training; got {type(training).__name__}")
    if training.has_schedulers:
        raise ValueError(
            "TrainingTask: make_training returned a training that steps a scheduler of its own, which would set the "
            "rate against the method; leave that scheduler out"
        )
    for module in training.modules:
        check_new(module, "TrainingTask: make_training")
    return training


def _by_name(said: Any, name: str) -> Mapping[str, Any]:
    return said if isinstance(said, Mapping) else {name: said}


def _number(name: str, value: Any) -> float:
    if isinstance(value, Tensor) and value.numel() != 1:
        raise ValueError(f"TrainingTask: {name} must return numbers; got a tensor of shape {tuple(value.shape)}")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"TrainingTask: {name} must return a number, or numbers by name; got {shown(value)}") from None


@contextmanager
def _undisturbed(training: lehr.Training) -> Iterator[None]:
    """Evaluation mode without gradients; then modes and random numbers are as before."""
    modes = [(one, one.training) for module in training.modules for one in module.modules()]
    random = lehr.RandomState()
    state = random.state_dict()
    try:
        for module in training.modules:
            module.eval()
        with torch.no_grad():
            yield
    finally:
        for one, mode in modes:
            one.training = mode
        random.load_state_dict(state)


class _Calls:
    """Counts the calls of the module that is called first, which is the outermost."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self.count = 0
        self._outermost: nn.Module | None = None
        every = {id(one): one for module in modules for one in module.modules()}
        self._hooks = {key: one.register_forward_pre_hook(self._note) for key, one in every.items()}

    def _note(self, module: nn.Module, inputs: Any) -> None:
        if self._outermost is None:
            self._outermost = module
            self._remove(key for key in list(self._hooks) if key != id(module))
        self.count += 1

    def take(self) -> int:
        """The calls since this was asked last."""
        count, self.count = self.count, 0
        return count

    def remove(self) -> None:
        """Leave the modules alone."""
        self._remove(list(self._hooks))

    def _remove(self, keys: Iterable[int]) -> None:
        for key in keys:
            self._hooks.pop(key).remove()
