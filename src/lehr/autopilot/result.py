"""What came of a run that `fit` made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lehr.autopilot.drawing import draw_run
from lehr.autopilot.rate_choice import RateChoice
from lehr.policy import Decision

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Ending = Literal["budget spent", "data used up", "interrupted", "not finite"]


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` said, and when.

    Args:
        update: after how many updates.
        progress: share of the budget spent.
        seconds: time spent on training so far, evaluations left out.
        values: by name.

    >>> Evaluation(update=100, progress=0.1, seconds=3.0, values={"accuracy": 0.9}).values["accuracy"]
    0.9
    """

    update: int
    progress: float
    seconds: float
    values: Mapping[str, float]


@dataclass(frozen=True)
class FitResult:
    """What came of a run; print it, or `plot` it.

    Args:
        ending: why it ended: "budget spent", "data used up", "interrupted", or "not finite", for the loss.
        updates: how many there were, those before a restart among them.
        seconds: time spent on training, evaluations left out.
        losses: pairs of an update's number and its loss; of a very long run not all.
        rates: triples of an update's number, the share of the budget spent before it, and the rate of each parameter
            group; of a very long run not all, and since the last restart.
        decisions: those of the policy, if it makes any.
        evaluations: in order.
        peak: base rate of the first group that trains.
        choice: of the autopilot; None for a run that was given its policy.

    >>> print(FitResult("budget spent", 2, 1.0, [(0, 2.0), (1, 1.0)], [], (), (), 0.1))
    budget spent after 2 updates in 1 s: loss 2 at first, 1 at last
    """

    ending: Ending
    updates: int
    seconds: float
    losses: Sequence[tuple[int, float]]
    rates: Sequence[tuple[int, float, tuple[float, ...]]]
    decisions: Sequence[Decision]
    evaluations: Sequence[Evaluation]
    peak: float
    choice: RateChoice | None = None

    def __str__(self) -> str:
        said = f"{self.ending} after {self.updates:,} updates in {self.seconds:.3g} s"
        if self.losses:
            said += f": loss {self.losses[0][1]:.4g} at first, {self.losses[-1][1]:.4g} at last"
        if self.evaluations:
            said += ", " + ", ".join(f"{name} {value:.4g}" for name, value in self.evaluations[-1].values.items())
        return said

    def explain(self) -> str:
        """How the rate was found, and what happened to the run."""
        lines = [] if self.choice is None else [self.choice.explain()]
        lines += [
            f"At {one.progress:.0%} earlier weights were put back, and the peak became {self.peak * one.goal:.3g}."
            for one in self.decisions
            if one.what == "put back"
        ]
        return "\n".join([*lines, str(self)])

    def plot(self) -> Figure:
        """A figure of losses, evaluations and rates over the updates, by matplotlib.

        Raises:
            ImportError: if matplotlib is not installed.
        """
        values: dict[str, list[tuple[int, float]]] = {}
        for evaluation in self.evaluations:
            for name, value in evaluation.values.items():
                values.setdefault(name, []).append((evaluation.update, value))
        marks: list[Any] = [(one.progress, one.what) for one in self.decisions]
        return draw_run(self.losses, values, [(update, rates) for update, _, rates in self.rates], marks)
