"""Meta-training: a schedule learns from the training of other networks."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any, Final, Protocol

import torch
from torch import Tensor, nn

from lehr.learned.gamma import PublishedGamma
from lehr.learned.inner import Inner, InnerSGD
from lehr.learned.mlrsnet import MLRSNet
from lehr.learned.network import Cell, MLRSNetwork
from lehr.learned.unroll import Loss, Order, Pair, Student, meta_loss, update
from lehr.state import Checkpoints

MOST_ATTEMPTS: Final = 5
"""How often a run may diverge before meta-training gives up."""


class Learnable(Protocol):
    """What meta-training needs of a task; those of `lehr.lab` have it."""

    @property
    def model(self) -> Callable[[], nn.Module]:
        """Makes a fresh network."""

    @property
    def loss(self) -> Loss:
        """Outputs, targets -> mean loss."""

    @property
    def batch_size(self) -> int:
        """Examples an update."""

    def load(self) -> Any:
        """The data: `train` holds inputs and targets."""


@dataclass(frozen=True)
class MetaStep:
    """What meta-training reports after a meta-update.

    Args:
        progress: share of it that is done.
        updates: of networks so far, all tasks together.
        meta_loss: on the batch held out.
        train_loss: of the last training batch.
        rate: the learning rate that it was trained at.

    >>> MetaStep(progress=0.5, updates=500, meta_loss=1.0, train_loss=0.9, rate=0.1).progress
    0.5
    """

    progress: float
    updates: int
    meta_loss: float
    train_loss: float
    rate: float


def meta_train(
    tasks: Learnable | Sequence[Learnable],
    *,
    updates: int = 1_000,
    every: int = 5,
    unroll: int = 1,
    order: Order = "first",
    inner: Inner | None = None,
    gamma: float | PublishedGamma | None = None,
    meta_lr: float = 1e-3,
    meta_weight_decay: float = 1e-4,
    held_out: float = 0.1,
    hidden: int = 50,
    cell: Cell = "meta-test",
    stages: int = 1,
    seed: int = 0,
    folder: str | PathLike[str] | None = None,
    save_every: int = 200,
    report: Callable[[MetaStep], None] = lambda step: None,
) -> MLRSNet:
    """Train a network that sets learning rates while the networks of some tasks are trained at the rates it sets.

        phi <- Adam(d/dphi L_meta(w - gamma network(L_train(w); phi) direction(w)))

    Every task has a run of its own; they take turns, `every` updates at a time, each turn ending with a meta-update on
    a batch that its network is never trained on.

    Args:
        tasks: one task, or several.
        updates: how long each task is trained, in updates, at least `every`.
        every: updates from one meta-update to the next, at least 1. The authors' code makes one in an epoch.
        unroll: over how many virtual updates the meta-loss looks ahead, at least 1; the authors take 1.
        order: "first" takes gradients for constants, as the authors' code does; "second" is exact. Without difference
            when `unroll` is 1.
        inner: the optimizer of the tasks; `InnerSGD(weight_decay=5e-4)`, the authors', if not given.
        gamma: the largest rate, or a formula for it; `PublishedGamma` at the first loss if not given. Formulas need
            targets that are classes.
        meta_lr: Adam's rate for the schedule, above 0.
        meta_weight_decay: and its weight decay.
        held_out: the share of each task's training data that only the meta-loss sees, above 0 and below 1.
        hidden: size of the network's state.
        cell: which of the published cells to train.
        stages: how many copies of the network to return, from evenly through meta-training, for equal shares of a run.
        seed: of everything.
        folder: where to keep checkpoints; meta-training goes on from what is there.
        save_every: meta-updates from one checkpoint to the next.
        report: told after each meta-update.

    Returns:
        The schedule; its header says how it was trained.

    Raises:
        ValueError: if an argument is out of range, or training diverges again and again.

    Source: Shu et al. 2022 (MLR-SNet), algorithm 1, and the authors' code, with meta data that is truly held out.

    >>> from types import SimpleNamespace
    >>> inputs = torch.randn(200, 4)
    >>> data = SimpleNamespace(train=(inputs, (inputs.sum(1) > 0).long()))
    >>> task = SimpleNamespace(
    ...     model=lambda: torch.nn.Linear(4, 2), load=lambda: data, loss=torch.nn.functional.cross_entropy,
    ...     batch_size=16,
    ... )
    >>> schedule = meta_train(task, updates=20)
    >>> schedule.rates([0.7, 0.6]).shape
    torch.Size([2])
    """
    listed = list(tasks) if isinstance(tasks, Sequence) else [tasks]
    _check(listed, updates, every, unroll, order, meta_lr, held_out, stages, save_every)
    rule = inner if inner is not None else InnerSGD(weight_decay=5e-4)
    torch_state = torch.random.get_rng_state()
    try:
        torch.manual_seed(seed)
        network = MLRSNetwork(hidden, cell)
        classes = [_Class(task, rule, gamma, held_out, seed + 1_000 * i) for i, task in enumerate(listed)]
        training = _MetaTraining(network, classes, meta_lr, meta_weight_decay)
        checkpoints = None if folder is None else Checkpoints(folder, training=training)
        done = (checkpoints.resume() or 0) if checkpoints else 0
        turns = len(listed) * (updates // every)
        for turn in range(done, turns):
            step = training.turn(turn % len(listed), every, unroll, order)
            training.keep_stage(turn + 1, turns, stages)
            report(replace(step, progress=(turn + 1) / turns, updates=(turn + 1) * every))
            if checkpoints and ((turn + 1) % save_every == 0 or turn + 1 == turns):
                checkpoints.save(turn + 1)
    finally:
        torch.random.set_rng_state(torch_state)
    header = {
        "algorithm": "Shu et al. 2022, algorithm 1",
        "updates": updates, "every": every, "unroll": unroll, "order": order, "inner": repr(rule), "gamma": repr(gamma),
        "meta_lr": meta_lr, "meta_weight_decay": meta_weight_decay, "held_out": held_out, "seed": seed,
        "tasks": [_name(task) for task in listed], "torch": torch.__version__,
    }  # fmt: skip
    return MLRSNet(*training.stages, header=header)


class _Class:
    """A task's student, the data it learns from, and the data that judges the schedule."""

    def __init__(
        self, task: Learnable, inner: Inner, gamma: float | PublishedGamma | None, held_out: float, seed: int
    ) -> None:
        inputs, targets = task.load().train
        self.task = task
        self.inner = inner
        self.gamma = gamma
        self.seed = seed
        self.generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(inputs), generator=self.generator)
        meta = max(1, round(held_out * len(inputs)))
        self.meta = (inputs[order[:meta]], targets[order[:meta]])
        self.train = (inputs[order[meta:]], targets[order[meta:]])
        if len(self.train[0]) < task.batch_size:
            raise ValueError(f"meta_train: held_out={held_out} leaves less than a batch of {_name(task)} to train on")
        self.attempts = 0
        self.student = self._fresh()

    def batch(self, pairs: Pair) -> Pair:
        """A batch drawn at random."""
        index = torch.randint(len(pairs[0]), (min(self.task.batch_size, len(pairs[0])),), generator=self.generator)
        return pairs[0][index], pairs[1][index]

    def restart(self) -> None:
        """From new weights, after training diverged."""
        self.attempts += 1
        if self.attempts >= MOST_ATTEMPTS:
            raise ValueError(f"meta_train: training of {_name(self.task)} diverges again and again; lower gamma")
        self.student = self._fresh()

    def _fresh(self) -> Student:
        torch.manual_seed(self.seed + 7 * self.attempts)
        model = self.task.model().train()
        params = {name: value.detach().clone() for name, value in model.named_parameters()}
        buffers = {name: value.detach().clone() for name, value in model.named_buffers()}
        zeros = torch.zeros(1, 1)
        student = Student(
            params, buffers, self.inner.start(params), (zeros, zeros), 1.0, copy.deepcopy(model), self.task.loss,
            self.inner, clip_norm=getattr(self.task, "clip_norm", None),
        )  # fmt: skip
        return replace(student, gamma=self._scale(student))

    @torch.no_grad()
    def _scale(self, student: Student) -> float:
        if isinstance(self.gamma, float | int):
            return float(self.gamma)
        loss = float(student.apart().loss_on(self.batch(self.train)))
        if self.gamma is not None:
            return self.gamma(loss)
        targets = self.train[1]
        if targets.is_floating_point():
            raise ValueError("meta_train: gamma must be given where targets are not classes, such as gamma=0.1")
        return PublishedGamma(max(2, int(targets.max()) + 1))(loss)


