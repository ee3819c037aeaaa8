"""The metric: the number by which runs are compared, computed over a whole set however it is cut into batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lehr._numbers import shown

Score = Callable[[Tensor, Tensor], Any]
"""(outputs, targets) -> a number, as a tensor of one or as a float."""


@dataclass(frozen=True)
class Criterion:
    """How a metric reads: its name, its direction and its unit.

    Args:
        name: how the report calls it.
        higher_is_better: whether more is better.
        percent: whether to print it as a percentage.

    >>> loss = Criterion("loss", higher_is_better=False)
    >>> loss.show(0.25), loss.show_gap(0.5), loss.sign
    ('0.2500', '+0.5000', -1.0)
    """

    name: str
    higher_is_better: bool = True
    percent: bool = False

    @property
    def sign(self) -> float:
        """What to multiply by so that more is better."""
        return 1.0 if self.higher_is_better else -1.0

    @property
    def scale(self) -> float:
        """What to multiply by to have the numbers that are shown."""
        return 100.0 if self.percent else 1.0

    @property
    def title(self) -> str:
        """The name with its unit, for an axis."""
        return f"{self.name} (%)" if self.percent else self.name

    def show(self, value: float, digits: int = 2) -> str:
        """`value` as text.

        >>> Criterion("accuracy", percent=True).show(0.9712)
        '97.12 %'
        """
        return f"{self.scale * value:.{digits}f} %" if self.percent else f"{value:.{digits + 2}f}"

    def show_gap(self, value: float) -> str:
        """A difference as text: percentage points where the metric is a percentage."""
        return f"{100 * value:+.2f}" if self.percent else f"{value:+.4f}"


@runtime_checkable
class Accumulator(Protocol):
    """An object that is shown one batch after another and then asked for its number, such as those of torchmetrics."""

    def update(self, outputs: Tensor, targets: Tensor, /) -> object: ...

    def compute(self) -> Any: ...

    def reset(self) -> object: ...


@runtime_checkable
class _Directed(Protocol):
    """An accumulator that says which direction is better."""

    higher_is_better: bool | None


@dataclass(frozen=True)
class MeanOverExamples:
    """A score that is a mean over examples, so that a set's is the mean of its batches', weighted by their examples.

    Accuracy and mean squared error are; F1, AUC and the root of a mean squared error are not. Saves the memory for the
    outputs of a whole set.

    Args:
        score: (outputs, targets) -> mean over the examples given, as a tensor of one.

    >>> error_rate = MeanOverExamples(lambda outputs, targets: (outputs.argmax(-1) != targets).float().mean())
    >>> Metric("error rate", error_rate, higher_is_better=False, percent=True).show(0.05)
    '5.00 %'
    """

    score: Score

    def __call__(self, outputs: Tensor, targets: Tensor) -> Any:
        return self.score(outputs, targets)


@dataclass(frozen=True)
class Metric:
    """A number by which runs are compared, always that of a whole set.

    Args:
        name: how the report calls it.
        compute: (outputs, targets) -> the number, of all the examples of a set at once, whose outputs are gathered for
            it; or a `MeanOverExamples`, for which nothing is gathered; or an object with `update(outputs, targets)`,
            `compute()` and `reset()`, such as those of torchmetrics.
        higher_is_better: whether more is better; None asks the object, and is True for a function.
        percent: whether to print it as a percentage.

    Raises:
        TypeError: if `compute` is none of these.
        ValueError: if `higher_is_better` is None for an object that does not say it either.

    >>> Metric("root mean squared error", lambda o, t: (o - t).square().mean().sqrt(), higher_is_better=False).show(0.5)
    '0.5000'
    """

    name: str
    compute: Score | MeanOverExamples | Accumulator
    higher_is_better: bool | None = None
    percent: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise TypeError(f"Metric: name must be a text that is not empty; got {shown(self.name)}")
        given: object = self.compute
        accumulates = isinstance(given, Accumulator)
        if not accumulates and not callable(given):
            raise TypeError(
                "Metric: compute must be a function of outputs and targets, or an object with update, compute and "
                f"reset; got {shown(given)}"
            )
        if self.higher_is_better is None:
            better = given.higher_is_better if accumulates and isinstance(given, _Directed) else None
            if accumulates and better is None:
                raise ValueError(
                    f"Metric: higher_is_better must be given, since {type(given).__name__} does not say it: "
                    f"lab.Metric({self.name!r}, ..., higher_is_better=True) or False"
                )
            object.__setattr__(self, "higher_is_better", better is None or bool(better))

    @property
    def criterion(self) -> Criterion:
        """How it reads."""
        return Criterion(self.name, bool(self.higher_is_better), self.percent)

    def show(self, value: float, digits: int = 2) -> str:
        """`value` as text.

        >>> ACCURACY.show(0.9712)
        '97.12 %'
        """
        return self.criterion.show(value, digits)

    def tally(self) -> Tally:
        """What takes a set batch by batch and comes to its number."""
        if isinstance(self.compute, Accumulator):
            self.compute.reset()
            return _Updated(self.name, self.compute)
        return (_Mean if isinstance(self.compute, MeanOverExamples) else _Whole)(self.name, self.compute)

    def of(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The number of one batch by itself, as a tensor of one."""
        if not isinstance(self.compute, Accumulator):
            return torch.as_tensor(self.compute(outputs, targets))
        tally = self.tally()
        tally.add(outputs, targets, len(targets))
        return torch.tensor(tally.value())


