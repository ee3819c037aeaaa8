"""The task: what is trained, on what, and how well it did."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from lehr._arguments import function_argument, number_argument, text_argument, whole_argument
from lehr._numbers import SMALLEST
from lehr.lab.data import Data
from lehr.lab.metric import ACCURACY, Criterion, Metric, as_metric
from lehr.lab.tensors import TensorWorkload


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is trained, on what, and how well it did: all that `lehr compare` needs to know of your work.

    Args:
        model: makes a freshly initialised model; called after the seed is set.
        data: the data, or a function that loads it.
        loss: (outputs, targets) -> mean loss, a tensor of one.
        optimizer: model -> torch optimizer; the rate of its first group is the peak unless a grid chooses another.
        metric: what decides: a `Metric`, or an object with `update`, `compute` and `reset`, such as those of
            torchmetrics, which is made one.
        batch_size: training examples an update, above 0.
        budget: what `lehr compare` spends on a run unless told otherwise.
        clip_norm: largest norm of the gradient, if it is clipped.
        augment: (inputs of a training batch, random numbers) -> what the network sees of them; None leaves them alone.
        about: one line for `lehr tasks`.

    >>> numbers = torch.arange(8.0).reshape(8, 1)
    >>> task = Task(
    ...     model=lambda: nn.Linear(1, 1),
    ...     data=Data((numbers, 2 * numbers), (numbers, 2 * numbers), (numbers, 2 * numbers)),
    ...     loss=nn.functional.mse_loss,
    ...     optimizer=lambda model: torch.optim.SGD(model.parameters(), lr=0.01),
    ...     metric=Metric("error", nn.functional.mse_loss, higher_is_better=False),
    ...     batch_size=4,
    ... )
    >>> len(task.load().train[0]), task.criterion.name
    (8, 'error')
    """

    model: Callable[[], nn.Module]
    data: Data | Callable[[], Data]
    loss: Callable[[Tensor, Tensor], Tensor]
    optimizer: Callable[[nn.Module], Optimizer]
    metric: Metric = ACCURACY
    batch_size: int = 64
    budget: str = "10ep"
    clip_norm: float | None = None
    augment: Callable[[Tensor, Generator], Tensor] | None = None
    about: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "batch_size", whole_argument("Task: batch_size", self.batch_size))
        if self.clip_norm is not None:
            norm = number_argument("Task: clip_norm", self.clip_norm, SMALLEST, math.inf)
            object.__setattr__(self, "clip_norm", norm)
        given = {"model": "nothing", "loss": "outputs and targets", "optimizer": "the network"}
        for name, of in given.items():
            function_argument(f"Task: {name}", getattr(self, name), of)
        if not isinstance(self.data, Data):
            function_argument("Task: data, where it is no lehr.lab.Data,", self.data, "nothing, which returns one")
        if self.augment is not None:
            function_argument("Task: augment", self.augment, "inputs and random numbers")
        for name in ("budget", "about"):
            text_argument(f"Task: {name}", getattr(self, name))
        object.__setattr__(self, "metric", as_metric(self.metric))

    def load(self) -> Data:
        """The data, loaded if need be."""
        data = self.data if isinstance(self.data, Data) else self.data()
        if not isinstance(data, Data):
            raise TypeError(
                f"Task: data must be a lehr.lab.Data or a function that returns one; got {type(data).__name__}"
            )
        if len(data.train[0]) < self.batch_size:
            raise ValueError(
                f"Task: batch_size {self.batch_size} is more than the {len(data.train[0])} training examples"
            )
        return data

    @property
    def criterion(self) -> Criterion:
        """How the metric reads."""
        return self.metric.criterion

    def workload(self) -> TensorWorkload:
        """The task with its data loaded, ready for runs."""
        return TensorWorkload(self, self.load())
