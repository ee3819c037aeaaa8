"""What a range test found: the numbers, what they suggest, and their picture."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from lehr.trials import rules

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Ending = Literal["high", "diverged", "not finite"]


@dataclass(frozen=True)
class RangeTestResult:
    """What a range test found.

    Suggestions look at the smooth course of the loss without its first tenth, and say so instead of answering where the
    test was too short, or the loss never fell or never rose; all lie below the edge. Rates are those of the first
    parameter group; the others keep their ratio to it.

    Args:
        rates: the learning rate of each update, rising.
        losses: the loss of each, from before the update; over several processes the mean.
        metrics: the metric of each update, if the training's loss gave one.
        evaluations: pairs of a rate and what `evaluate` said after it.
        ending: why the test ended: it reached "high", the loss "diverged", or was "not finite".
        higher_is_better: whether more of the metric is better.

    >>> rates = [10 ** (k / 20 - 4) for k in range(100)]
    >>> losses = [2.0 if k < 30 else 2.0 - 0.03 * (k - 30) if k < 80 else 0.5 + 0.4 * (k - 80) for k in range(100)]
    >>> found = RangeTestResult(rates, losses)
    >>> round(found.valley(), 4), round(found.edge(), 2)
    (0.0316, 0.79)
    """

    rates: list[float]
    losses: list[float]
    metrics: list[float] | None = None
    evaluations: list[tuple[float, float]] | None = None
    ending: Ending = "high"
    higher_is_better: bool = True

    def steepest(self) -> float:
        """Where the smooth loss falls fastest, below the edge; see `steepest_rate`."""
        return rules.steepest_rate(*self._below_the_edge())

    def valley(self) -> float:
        """Half-way down the longest fall below the edge, which is on the safe side; see `valley_rate`."""
        return rules.valley_rate(*self._below_the_edge())

    def slide(self) -> float:
        """Left of the last change of slope; see `slide_rate`."""
        found, edge = rules.slide_rate(*self._judged()), self.edge()
        if found > edge:
            raise rules.NoSuggestion(f"slide comes to {found:.3g}, beyond the edge of {edge:.3g}")
        return found

    def minimum(self) -> float:
        """A tenth of where the smooth loss is lowest; see `minimum_rate`."""
        return rules.minimum_rate(*self._judged())

    def edge(self) -> float:
        """The largest rate that the model bore; see `edge_rate`."""
        return rules.edge_rate(*self._finite(), rose=self.ending != "high")

    def bounds(self) -> tuple[float, float]:
        """Smith's base_lr and max_lr, from `evaluate`, else the metric, else the loss; see `clr_bounds`.

        Evaluations are passed over if there are fewer than ten.
        """
        sign = 1.0 if self.higher_is_better else -1.0
        rates, losses = self._finite()
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
        """
        from lehr.trials.drawing import draw

        return draw(self, axes)

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
            kept = json.loads(text)
            pairs = kept.pop("evaluations")
            for name in ("losses", "metrics"):
                if kept[name] is not None:
                    kept[name] = [math.nan if value is None else float(value) for value in kept[name]]
            known = None if pairs is None else [(float(rate), math.nan if y is None else float(y)) for rate, y in pairs]
            return cls(**kept, evaluations=known)
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise ValueError(f"this is not what RangeTestResult.to_json writes: {error}") from None

    def _finite(self) -> tuple[list[float], list[float]]:
        """Without a last loss that is not finite."""
        length = len(self.losses) - (self.ending == "not finite")
        return self.rates[:length], self.losses[:length]

    def _judged(self) -> tuple[list[float], list[float]]:
        """The smooth course without its first tenth."""
        rates, losses = self._finite()
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
        what = f"{len(self.rates)} updates from {self.rates[0]:g} to {self.rates[-1]:g}, {reached[self.ending]}"
        if shown:
            return f"{what}: {', '.join(shown)}"
        try:
            self._judged()
        except rules.NoSuggestion as reason:
            return f"{what}: {reason}"
        return what


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
