"""The protocols between what can be trained and what trains it: a task, its workload, and the loop of one run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from torch import nn
from torch.optim import Optimizer

import lehr
from lehr._numbers import shown
from lehr.lab.metric import Criterion
from lehr.lab.placement import CPU, Placement


@dataclass(frozen=True)
class Score:
    """What a network came to on a set of data.

    Args:
        value: the number that decides.
        loss: the mean loss; None if it was not asked for.
        numbers: all others, by name.
    """

    value: float
    loss: float | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)


class Loop(Protocol):
    """One run's training and its evaluation, from one seed."""

    training: lehr.Training
    evaluation_passes: int
    search_passes: int
    search_seconds: float

    @property
    def model(self) -> nn.Module:
        """The network."""

    @property
    def optimizer(self) -> Optimizer:
        """The one optimizer, for methods that change its groups.

        Raises:
            ValueError: if there are several.
        """

    @property
    def peak(self) -> float:
        """The rate of the first parameter group that trains."""

    @property
    def probe_passes(self) -> int:
        """Forward passes of one batch that probes have made."""

    def set_peak(self, lr: float | None) -> float:
        """Set the rate of the first parameter group that trains, the others keeping their ratio; None leaves it."""

    def regroup(self, groups: list[dict[str, Any]]) -> None:
        """Have the optimizer update these groups, each with all of its options."""

    def example(self) -> Any:
        """What the network is called with; None where it need not be known.

        Raises:
            ValueError: if it must be known and is not.
        """

    def run(self, scheduler: lehr.Scheduler) -> Iterator[float]:
        """Updates until the budget is spent, each with its loss; ends early at one that is not finite, if it can."""

    def evaluate_validation(self) -> Score:
        """How well the network does on the validation set; leaves everything as it was."""

    def evaluate_test(self) -> Score:
        """How well the network does on the test set; leaves everything as it was."""


@runtime_checkable
class Trainable(Protocol):
    """A task, whatever its form: a `Task`, a `TrainingTask`, or a workload itself."""

    @property
    def about(self) -> str:
        """One line for a list of tasks."""

    @property
    def budget(self) -> str:
        """What a run may spend unless told otherwise."""

    @property
    def criterion(self) -> Criterion:
        """How the deciding number reads."""

    def workload(self) -> Workload:
        """The task made ready: its data are loaded."""


class Workload(Trainable, Protocol):
    """A task that is ready for runs."""

    def fingerprint(self) -> str:
        """A hash of the data, since runs on other data cannot be compared."""

    def likeness(self) -> str:
        """A hash of what the task is like, for one that has no name or file by which it could be known again."""

    def budget_of(self, text: str, accumulate: int = 1) -> lehr.Budget:
        """The budget that `text` names, with what is known of epochs, batches and tokens.

        Args:
            text: such as "10ep".
            accumulate: batches of an update.

        Raises:
            ValueError: if it names none.
        """

    def placed(self, placement: Placement) -> Placement:
        """The placement with the device that "auto" stands for.

        Raises:
            ValueError: if this machine has no such device, or the task decides itself what is asked for.
        """

    def loop(self, seed: int, placement: Placement = CPU, *, measures: bool = False) -> Loop:
        """A run at its start.

        Args:
            seed: of initial weights, batch order and all other random numbers.
            placement: where and how it computes.
            measures: whether the metric is computed at each update.
        """


def check_trainable(who: str, task: object) -> None:
    """Whether it is a task.

    Raises:
        TypeError: if not, with who was handed it.
    """
    if not isinstance(task, Trainable):
        raise TypeError(
            f"{who}: task must be a lehr.lab.Task or a lehr.lab.TrainingTask, or one by its name from "
            f"lab.load_task('digits'); got {shown(task)}"
        )
