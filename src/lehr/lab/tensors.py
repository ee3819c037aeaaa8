"""Training on tensors in memory: a fresh network, its batches, its updates and its evaluation, all from one seed."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

import lehr
from lehr.lab.data import Data, Pairs, fingerprint
from lehr.lab.loop import Score
from lehr.lab.metric import Criterion
from lehr.lab.placement import CPU, Placement
from lehr.lab.ranks import Ranks
from lehr.lab.seeds import check_new, seed_everything

if TYPE_CHECKING:  # a task makes its workload
    from lehr.lab.task import Task

EVALUATION_BATCH: Final = 1_000

PROBED: Final = 3
"""How many batches a probe looks at."""

OTHER_RANKS: Final = 2_000_003
"""How far apart the seeds of ranks are, once they have the same weights."""


class TensorWorkload:
    """A task with its data, ready for runs.

    Args:
        task: what to train.
        data: its data, loaded.
    """

    def __init__(self, task: Task, data: Data) -> None:
        self.task = task
        self.data = data

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
        """How the task's metric reads."""
        return self.task.metric.criterion

    def workload(self) -> TensorWorkload:
        """Itself."""
        return self

    def fingerprint(self) -> str:
        """A hash of every number in the data."""
        return fingerprint(self.data)

    def likeness(self) -> str:
        """A hash of a task's network, initial weights, first loss, optimizer, batch size and metric.

        Tasks that differ in nothing of that are taken for one; the data have a hash of their own.
        """
        task, loop = self.task, self.loop(0)
        options = [{k: v for k, v in group.items() if k != "params"} for group in loop.optimizer.param_groups]
        loss = float(loop.training.loss_ahead())
        said = f"{loop.model!r} {type(loop.optimizer).__name__} {options!r} {task.batch_size} {task.clip_norm} "
        digest = hashlib.sha256(re.sub(r"0x[0-9a-f]+", "", f"{said}{self.criterion} {loss:.5g}").encode())
        for weight in loop.model.parameters():
            digest.update(f"{float(weight.detach().double().sum()):.5g}".encode())
        return digest.hexdigest()[:16]

    def budget_of(self, text: str, accumulate: int = 1) -> lehr.Budget:
        """The budget that `text` names, with what the task knows of its epochs, batches and tokens."""
        batches, size = len(self.data.train[0]) // self.task.batch_size, self.task.batch_size * accumulate
        tokens = tokens_in(self.data.train[0])
        return lehr.Budget.parse(
            text,
            steps_per_epoch=batches if accumulate == 1 else batches / accumulate,
            samples_per_step=size,
            tokens_per_step=tokens and tokens * size,
        )

    def placed(self, placement: Placement) -> Placement:
        """The placement with the accelerator of this machine for "auto"."""
        if self.task.batch_size % placement.ranks:
            raise ValueError(
                f"Task: {placement.ranks} processes cannot share batches of {self.task.batch_size} evenly; give "
                "another processes_per_run, or the task another batch_size"
            )
        return placement.on(str(placement.at)).check()

    def loop(self, seed: int, placement: Placement = CPU, *, measures: bool = False) -> TensorLoop:
        """A run at its start."""
        return TensorLoop(self.task, self.data, seed, placement, measures=measures)


def tokens_in(inputs: Tensor) -> int | None:
    """Tokens an example, for inputs that are sequences of token numbers."""
    return int(inputs[0].numel()) if inputs.dtype in (torch.int64, torch.int32) and inputs.dim() == 2 else None


