"""The training loop's parts: a fresh network, its batches, its updates and its evaluation, all from one seed."""

from __future__ import annotations

import random
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

import lehr
from lehr.lab.data import Data, Pairs
from lehr.lab.task import Task

EVALUATION_BATCH: Final = 1_000

PROBED: Final = 3
"""How many batches a probe looks at."""


class Loop:
    """A task's network at its start, and what trains it.

    Args:
        task: what to train.
        data: its data, loaded.
        seed: of initial weights and batch order, and of nothing else.
        bf16: bfloat16 autocast.
        measures: whether the metric is computed at each update.
    """

    def __init__(self, task: Task, data: Data, seed: int, *, bf16: bool = False, measures: bool = False) -> None:
        for seeded in (torch.manual_seed, random.seed, np.random.seed):  # initial weights may come from any of them
            seeded(seed)
        self.task = task
        self.measures = measures
        self.layout = _Layout(images=data.train[0].dim() == 4, bf16=bf16)
        self.model = self.layout.model(_fresh(task))
        self.optimizer = task.optimizer(self.model)
        self._inputs = data.train[0]
        self.batches: lehr.Batches[Pairs] = lehr.Batches(_batches(data.train, task.batch_size, seed, self.layout))
        self.training = self._training()
        self.evaluation_passes = 0
        self.search_passes = 0
        self.search_seconds = 0.0

    def _training(self) -> lehr.Training:
        return lehr.Training(
            self.model, self.optimizer, self.batches, self._loss,
            autocast=torch.bfloat16 if self.layout.bf16 else None, clip_norm=self.task.clip_norm,
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
        return self.layout.inputs(self._inputs[:2])

    def probe(self) -> lehr.Probe:
        """Looks along the optimizer's step, at the batches that come next."""
        return lehr.Probe(self.training, batches=PROBED)

    @torch.no_grad()
    def evaluate(self, pairs: Pairs) -> tuple[float, float]:
        """Mean loss and metric over a whole set."""
        modes = [(module, module.training) for module in self.model.modules()]  # some may be frozen in eval
        self.model.eval()
        loss, tally = 0.0, self.task.metric.tally()
        for start in range(0, len(pairs[0]), EVALUATION_BATCH):
            inputs, targets = (part[start : start + EVALUATION_BATCH] for part in pairs)
            with self.layout.autocast():
                outputs = self.model(self.layout.inputs(inputs))
            outputs = outputs.float() if outputs.is_floating_point() else outputs
            loss += float(self.task.loss(outputs, targets)) * len(inputs)
            tally.add(outputs, targets, len(inputs))
            self.evaluation_passes += 1
        for module, training in modes:
            module.training = training
        return loss / len(pairs[0]), tally.value()


class _Layout:
    """How numbers are laid out: images with channels last, and matrix products in bfloat16 if that is wanted."""

    def __init__(self, images: bool, bf16: bool) -> None:  # noqa: FBT001 - that is what the class is about
        self.images = images
        self.bf16 = bf16

    def model(self, model: nn.Module) -> nn.Module:
        return model.to(memory_format=torch.channels_last) if self.images else model  # type: ignore[call-overload]

    def inputs(self, inputs: Tensor) -> Tensor:
        return inputs.contiguous(memory_format=torch.channels_last) if self.images else inputs

    def autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast("cpu", dtype=torch.bfloat16) if self.bf16 else nullcontext()


def _batches(pairs: Pairs, size: int, seed: int, layout: _Layout) -> Iterator[Pairs]:
    """Shuffled batches without end, an epoch after another; an epoch's incomplete last batch is left out."""
    inputs, targets = pairs
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(len(inputs), generator=generator)
        for start in range(0, len(order) - size + 1, size):
            batch = order[start : start + size]
            yield layout.inputs(inputs[batch]), targets[batch]


def _fresh(task: Task) -> nn.Module:
    model = task.model()
    if not isinstance(model, nn.Module):
        raise ValueError(f"Task: model must return a torch.nn.Module; got {type(model).__name__}")
    if id(model) in (id(known) for known in _TRAINED):
        raise ValueError("Task: model must make a new network at each call; it returned one that was trained before")
    _TRAINED.add(model)
    return model


_TRAINED: weakref.WeakSet[nn.Module] = weakref.WeakSet()
"""Networks that a loop of this process has had."""
