"""One run: a task trained by one method, from one seed, under one budget."""

from __future__ import annotations

import math
import random
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import lehr
from lehr.lab.data import Data, Pairs
from lehr.lab.methods import Method
from lehr.lab.task import Task, tokens_in

EVALUATION_BATCH = 1_000


@dataclass(frozen=True)
class Settings:
    """How runs are made, the same for all that are compared.

    Args:
        budget: what a run may spend, as text.
        evaluations: how often a run is validated, evenly over the budget; at least 1.
        bf16: bfloat16 autocast; faster only on processors with instructions for it, and much slower on others.
    """

    budget: str
    evaluations: int = 20
    bf16: bool = False


@dataclass
class Run:
    """What came of one run; `curve` holds a row for each evaluation."""

    method: str
    policy: str
    seed: int
    lr: float
    curve: list[dict[str, float]] = field(default_factory=list)
    rates: list[tuple[float, float]] = field(default_factory=list)
    diverged_at: int | None = None
    validation: float | None = None
    test: float | None = None
    updates: int = 0
    seconds: float = 0.0
    forward_passes: int = 0
    evaluation_passes: int = 0
    share: float = 1.0


def budget_for(task: Task, data: Data, text: str) -> lehr.Budget:
    """The budget that `text` names, with what the task knows of its epochs, batches and tokens."""
    tokens = tokens_in(data.train[0])
    return lehr.Budget.parse(
        text,
        steps_per_epoch=len(data.train[0]) // task.batch_size,
        samples_per_step=task.batch_size,
        tokens_per_step=tokens and tokens * task.batch_size,
    )


def train(
    task: Task,
    data: Data,
    method: Method,
    settings: Settings,
    seed: int,
    lr: float | None = None,
    *,
    share: float = 1.0,
    look_at_test: bool = True,
    report: Callable[[float], None] = lambda progress: None,
) -> Run:
    """Train the task once.

    The seed decides the initial weights and the order of batches, and nothing else does, so methods can be compared
    pair by pair. A loss or a result that is not finite marks the run as diverged. Evaluation does not count as time.

    Args:
        task: what to train.
        data: its data, loaded.
        method: by which policy.
        settings: under which budget.
        seed: of initial weights and batch order.
        lr: peak rate of the optimizer's first group, the others keeping their ratios; None leaves the task's own.
        share: how much of the budget to spend, above 0; the schedule is fitted to that, and evaluations are as dense.
        look_at_test: whether to evaluate on the test set at the end.
        report: told the progress now and then.
    """
    for seeded in (torch.manual_seed, random.seed, np.random.seed):  # initial weights may come from any of them
        seeded(seed)
    layout = _Layout(images=data.train[0].dim() == 4, bf16=settings.bf16)
    model = layout.model(_fresh(task))
    optimizer = task.optimizer(model)
    lr = _set_peak(optimizer, lr)
    policy = method.policy()
    run = Run(method.name, repr(policy), seed, lr, share=share)
    evaluations = max(1, round(settings.evaluations * share))
    evaluator = _Evaluator(task, model, layout)
    batches = _batches(data.train, task.batch_size, seed, layout)
    losses: list[float] = []
    due = 1
    scheduler = lehr.Scheduler(optimizer, policy, budget_for(task, data, settings.budget).scaled(share))
    while not scheduler.finished:
        inputs, targets = next(batches)
        optimizer.zero_grad()
        with layout.autocast():
            loss = task.loss(model(inputs), targets)
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            run.diverged_at = scheduler.last_epoch
            break
        scheduler.observe(loss=loss.detach())
        loss.backward()  # type: ignore[no-untyped-call]
        if task.clip_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), task.clip_norm)
        optimizer.step()
        scheduler.step()
        if scheduler.progress >= due / evaluations - 1e-9 or scheduler.finished:
            due = int(scheduler.progress * evaluations + 1e-9) + 1
            with scheduler.paused():
                run.curve.append(_row(scheduler, sum(losses) / len(losses), *evaluator(data.validation)))
                report(scheduler.progress)
            run.forward_passes += len(losses)
            losses.clear()
    run.forward_passes += len(losses)
    run.updates = scheduler.last_epoch
    run.seconds = scheduler.clock.elapsed()
    run.rates = _thinned([(progress, lr * factors[0]) for _, progress, factors in scheduler.history])
    if run.diverged_at is None:
        results = [run.curve[-1]["validation_loss"], run.curve[-1]["validation"]]
        if look_at_test:
            results.append(evaluator(data.test)[1])
        if all(map(math.isfinite, results)):
            run.validation, run.test = results[1], results[2] if look_at_test else None
        else:
            run.diverged_at = scheduler.last_epoch
    run.evaluation_passes = evaluator.passes
    return run


