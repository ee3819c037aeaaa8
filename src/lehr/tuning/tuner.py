"""LRTuner: the learning rate found while training, by looking along the optimizer's own step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final, cast, get_args

from lehr._numbers import plain, shown
from lehr.policy import Decision, Moment, Policy, Recovery
from lehr.policy.decision import What
from lehr.schedules import Linear, Schedule
from lehr.state.reading import Fields
from lehr.tuning.rule import STEPS, Limits, State, decide, wants_look

MOST: Final = 100_000
"""No run has more decisions."""

MOST_STEPS: Final = 100
"""No probe has more trial steps."""

USUAL: Final = 3
"""How many batches a look is taken to see before there was one."""


class LRTuner(Policy):
    """Searches for the peak learning rate in the first third of the run, then anneals to zero.

        phi(r) = L(theta + r Delta) = L - a r + b r^2 / 2,    r* = a / b

    Before the first update, a line search finds the longest step that does not raise the loss; training starts a
    thousand times below it. Then the rate climbs for as long as the best trial step along the optimizer's own update
    is more than twice the real one (r* > 2), and not by chance. It rises further while what recent probes say together,
    as a / lr and b / lr^2, has the loss fall with steps of that length. From `explore` on it follows `anneal`. If the
    loss blows up, earlier weights are put back and the rate is divided by 4.

    The base rates of the parameter groups set the scale and the ratios; the tuner may go far above and below.

    A `lehr.Training` gives it what it needs: `for loss in training.run(scheduler)`. In a loop of your own, call
    `scheduler.observe(loss=..., loss_at=lehr.Probe(training, batches=3))` between `backward()` and the update. With a
    plain function for `loss_at` losses are taken for exact. One copy of weights and optimizer state is kept, and goes
    into checkpoints.

    Args:
        explore: until which share of the budget to probe, above 0 and below 1.
        overhead: how much probing may cost, as a share of what training costs (a forward pass counts as a third of an
            update); above 0. Six probes are made even if that is more, and up to ten while the rate climbs.
        low: the lowest factor of the base rates, at least 0.
        high: the highest factor.
        anneal: the curve after that, from 1; `Linear()` if not given.

    Raises:
        ValueError: if an argument is out of range.

    Source:
        Built from the abstract of Iyer, Thejas, Kwatra, Ramjee and Sivathanu 2021 (LRTuner, arXiv 2105.14526),
        and from its relatives: trial steps of GeN (Xu et al. 2025) and LQA (Zhu et al. 2020), exploring before
        annealing of Knee (Iyer et al. 2023). The climb and the pooling are this library's.

    >>> curve = lambda r: (1.0 - 0.02 * r) ** 2
    >>> tuner = LRTuner()
    >>> round(tuner.factors(Moment(0.0, loss=1.0, loss_at=curve)), 3)
    0.316
    >>> tuner.history[0].what
    'look'
    """

    needs = ("loss", "loss_at")

    def __init__(
        self,
        *,
        explore: float = 0.35,
        overhead: float = 0.05,
        low: float = 0.0,
        high: float = math.inf,
        anneal: Schedule | None = None,
    ) -> None:
        self.explore, self.overhead = _number("explore", explore), _number("overhead", overhead)
        self.low, self.high = _number("low", low), _number("high", high)
        _check(self.explore, self.overhead, self.low, self.high, anneal)
        self.anneal = Linear() if anneal is None else anneal
        self._limits = Limits(self.explore, self.overhead, self.low, self.high)
        self._optimizer: Any = None
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._state = State()
        self._history: list[Decision] = []
        self._recovery: Recovery | None = None
        self._cost = len(STEPS) * USUAL

    @property
    def history(self) -> Sequence[Decision]:
        """Every decision so far, oldest first."""
        return self._history

    @property
    def forward_passes(self) -> int:
        """How many the looks have cost."""
        return self._state.forward_passes

    @property
    def recovers(self) -> bool:
        return True

    @property
    def recovery(self) -> Recovery | None:
        return self._recovery

    def bind(self, optimizer: Any) -> None:
        if self._optimizer is not None and self._optimizer is not optimizer and self._history:
            self._start_afresh()
        self._optimizer = optimizer

    def wants_look(self, progress: float) -> bool:
        return wants_look(self._state, self._limits, progress, self._cost)

    def factors(self, moment: Moment) -> float:
        self._recovery = None
        if moment.loss is not None:
            self._decide(moment)
        return self._state.level_at(moment.progress) * self._annealed(moment.progress)

    def _decide(self, moment: Moment) -> None:
        look = moment.look
        if look is not None:
            self._cost = len(STEPS) * look.batches
        outcome = decide(self._state, self._limits, moment.progress, float(moment.loss), look)
        self._state, self._recovery = outcome.state, outcome.recovery
        if outcome.decision is not None:
            self._history.append(outcome.decision)

    def _annealed(self, progress: float) -> float:
        return float(self.anneal(max(0.0, (progress - self.explore) / (1.0 - self.explore))))

    def state_dict(self) -> dict[str, Any]:
        return {
            "state": self._state.to_dict(),
            "history": [asdict(decision) for decision in self._history],
            "cost": self._cost,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        fields = Fields("the tuner's state", state)
        given = fields.any("history")
        if not isinstance(given, list | tuple) or len(given) > MOST:
            raise fields.error("history", f"a list of at most {MOST:,} decisions", given)
        history = [_decision(one) for one in given]
        self._state, self._history, self._cost = State.read(fields.any("state")), history, fields.whole("cost", 1)

    def __repr__(self) -> str:
        return (
            f"LRTuner(explore={self.explore!r}, overhead={self.overhead!r}, low={self.low!r}, high={self.high!r}, "
            f"anneal={self.anneal!r})"
        )


def _decision(given: Any) -> Decision:
    """One decision of a saved history."""
    fields = Fields("the tuner's history", given)
    if (what := fields.text("what")) not in get_args(What):
        raise fields.error("what", f"one of {', '.join(get_args(What))}", what)
    seen = {name: _or_none(fields, name) for name in ("slope", "curvature", "minimiser", "pooled")}
    return Decision(
        fields.number("progress", 0.0), fields.number("factor", 0.0), fields.number("goal", 0.0), cast("What", what),
        fields.numbers("steps", MOST_STEPS), fields.numbers("losses", MOST_STEPS), **seen,
    )  # fmt: skip


def _or_none(fields: Fields, name: str) -> float | None:
    """A number, which may be infinite, where a minimum is out of sight."""
    return None if fields.any(name) is None else fields.number_or(math.inf, name)


def _number(name: str, value: Any) -> float:
    number = plain(value)
    if number is None:
        raise ValueError(f"LRTuner: {name} must be a number; got {shown(value)}")
    return number


def _check(explore: Any, overhead: Any, low: Any, high: Any, anneal: Any) -> None:
    if not 0.0 < explore < 1.0:
        raise ValueError(f"LRTuner: explore is a share of the budget, above 0 and below 1; got {shown(explore)}")
    if not overhead > 0.0:
        raise ValueError(f"LRTuner: overhead must be above 0, such as 0.05; got {shown(overhead)}")
    if not 0.0 <= low < high:
        raise ValueError(f"LRTuner: low must be at least 0 and below high; got {shown(low)} and {shown(high)}")
    if anneal is not None and (not isinstance(anneal, Schedule) or anneal(0.0) != 1.0):
        raise ValueError(f"LRTuner: anneal must be a schedule that starts at 1, such as Linear(); got {shown(anneal)}")
