"""The result of a range test: the numbers, what they suggest, and their picture."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, NoReturn, get_args

from lehr._numbers import floats, shown
from lehr.trials import drawing, rules
from lehr.trials.curve import smoothed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Ending = Literal["high", "diverged", "not finite"]


@dataclass(frozen=True)
class RangeTestResult:
    """The rates that a range test tried, the loss at each, and what they suggest.

    Suggestions look at the smooth course of the loss without its first tenth, and say so instead of answering where the
    test was too short, or the loss never fell or never rose; all lie below the edge. Rates are those of the first
    parameter group; the others keep their ratio to it.

    Args:
        rates: the learning rate of each update, above 0, rising.
        losses: the loss of each, from before the update; over several processes the mean. Only the last may be other
            than finite, of a test that ended "not finite".
        metrics: the metric of each update, if the training's loss gave one.
        evaluations: pairs of a rate and what `evaluate` said after it.
        ending: why the test ended: it reached "high", the loss "diverged", or was "not finite".
        higher_is_better: whether more of the metric is better.

    Raises:
        ValueError: if they are not numbers of a range test.

    >>> rates = [10 ** (k / 20 - 4) for k in range(100)]
    >>> losses = [2.0 if k < 30 else 2.0 - 0.03 * (k - 30) if k < 80 else 0.5 + 0.4 * (k - 80) for k in range(100)]
    >>> result = RangeTestResult(rates, losses)
    >>> round(result.valley(), 4), round(result.edge(), 2)
    (0.0316, 0.79)
    """

    rates: list[float]
    losses: list[float]
    metrics: list[float] | None = None
    evaluations: list[tuple[float, float]] | None = None
    ending: Ending = "high"
    higher_is_better: bool = True

    def __post_init__(self) -> None:
        if self.ending not in get_args(Ending):
            raise _wrong(f"ending must be one of {', '.join(get_args(Ending))}; got {shown(self.ending)}")
        if not isinstance(self.higher_is_better, bool):
            raise _wrong(f"higher_is_better must be True or False; got {shown(self.higher_is_better)}")
        for name in ("rates", "losses", *(() if self.metrics is None else ("metrics",))):
            if (numbers := floats(getattr(self, name))) is None:
                raise _wrong(f"{name} must be a list of numbers; got {shown(getattr(self, name))}")
            object.__setattr__(self, name, numbers)
        if self.evaluations is not None:
            object.__setattr__(self, "evaluations", _pairs(self.evaluations))
        self._check_points()

    def _check_points(self) -> None:
        if len(self.losses) != len(self.rates):
            raise _wrong(f"there are {len(self.rates)} rates, but {len(self.losses)} losses")
        if self.metrics is not None and len(self.metrics) != len(self.rates):
            raise _wrong(f"there are {len(self.rates)} rates, but {len(self.metrics)} metrics")
        rates = [self.rates, [] if self.evaluations is None else [rate for rate, _ in self.evaluations]]
        if not all(0.0 < rate < math.inf for row in rates for rate in row):
            raise _wrong("rates must be finite, and above 0")
        if not all(one <= two for row in rates for one, two in pairwise(row)):
            raise _wrong("rates must rise")
        if not all(map(math.isfinite, self._finite()[1])):
            raise _wrong("losses must be finite, but for the last of a test whose ending is 'not finite'")

    def steepest(self) -> float:
        """Where the smooth loss falls fastest, below the edge; see `steepest_rate`."""
        return rules.steepest_rate(*self._below_the_edge())

    def valley(self) -> float:
        """Half-way down the longest fall below the edge, which is on the safe side; see `valley_rate`."""
        return rules.valley_rate(*self._below_the_edge())

    def slide(self) -> float:
        """Left of the last change of slope; see `slide_rate`."""
        rate, edge = rules.slide_rate(*self._judged()), self.edge()
        if rate > edge:
            raise rules.NoSuggestion(f"slide comes to {rate:.3g}, beyond the edge of {edge:.3g}")
        return rate

    def minimum(self) -> float:
        """A tenth of where the smooth loss is lowest; see `minimum_rate`."""
        return rules.minimum_rate(*self._judged())

    def edge(self) -> float:
        """The largest rate that the model bore; see `edge_rate`."""
        return rules.edge_rate(*self._rising(), rose=self.ending != "high")

    def bounds(self) -> tuple[float, float]:
        """Smith's base_lr and max_lr, from `evaluate`, else the metric, else the loss; see `clr_bounds`.

        Evaluations are passed over if there are fewer than ten.
        """
        sign = 1.0 if self.higher_is_better else -1.0
        rates, losses = self._rising()
        rows = list(zip(rates, [-loss for loss in losses], strict=True))
        if self.metrics is not None:
            rows = [(rate, sign * metric) for rate, metric in zip(rates, self.metrics, strict=False)]
        if self.evaluations and len(self.evaluations) >= rules.FEWEST:
            rows = [(rate, sign * score) for rate, score in self.evaluations]
        rows = [(rate, score) for rate, score in rows if math.isfinite(score)]
        return rules.clr_bounds([rate for rate, _ in rows], [score for _, score in rows], rose=self.ending != "high")

    def suggestions(self) -> dict[str, float | None]:
        """All single rates by name; None where there is no answer."""
        ways: dict[str, Callable[[], float]] = {
            "steepest": self.steepest, "valley": self.valley, "slide": self.slide, "minimum": self.minimum,
            "edge": self.edge,
        }  # fmt: skip
        return {name: _or_none(way) for name, way in ways.items()}

    def plot(self, axes: Axes | None = None) -> Axes:
        """Draw losses and suggestions with matplotlib, on `axes` or a new figure.

        Raises:
            ImportError: if matplotlib is not installed.
            ValueError: if there is no finite loss.
        """
        rates, losses = self._finite()
        if not losses:
            raise ValueError("RangeTestResult.plot: there is no finite loss to draw")
        return drawing.draw(axes, rates, losses, self.suggestions(), self._scores())

    def _repr_html_(self) -> str:
        """The course of the loss and the suggestions, for notebooks."""
        rates, losses = self._finite()
        return drawing.as_html(rates, losses, str(self)) if losses else f"<code>{escape(str(self))}</code>"

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data, such as for a data frame of `rates` and `losses`."""
        return asdict(self)

    def to_json(self) -> str:
        """Everything as text; a number that is not finite becomes null."""
        return json.dumps(_plain(self.to_dict()), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> RangeTestResult:
        """What `to_json` wrote, again.

        Raises:
            ValueError: if it is something else.
        """
        try:
            return cls(**_arguments(text, {field.name for field in fields(cls)}))
        except RecursionError:
            raise ValueError("this is not what RangeTestResult.to_json writes: it is nested too deeply") from None
        except (TypeError, ValueError) as error:
            raise ValueError(f"this is not what RangeTestResult.to_json writes: {error}") from None

    def _finite(self) -> tuple[list[float], list[float]]:
        """Without a last loss that is not finite."""
        length = len(self.losses) - (self.ending == "not finite")
        return self.rates[:length], self.losses[:length]

    def _rising(self) -> tuple[list[float], list[float]]:
        """The same, of a test from which something can be read off."""
        rows = [self.rates, [rate for rate, _ in self.evaluations or ()]]
        if not all(one < two for row in rows for one, two in pairwise(row)):
            raise rules.NoSuggestion("the rate stays the same from one update to the next: raise high")
        return self._finite()

    def _scores(self) -> drawing.Scores | None:
        """What is drawn beside the loss: evaluations, else the smooth metric."""
        try:
            bounds = self.bounds()
        except rules.NoSuggestion:
            bounds = None
        if self.evaluations:
            rates, scores = map(list, zip(*self.evaluations, strict=True))
            return drawing.Scores("evaluated", rates, scores, bounds)
        if self.metrics is None:
            return None
        rates = self._finite()[0]
        return drawing.Scores("metric", rates, smoothed(self.metrics[: len(rates)]), bounds)

    def _judged(self) -> tuple[list[float], list[float]]:
        """The smooth course without its first tenth."""
        rates, losses = self._rising()
        line = rules.check_shape(rates, losses, rose=self.ending != "high")
        skip = len(losses) // 10
        return rates[skip:], line.values[skip:]

    def _below_the_edge(self) -> tuple[list[float], list[float]]:
        rates, values = self._judged()
        edge = self.edge()
        length = max(2, sum(rate <= edge for rate in rates))
        return rates[:length], values[:length]

    def __str__(self) -> str:
        shown = [f"{name} {rate:.3g}" for name, rate in self.suggestions().items() if rate is not None]
        reached = {"high": "to the end", "diverged": "until it diverged", "not finite": "until it was not finite"}
        if not self.rates:
            return "no updates"
        what = f"{len(self.rates)} updates from {self.rates[0]:g} to {self.rates[-1]:g}, {reached[self.ending]}"
        if shown:
            return f"{what}: {', '.join(shown)}"
        try:
            self._judged()
        except rules.NoSuggestion as reason:
            return f"{what}: {reason}"
        return what


def _arguments(text: str, names: set[str]) -> dict[str, Any]:
    values = json.loads(text, parse_constant=_refuse)
    if not isinstance(values, dict):
        raise TypeError(f"it is {shown(values)}")
    if different := names ^ set(values):
        raise ValueError(f"{shown(min(different))} is missing, or does not belong there")
    for name in ("losses", "metrics"):
        values[name] = _with_nan(values[name])
    if isinstance(pairs := values["evaluations"], list):
        values["evaluations"] = [_with_nan(pair) for pair in pairs]
    return values


def _pairs(evaluations: Any) -> list[tuple[float, float]]:
    rows = [floats(pair) for pair in evaluations] if isinstance(evaluations, list | tuple) else [None]
    pairs = [(row[0], row[1]) for row in rows if row is not None and len(row) == 2]
    if len(pairs) < len(rows):
        raise _wrong(f"evaluations must be pairs of a rate and a number; got {shown(evaluations)}")
    return pairs


def _wrong(what: str) -> ValueError:
    return ValueError(f"RangeTestResult: {what}")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


def _with_nan(numbers: Any) -> Any:
    """What was written as null is not a number, again."""
    return [math.nan if number is None else number for number in numbers] if isinstance(numbers, list) else numbers


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _or_none(way: Callable[[], float]) -> float | None:
    try:
        return way()
    except rules.NoSuggestion:
        return None