def _fresh(task: Task) -> nn.Module:
    model = task.model()
    if not isinstance(model, nn.Module):
        raise ValueError(f"Task: model must return a torch.nn.Module; got {type(model).__name__}")
    if id(model) in (id(known) for known in _TRAINED):
        raise ValueError("Task: model must make a new network at each call; it returned one that was trained before")
    _TRAINED.add(model)
    return model


_TRAINED: weakref.WeakSet[nn.Module] = weakref.WeakSet()
"""Networks that a run of this process has had."""


def _row(scheduler: lehr.Scheduler, train_loss: float, validation_loss: float, validation: float) -> dict[str, float]:
    return {
        "update": scheduler.last_epoch,
        "progress": scheduler.progress,
        "seconds": scheduler.clock.elapsed(),
        "train_loss": train_loss,
        "validation_loss": validation_loss,
        "validation": validation,
    }


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


class _Evaluator:
    """Mean loss and metric of a model over a whole set."""

    def __init__(self, task: Task, model: nn.Module, layout: _Layout) -> None:
        self.task = task
        self.model = model
        self.layout = layout
        self.passes = 0

    @torch.no_grad()
    def __call__(self, pairs: Pairs) -> tuple[float, float]:
        modes = [(module, module.training) for module in self.model.modules()]  # some may be frozen in eval
        self.model.eval()
        loss, metric = 0.0, 0.0
        for start in range(0, len(pairs[0]), EVALUATION_BATCH):
            inputs, targets = (part[start : start + EVALUATION_BATCH] for part in pairs)
            with self.layout.autocast():
                outputs = self.model(self.layout.inputs(inputs))
            outputs = outputs.float() if outputs.is_floating_point() else outputs
            loss += float(self.task.loss(outputs, targets)) * len(inputs)
            metric += float(self.task.metric.compute(outputs, targets)) * len(inputs)
            self.passes += 1
        for module, training in modes:
            module.training = training
        return loss / len(pairs[0]), metric / len(pairs[0])


def _batches(pairs: Pairs, size: int, seed: int, layout: _Layout) -> Iterator[Pairs]:
    """Shuffled batches without end, an epoch after another; an epoch's incomplete last batch is left out."""
    inputs, targets = pairs
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(len(inputs), generator=generator)
        for start in range(0, len(order) - size + 1, size):
            batch = order[start : start + size]
            yield layout.inputs(inputs[batch]), targets[batch]


def _set_peak(optimizer: torch.optim.Optimizer, lr: float | None) -> float:
    first = float(optimizer.param_groups[0]["lr"])
    if lr is None:
        return first
    if not first:
        raise ValueError(
            "--lr and --lr-grid need a first parameter group whose rate is above 0, to keep the groups' ratios"
        )
    for group in optimizer.param_groups:
        group["lr"] = group["lr"] * (lr / first)
    return lr


def _thinned(rows: list[tuple[float, float]], most: int = 200) -> list[tuple[float, float]]:
    """At most about `most` of the rows, evenly spaced, the last included, to six digits: for a picture."""
    stride = max(1, math.ceil(len(rows) / most))
    thinned = rows[::stride] if (len(rows) - 1) % stride == 0 else [*rows[::stride], rows[-1]]
    return [(float(f"{progress:.6g}"), float(f"{rate:.6g}")) for progress, rate in thinned]
