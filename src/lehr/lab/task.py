"""The task: what is trained, on what, and how well it did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from lehr.lab.data import Data


@dataclass(frozen=True)
class Metric:
    """A number by which runs are compared.

    Args:
        name: how the report calls it.
        compute: (outputs, targets) -> mean over the examples given, as a tensor of one.
        higher_is_better: whether more is better.
        percent: whether to print it as a percentage.
    """

    name: str
    compute: Callable[[Tensor, Tensor], Tensor]
    higher_is_better: bool = True
    percent: bool = False

    def show(self, value: float, digits: int = 2) -> str:
        """`value` as text.

        >>> ACCURACY.show(0.9712)
        '97.12 %'
        """
        return f"{100 * value:.{digits}f} %" if self.percent else f"{value:.{digits + 2}f}"


def _accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    if targets.is_floating_point() or outputs.shape[:-1] != targets.shape:
        raise ValueError(
            "Task: metric is the accuracy, which needs class numbers as targets and a score for each; got targets "
            f"of {targets.dtype} and shape {tuple(targets.shape)} for outputs of shape {tuple(outputs.shape)}. "
            "For a regression give metric=lab.MEAN_SQUARED_ERROR"
        )
    return (outputs.argmax(-1) == targets).float().mean()


def _mean_squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    if outputs.shape != targets.shape:  # which would broadcast to every pair
        raise ValueError(
            f"Task: metric is the mean squared error, which needs outputs and targets of one shape; got "
            f"{tuple(outputs.shape)} and {tuple(targets.shape)}"
        )
    return (outputs - targets).square().mean()


def _token_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return cross_entropy(outputs.flatten(0, -2), targets.flatten())


ACCURACY = Metric("accuracy", _accuracy, percent=True)
MEAN_SQUARED_ERROR = Metric("mean squared error", _mean_squared_error, higher_is_better=False)
TOKEN_LOSS = Metric("loss per token", _token_loss, higher_is_better=False)


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is trained, on what, and how well it did: all that `lehr compare` needs to know of your work.

    Args:
        model: makes a freshly initialised model; called after the seed is set.
        data: the data, or a function that loads it.
        loss: (outputs, targets) -> mean loss, a tensor of one.
        optimizer: model -> torch optimizer; the rate of its first group is the peak unless a grid chooses another.
        metric: what decides.
        batch_size: training examples an update, above 0.
        budget: what `lehr compare` spends on a run unless told otherwise.
        clip_norm: largest norm of the gradient, if it is clipped.
        about: one line for `lehr tasks`.
    """

    model: Callable[[], nn.Module]
    data: Data | Callable[[], Data]
    loss: Callable[[Tensor, Tensor], Tensor]
    optimizer: Callable[[nn.Module], Optimizer]
    metric: Metric = ACCURACY
    batch_size: int = 64
    budget: str = "10ep"
    clip_norm: float | None = None
    about: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.batch_size, bool) or not isinstance(self.batch_size, int) or self.batch_size < 1:
            raise ValueError(f"Task: batch_size must be a whole number above 0; got {self.batch_size!r}")
        for name in ("model", "loss", "optimizer"):
            if not callable(getattr(self, name)):
                raise TypeError(f"Task: {name} must be a function; got {getattr(self, name)!r}")
        if not isinstance(self.metric, Metric):
            raise TypeError(f"Task: metric must be a lehr.lab.Metric, such as lehr.lab.ACCURACY; got {self.metric!r}")

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


def tokens_in(inputs: Tensor) -> int | None:
    """Tokens an example, for inputs that are sequences of token numbers."""
    return int(inputs[0].numel()) if inputs.dtype in (torch.int64, torch.int32) and inputs.dim() == 2 else None
