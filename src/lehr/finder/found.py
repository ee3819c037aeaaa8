"""What a range test found: the numbers, what they suggest, and their picture."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from lehr.finder import suggest
from lehr.finder.curve import smoothed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Ending = Literal["high", "diverged", "not finite"]


@dataclass(frozen=True)
class Found:
    """What a range test found.

    Suggestions look at the smoothed loss without its first tenth, and say so instead of answering where the test was
    too short, or the loss never fell or never rose. Rates are those of the first parameter group; the others keep their
    ratio to it.

    Args:
        rates: the learning rate of each update, rising.
        losses: the loss of each, before the update; over several processes the mean.
        metrics: the metric of each update, if `train_step` returned one.
        evaluations: pairs of a rate and what `evaluate` said after it.
        ending: why the test ended: it reached "high", the loss "diverged", or was "not finite".
        higher_is_better: whether more of the metric is better.

    >>> rates = [10 ** (k / 20 - 4) for k in range(100)]
    >>> losses = [2.0 if k < 30 else 2.0 - 0.03 * (k - 30) if k < 80 else 0.5 + 0.4 * (k - 80) for k in range(100)]
    >>> found = Found(rates, losses)
    >>> round(found.valley(), 4), round(found.edge(), 2)
    (0.0316, 0.89)
    """

    rates: list[float]
    losses: list[float]
    metrics: list[float] | None = None
    evaluations: list[tuple[float, float]] | None = None
    ending: Ending = "high"
    higher_is_better: bool = True

    def steepest(self) -> float:
        """Where the smoothed loss falls fastest; see `steepest_rate`."""
        return suggest.steepest_rate(*self._judged())

    def valley(self) -> float:
        """Half-way down the longest fall; see `valley_rate`. A good first choice."""
        return suggest.valley_rate(*self._judged())

    def slide(self) -> float:
        """Left of the last change of slope; see `slide_rate`."""
        return suggest.slide_rate(*self._judged())

    def minimum(self) -> float:
        """A tenth of where the smoothed loss is lowest; see `minimum_rate`."""
        return suggest.minimum_rate(*self._judged())

    def edge(self) -> float:
        """The largest rate that the model bore; see `edge_rate`."""
        return suggest.edge_rate(*self._finite(), rose=self.ending != "high")

    def bounds(self) -> tuple[float, float]:
        """Smith's base_lr and max_lr, from `evaluate`, else the metric, else the loss; see `clr_bounds`."""
        sign = 1.0 if self.higher_is_better else -1.0
        if self.evaluations:
            scores = [sign * score for _, score in self.evaluations]
            return suggest.clr_bounds([rate for rate, _ in self.evaluations], scores)
        rates, losses = self._finite()
        if self.metrics is not None:
            return suggest.clr_bounds(rates, [sign * metric for metric in self.metrics[: len(rates)]])
        return suggest.clr_bounds(rates, [-loss for loss in losses])

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
        """
        from lehr.finder.drawing import draw

        return draw(self, axes)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data, such as for a data frame of `rates` and `losses`."""
        return asdict(self)

    def to_json(self) -> str:
        """Everything as text."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, text: str) -> Found:
        """What `to_json` wrote, again.

        Raises:
            ValueError: if it is something else.
        """
        try:
            kept = json.loads(text)
            pairs = kept.pop("evaluations")
            return cls(**kept, evaluations=None if pairs is None else [(rate, score) for rate, score in pairs])
        except (TypeError, KeyError, AttributeError, json.JSONDecodeError) as error:
            raise ValueError(f"this is not what Found.to_json writes: {error}") from None

    def _finite(self) -> tuple[list[float], list[float]]:
        """Without a last loss that is not finite."""
        length = len(self.losses) - (self.ending == "not finite")
        return self.rates[:length], self.losses[:length]

    def _judged(self) -> tuple[list[float], list[float]]:
        rates, losses = self._finite()
        suggest.check_shape(rates, losses, rose=self.ending != "high")
        skip = len(losses) // 10
        return rates[skip:], smoothed(losses)[skip:]

    def __str__(self) -> str:
        shown = [f"{name} {rate:.3g}" for name, rate in self.suggestions().items() if rate is not None]
        reached = {"high": "to the end", "diverged": "until it diverged", "not finite": "until it was not finite"}
        what = f"{len(self.rates)} updates from {self.rates[0]:g} to {self.rates[-1]:g}, {reached[self.ending]}"
        if shown:
            return f"{what}: {', '.join(shown)}"
        try:
            self._judged()
        except suggest.NoSuggestion as reason:
            return f"{what}: {reason}"
        return what


def _or_none(way: Callable[[], float]) -> float | None:
    try:
        return way()
    except suggest.NoSuggestion:
        return None