class _MetaTraining:
    """Everything that changes, so that it can be saved and loaded."""

    def __init__(self, network: MLRSNetwork, classes: list[_Class], lr: float, weight_decay: float) -> None:
        self.network = network
        self.classes = classes
        self.adam = torch.optim.Adam(network.parameters(), lr=lr, weight_decay=weight_decay)
        self.stages: list[MLRSNetwork] = []
        for one in classes:
            one.student = replace(one.student, lstm=network.start())

    def turn(self, index: int, every: int, unroll: int, order: Order) -> MetaStep:
        """Some updates of one task, the last after a meta-update."""
        own = self.classes[index]
        loss = share = torch.zeros(())
        judged = torch.zeros(())
        for k in range(every):
            batch = own.batch(own.train)
            if k == every - 1:
                judged = self._learn(own, [batch, *(own.batch(own.train) for _ in range(unroll - 1))], order)
            student, loss, share = update(own.student.settled(), self.network, batch, "first")
            own.student = student.settled()
        if not math.isfinite(float(loss)):
            own.restart()
            own.student = replace(own.student, lstm=self.network.start())
        return MetaStep(0.0, 0, float(judged), float(loss), own.student.gamma * float(share))

    def _learn(self, own: _Class, batches: Iterable[Pair], order: Order) -> Tensor:
        judged = meta_loss(own.student, self.network, list(batches), own.batch(own.meta), order)
        self.adam.zero_grad()
        if math.isfinite(float(judged.detach())):
            grads = torch.autograd.grad(judged, list(self.network.parameters()), allow_unused=True)
            for parameter, grad in zip(self.network.parameters(), grads, strict=True):
                parameter.grad = grad
            self.adam.step()
        return judged.detach()

    def keep_stage(self, turn: int, turns: int, stages: int) -> None:
        """Copy the network where its share of meta-training ends."""
        if len(self.stages) < stages and turn >= math.ceil((len(self.stages) + 1) * turns / stages):
            self.stages.append(copy.deepcopy(self.network))

    def state_dict(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "adam": self.adam.state_dict(),
            "stages": [stage.state_dict() for stage in self.stages],
            "classes": [
                {
                    "params": one.student.params, "buffers": one.student.buffers, "optimizer": one.student.optimizer,
                    "lstm": list(one.student.lstm), "gamma": one.student.gamma, "attempts": one.attempts,
                    "generator": one.generator.get_state(),
                }
                for one in self.classes
            ],
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.adam.load_state_dict(state["adam"])
        self.stages = []
        for weights in state["stages"]:
            stage = copy.deepcopy(self.network)
            stage.load_state_dict(weights)
            self.stages.append(stage)
        for one, kept in zip(self.classes, state["classes"], strict=True):
            one.attempts = kept["attempts"]
            one.generator.set_state(kept["generator"])
            h, c = kept["lstm"]
            one.student = replace(
                one.student, params=kept["params"], buffers=kept["buffers"], optimizer=kept["optimizer"],
                lstm=(h, c), gamma=kept["gamma"],
            )  # fmt: skip


def _name(task: Learnable) -> str:
    return str(getattr(task, "name", "") or type(task).__name__)


def _check(
    tasks: list[Any], updates: Any, every: Any, unroll: Any, order: Any, meta_lr: Any, held_out: Any, stages: Any,
    save_every: Any,
) -> None:  # fmt: skip
    if not tasks or not all(callable(getattr(task, "load", None)) for task in tasks):
        raise ValueError("meta_train: tasks must be a task, or several, with model, load, loss and batch_size")
    whole = {"updates": updates, "every": every, "unroll": unroll, "stages": stages, "save_every": save_every}
    for name, value in whole.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"meta_train: {name} must be a whole number, at least 1; got {value!r}")
    if updates < every:
        raise ValueError(f"meta_train: updates must be at least every; got {updates} and {every}")
    if order not in ("first", "second"):
        raise ValueError(f"meta_train: order must be 'first' or 'second'; got {order!r}")
    if not meta_lr > 0.0:
        raise ValueError(f"meta_train: meta_lr must be above 0; got {meta_lr!r}")
    if not 0.0 < held_out < 1.0:
        raise ValueError(f"meta_train: held_out must be above 0 and below 1; got {held_out!r}")
