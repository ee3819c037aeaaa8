"""The tasks that a schedule learns from, each with a network in training."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import torch
from torch import Tensor, nn

from lehr._numbers import LARGEST, SMALLEST, shown
from lehr.mlrsnet.gamma import PublishedGamma
from lehr.mlrsnet.inner import Inner
from lehr.mlrsnet.network import MLRSNetwork
from lehr.mlrsnet.unroll import Loss, Order, Pair, Student, meta_loss, update
from lehr.state.generators import try_numbers
from lehr.state.learners import read_adam, read_weights
from lehr.state.reading import Fields

MOST_ATTEMPTS: Final = 5
"""How often a run may diverge before meta-training gives up."""

MOST_STAGES: Final = 1_000
"""No schedule has more networks."""

FEWEST: Final = 2
"""Examples that are held out at least: batch norm needs two."""


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


class Course:
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
        meta = max(FEWEST, round(held_out * len(inputs)))
        self.meta = (inputs[order[:meta]], targets[order[:meta]])
        self.train = (inputs[order[meta:]], targets[order[meta:]])
        if len(self.train[0]) < task.batch_size:
            raise ValueError(f"meta_train: held_out={held_out} leaves less than a batch of {name_of(task)} to train on")
        self.attempts = 0
        self.student = self._fresh()

    def batch(self, pairs: Pair) -> Pair:
        """A batch drawn at random."""
        index = torch.randint(len(pairs[0]), (min(self.task.batch_size, len(pairs[0])),), generator=self.generator)
        return pairs[0][index], pairs[1][index]

    def state_dict(self) -> dict[str, Any]:
        """The student, and where the random numbers are."""
        student = self.student
        return {
            "params": student.params, "buffers": student.buffers, "optimizer": student.optimizer,
            "lstm": list(student.lstm), "gamma": student.gamma, "attempts": self.attempts,
            "generator": self.generator.get_state(),
        }  # fmt: skip

    def read(self, where: str, state: Any) -> Callable[[], None]:
        """What goes on from a state, once it is checked.

        Raises:
            ValueError: if it is no state of this task's.
        """
        fields, student = Fields(where, state), self.student
        attempts = fields.whole("attempts", high=MOST_ATTEMPTS - 1)
        numbers = fields.any("generator")
        try_numbers(fields, "generator", numbers, torch.Generator())
        pair = fields.any("lstm")
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise fields.error("lstm", "a list of two tensors", pair)
        cell = _like(
            Fields(where, {"lstm": dict(zip("hc", pair, strict=True))}),
            "lstm", dict(zip("hc", student.lstm, strict=True)),
        )  # fmt: skip
        student = replace(
            student, params=_like(fields, "params", student.params), buffers=_like(fields, "buffers", student.buffers),
            optimizer=_like(fields, "optimizer", student.optimizer), lstm=(cell["h"], cell["c"]),
            gamma=fields.number("gamma", SMALLEST, LARGEST),
        )  # fmt: skip

        def go_on() -> None:
            self.attempts, self.student = attempts, student
            self.generator.set_state(numbers)

        return go_on

    def restart(self) -> None:
        """From new weights, after training diverged."""
        self.attempts += 1
        if self.attempts >= MOST_ATTEMPTS:
            raise ValueError(f"meta_train: training of {name_of(self.task)} diverges again and again; lower gamma")
        self.student = self._fresh()

    def _fresh(self) -> Student:
        torch.manual_seed(self.seed + 7 * self.attempts)
        model = self.task.model()
        if not isinstance(model, nn.Module):
            raise TypeError(
                f"meta_train: model of {name_of(self.task)} must return a torch.nn.Module; got {type(model).__name__}"
            )
        params = {name: value.detach().clone() for name, value in model.named_parameters() if value.requires_grad}
        buffers = {name: value.detach().clone() for name, value in model.named_buffers()}
        if not params:
            raise ValueError(f"meta_train: model of {name_of(self.task)} has no weights to train")
        zeros = torch.zeros(1, 1)
        student = Student(
            params, buffers, self.inner.start(params), (zeros, zeros), 1.0, copy.deepcopy(model), self.task.loss,
            self.inner, clip_norm=getattr(self.task, "clip_norm", None),
        )  # fmt: skip
        self._try(student)
        return replace(student, gamma=self._scale(student))

    def _try(self, student: Student) -> None:
        """Whether the loss can be trained on; no random number is spent on it."""
        batch = (self.train[0][: self.task.batch_size], self.train[1][: self.task.batch_size])
        with torch.random.fork_rng(devices=[]):
            loss: object = student.apart().loss_on(batch)
        if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.requires_grad:
            raise ValueError(
                f"meta_train: loss of {name_of(self.task)} must return a tensor of one number that follows from the "
                f"weights; got {shown(loss)}"
            )

    @torch.no_grad()
    def _scale(self, student: Student) -> float:
        if not isinstance(self.gamma, PublishedGamma | None):
            return self.gamma
        loss = float(student.apart().loss_on(self.batch(self.train)))
        if self.gamma is not None:
            return self.gamma(loss)
        targets = self.train[1]
        if targets.is_floating_point():
            raise ValueError("meta_train: gamma must be given where targets are not classes, such as gamma=0.1")
        return PublishedGamma(max(2, int(targets.max()) + 1))(loss)


class MetaTraining:
    """Everything that changes, so that it can be saved and loaded."""

    def __init__(self, network: MLRSNetwork, courses: list[Course], lr: float, weight_decay: float) -> None:
        self.arguments: dict[str, Any] = {}
        self.network = network
        self.courses = courses
        self.adam = torch.optim.Adam(network.parameters(), lr=lr, weight_decay=weight_decay)
        self.stages: list[MLRSNetwork] = []
        for one in courses:
            one.student = replace(one.student, lstm=network.start())

    def turn(self, index: int, every: int, unroll: int, order: Order) -> MetaStep:
        """Some updates of one task, the last after a meta-update."""
        own = self.courses[index]
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

    def _learn(self, own: Course, batches: Iterable[Pair], order: Order) -> Tensor:
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
            "arguments": self.arguments,
            "network": self.network.state_dict(),
            "adam": self.adam.state_dict(),
            "stages": [stage.state_dict() for stage in self.stages],
            "courses": [one.state_dict() for one in self.courses],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        fields = Fields("the checkpoint of meta_train", state)
        different = Fields(f"{fields.where}: arguments", fields.any("arguments")).different(self.arguments)
        if different:
            raise ValueError(
                f"meta_train: folder holds a run with another {', '.join(different)}; choose another folder"
            )
        courses, given = fields.any("courses"), fields.any("stages")
        if not isinstance(courses, list | tuple) or len(courses) != len(self.courses):
            raise fields.error("courses", f"a list of {len(self.courses)}, one for each task", courses)
        if not isinstance(given, list | tuple) or len(given) > self.arguments.get("stages", MOST_STAGES):
            raise fields.error("stages", "a list of as many networks as there are stages, at most", given)
        stages = [copy.deepcopy(self.network) for _ in given]
        loads = [
            read_weights(f"{fields.where}: network", self.network, fields.any("network")),
            read_adam(f"{fields.where}: adam", self.adam, fields.any("adam")),
            *(
                read_weights(f"{fields.where}: stages", stage, weights)
                for stage, weights in zip(stages, given, strict=True)
            ),
            *(one.read(f"{fields.where}: courses", kept) for one, kept in zip(self.courses, courses, strict=True)),
        ]
        for load in loads:
            load()
        self.stages = stages


def _like(fields: Fields, name: str, mine: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies of tensors by name, of the shapes and types of mine; they may be infinite, as training may diverge."""
    given = fields.table(name)
    same = set(given) == set(mine) and all(
        isinstance(value, Tensor) and value.layout is torch.strided and not value.is_meta
        and value.shape == mine[key].shape and value.dtype == mine[key].dtype
        for key, value in given.items()
    )  # fmt: skip
    if not same:
        raise fields.error(name, f"tensors like those of the task, {len(mine)} by name", given)
    return {key: given[key].detach().clone() for key in mine}


def name_of(task: Learnable) -> str:
    """What to call a task where it is spoken of."""
    return str(getattr(task, "name", "") or type(task).__name__)