def as_metric(given: object) -> Metric:
    """A metric as it is, and an accumulator under the name of its class.

    Raises:
        TypeError: if it is neither.
    """
    if isinstance(given, Metric):
        return given
    if isinstance(given, Accumulator) and not isinstance(given, type):
        return Metric(type(given).__name__, given)
    raise TypeError(
        "Task: metric must be a lehr.lab.Metric, such as lehr.lab.ACCURACY, or an object with update, compute and "
        f"reset; got {shown(given)}"
    )


class Tally(Protocol):
    """Takes a set batch by batch and comes to its number."""

    def add(self, outputs: Tensor, targets: Tensor, examples: int) -> None: ...

    def value(self) -> float: ...


@dataclass
class _Mean:
    name: str
    score: Score
    total: float = 0.0
    examples: int = 0

    def add(self, outputs: Tensor, targets: Tensor, examples: int) -> None:
        self.total += _number(self.name, self.score(outputs, targets)) * examples
        self.examples += examples

    def value(self) -> float:
        return self.total / self.examples


@dataclass
class _Whole:
    name: str
    score: Score
    outputs: list[Tensor] = field(default_factory=list)
    targets: list[Tensor] = field(default_factory=list)
    fits: bool = True

    def add(self, outputs: Tensor, targets: Tensor, examples: int) -> None:
        self.outputs.append(outputs)
        self.targets.append(targets)
        self.fits = self.fits and outputs.dim() > 0 and len(outputs) > 0 and len(outputs) % examples == 0

    def value(self) -> float:
        if len(self.outputs) == 1:
            return _number(self.name, self.score(self.outputs[0], self.targets[0]))
        if not self.fits:
            raise ValueError(
                f"Task: metric {self.name} is computed over a whole set, for which the model's outputs must have the "
                f"examples along their first dimension; got outputs of shape {tuple(self.outputs[0].shape)} for "
                f"{len(self.targets[0])} examples. If it is a mean over examples, wrap it in lab.MeanOverExamples"
            )
        return _number(self.name, self.score(torch.cat(self.outputs), torch.cat(self.targets)))


@dataclass
class _Updated:
    name: str
    accumulator: Accumulator

    def add(self, outputs: Tensor, targets: Tensor, examples: int) -> None:
        self.accumulator.update(outputs, targets)

    def value(self) -> float:
        value = _number(self.name, self.accumulator.compute())
        self.accumulator.reset()
        return value


def _number(name: str, value: Any) -> float:
    if isinstance(value, Tensor) and value.numel() != 1:
        raise ValueError(f"Task: metric {name} must come to one number; got a tensor of shape {tuple(value.shape)}")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"Task: metric {name} must come to one number; got {shown(value)}") from None


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


def token_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """The mean cross-entropy of all tokens."""
    return cross_entropy(outputs.flatten(0, -2), targets.flatten())


ACCURACY = Metric("accuracy", MeanOverExamples(_accuracy), percent=True)
MEAN_SQUARED_ERROR = Metric("mean squared error", MeanOverExamples(_mean_squared_error), higher_is_better=False)
TOKEN_LOSS = Metric("loss per token", MeanOverExamples(token_loss), higher_is_better=False)