class TensorLoop:
    """A task's network at its start, and what trains it.

    Args:
        task: what to train.
        data: its data, loaded.
        seed: of initial weights and batch order, and of nothing else.
        placement: where and how it computes; weights are made on the CPU and then moved, so that they are the same on
            every device. Of several processes each takes its share of every batch.
        measures: whether the metric is computed at each update.
    """

    def __init__(
        self, task: Task, data: Data, seed: int, placement: Placement = CPU, *, measures: bool = False
    ) -> None:
        seed_everything(seed)
        self.task = task
        self.measures = measures
        self.placement = placement
        self.layout = _Layout(data.train[0].dim() == 4, placement.at)
        self.ranks = Ranks.here(placement.ranks)
        self.model = self.layout.model(_fresh(task))
        self._parallel = lehr.FreezableDataParallel(self.model) if placement.ranks > 1 else self.model
        self.optimizer: Optimizer = task.optimizer(self.model)
        self._data = data
        part = self.ranks.part(task.batch_size)
        self.batches: lehr.Batches[Pairs] = lehr.Batches(_batches(data.train, task, seed, self.layout, part))
        if self.ranks.rank:
            torch.manual_seed(seed + OTHER_RANKS * self.ranks.rank)  # or all would drop out the same units
        self.training = self._training()
        self.evaluation_passes = 0
        self.search_passes = 0
        self.search_seconds = 0.0
        self._probe: lehr.Probe | None = None

    def _training(self) -> lehr.Training:
        return lehr.Training(
            self._parallel, self.optimizer, self.batches, self._loss, autocast=self.placement.half,
            scaler=self.placement.scaler(), accumulate=self.placement.accumulate, clip_norm=self.task.clip_norm,
        )  # fmt: skip

    def _loss(self, model: nn.Module, batch: Pairs) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        inputs, targets = batch
        outputs = model(inputs)
        loss = self.task.loss(outputs, targets)
        if not self.measures:
            return loss
        return loss, {self.task.metric.name: self.task.metric.of(outputs.detach(), targets)}

    def set_peak(self, lr: float | None) -> float:
        """Set the rate of the first parameter group that trains, the others keeping their ratio; None leaves it."""
        if lr is not None:
            self.training.set_peak(lr)
        return self.peak if lr is None else lr

    @property
    def peak(self) -> float:
        """The rate of the first parameter group that trains; 0 if none does."""
        rates = [float(group.get("initial_lr", group["lr"])) for group in self.optimizer.param_groups]
        return next((rate for rate in rates if rate > 0.0), 0.0)

    def regroup(self, groups: list[dict[str, Any]]) -> None:
        """Have the same kind of optimizer update these groups, each with all of its options."""
        self.optimizer = type(self.optimizer)(groups)  # type: ignore[call-arg]
        self.training = self._training()

    def example(self) -> Tensor:
        """The inputs of two training examples."""
        return self.layout.placed(self._data.train[0][:2])

    @property
    def probe_passes(self) -> int:
        """Forward passes that the probe has made."""
        return 0 if self._probe is None else self._probe.forward_passes

    def run(self, scheduler: lehr.Scheduler) -> Iterator[float]:
        """Updates until the budget is spent; none is made with a loss that is not finite, unless the policy recovers.

        Policies that look along the optimizer's step do so at the batches that come next.
        """
        policy = scheduler.policy
        self._probe = lehr.Probe(self.training, batches=PROBED) if "loss_at" in policy.needs else None
        if self.placement.compile:
            self.model.compile()
        while not scheduler.finished:
            loss = self.training.backward()
            number = self.ranks.mean(loss.item())
            if math.isfinite(number) or policy.recovers:
                scheduler.observe(loss=loss, loss_at=self._probe if scheduler.wants_look else None)
                self.training.update()
                scheduler.step()
            yield number

    def evaluate_validation(self) -> Score:
        """Mean loss and metric over the validation set."""
        return self._score(self._data.validation)

    def evaluate_test(self) -> Score:
        """Mean loss and metric over the test set."""
        return self._score(self._data.test)

    def _score(self, pairs: Pairs) -> Score:
        loss, value = self.evaluate(pairs)
        return Score(value, loss)

    @torch.no_grad()
    def evaluate(self, pairs: Pairs) -> tuple[float, float]:
        """Mean loss and metric over a whole set."""
        modes = [(module, module.training) for module in self.model.modules()]  # some may be frozen in eval
        self.model.eval()
        loss, tally = 0.0, self.task.metric.tally()
        for start in range(0, len(pairs[0]), EVALUATION_BATCH):
            inputs, targets = (part[start : start + EVALUATION_BATCH] for part in pairs)
            inputs, targets = self.layout.placed(inputs), targets.to(self.placement.at)
            with self.placement.autocast():
                outputs = self.model(inputs)
            outputs = outputs.float() if outputs.is_floating_point() else outputs
            loss += float(self.task.loss(outputs, targets)) * len(inputs)
            tally.add(outputs, targets, len(inputs))
            self.evaluation_passes += 1
        for module, training in modes:
            module.training = training
        return loss / len(pairs[0]), tally.value()


class _Layout:
    """How numbers are laid out: images with channels last, and on which device."""

    def __init__(self, images: bool, device: torch.device) -> None:  # noqa: FBT001 - that is what the class is about
        self.images = images
        self.device = device

    def model(self, model: nn.Module) -> nn.Module:
        model = model.to(self.device)
        return model.to(memory_format=torch.channels_last) if self.images else model  # type: ignore[call-overload]

    def inputs(self, inputs: Tensor) -> Tensor:
        return inputs.contiguous(memory_format=torch.channels_last) if self.images else inputs

    def placed(self, inputs: Tensor) -> Tensor:
        return self.inputs(inputs).to(self.device)


def _batches(pairs: Pairs, task: Task, seed: int, layout: _Layout, part: slice) -> Iterator[Pairs]:
    """That part of shuffled batches without end; of an epoch an incomplete last batch is left out."""
    inputs, targets = pairs
    size, augment = task.batch_size, task.augment or _as_it_is
    generator = torch.Generator().manual_seed(seed)
    others = torch.Generator().manual_seed(seed)  # of its own, so that the order is the same whatever augments
    while True:
        order = torch.randperm(len(inputs), generator=generator)
        for start in range(0, len(order) - size + 1, size):
            batch = order[start : start + size]
            yield layout.inputs(augment(inputs[batch], others)[part]), targets[batch][part]


def _as_it_is(inputs: Tensor, generator: torch.Generator) -> Tensor:
    return inputs


def _fresh(task: Task) -> nn.Module:
    model = task.model()
    if not isinstance(model, nn.Module):
        raise ValueError(f"Task: model must return a torch.nn.Module; got {type(model).__name__}")
    check_new(model, "Task: model")
    return model
