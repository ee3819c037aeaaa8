"""LRTuner: the learning rate found while training, by looking along the optimizer's own step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from statistics import fmean
from typing import Any, Final

from torch.optim import Optimizer

from lehr.policy import Moment, Policy
from lehr.policy.decision import Decision, What
from lehr.schedules import Linear, Schedule
from lehr.tuning.first_edge import first_edge
from lehr.tuning.guard import Guard
from lehr.tuning.parabola import Parabola, fit_parabola
from lehr.tuning.pool import Pool
from lehr.tuning.rule import BELOW, BELOW_LATE, CLIMBING, ERRORS, HOLDING, MOST, climb, follow
from lehr.tuning.snapshot import Snapshot

STEPS: Final = (-1.0, 0.0, 1.0)
"""The trial steps of a probe, those of GeN and LQA."""

FAST: Final = 0.75 / CLIMBING
"""Decades by which the rate rises at most, for the whole of a budget."""

CHECKS: Final = (0.15, 0.3)
"""Where in the budget to ask whether training has begun at all: then the rate rises, and the next time it falls."""

BACK_OFF: Final = 4.0
"""By which factor the rate falls when weights are put back."""

FEWEST, CLIMB = 6, 10
"""Probes that are made whatever they cost, and how many of them while climbing: without them the rate stays low."""

PASSES: Final = 3.0
"""What an update costs, in forward passes."""


class LRTuner(Policy):
    """Finds the peak learning rate in the first third of the run, from any start, then anneals to zero.

        phi(r) = L(theta + r Delta) = L - a r + b r^2 / 2,    r* = a / b

    Before the first update, a line search finds the longest step that does not raise the loss; training starts a
    thousand times below it. Then the rate climbs for as long as the best trial step along the optimizer's own update
    is more than twice the real one (r* > 2), and not by chance. It rises further while what recent probes say together,
    as a / lr and b / lr^2, has the loss fall with steps of that length. From `explore` on it follows `anneal`. If the
    loss blows up, earlier weights are put back and the rate is divided by 4.

    The base rates of the parameter groups set the scale and the ratios; the tuner may go far above and below.

    Give it `scheduler.observe(loss=..., loss_at=probe)` between `backward()` and `optimizer.step()`, with a `Probe` on
    fresh batches, three or so at a time. With a plain function for `loss_at` losses are taken for exact. One copy of
    weights and optimizer state is kept, and goes into checkpoints.

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
        Built from the abstract of Iyer, Thejas, Kwatra, Ramjee and Sivathanu 2021 (LRTuner), whose text is not public,
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

    history: list[Decision]
    """Every decision so far, oldest first."""

    forward_passes: int
    """How many the probes have cost."""

    def __init__(
        self,
        *,
        explore: float = 0.35,
        overhead: float = 0.05,
        low: float = 0.0,
        high: float = math.inf,
        anneal: Schedule | None = None,
    ) -> None:
        _check(explore, overhead, low, high, anneal)
        self.explore = explore
        self.overhead = overhead
        self.low = low
        self.high = high
        self.anneal = Linear() if anneal is None else anneal
        self._optimizer: Optimizer | None = None
        self._start_afresh()

    def _start_afresh(self) -> None:
        self.history = []
        self.forward_passes = 0
        self._guard = Guard()
        self._pool = Pool()
        self._snapshot: Snapshot | None = None
        self._calm = math.inf  # the smoothed loss at the snapshot
        self._from = (0.0, 1.0)  # progress and factor where the way to the goal began
        self._goal = 1.0
        self._climbing = True
        self._doubted = math.inf  # the level below which a loss that stood still was taken for a rate too low
        self._probes = 0
        self._next = CLIMBING
        self._checked = 0

    def bind(self, optimizer: Any) -> None:
        if self._optimizer is not None and self._optimizer is not optimizer and self.history:
            self._start_afresh()
        self._optimizer = optimizer

    def factors(self, moment: Moment) -> float:
        if moment.loss is not None and moment.loss_at is not None:
            self._look_at(float(moment.loss), moment.loss_at, moment.progress)
        return self._level(moment.progress) * self._annealed(moment.progress)

    def _look_at(self, loss: float, loss_at: Callable[[float], float], progress: float) -> None:
        if not self.history:
            self._start(loss_at, progress)
            if not self.history:
                return
        self._guard.see(loss, progress)
        if self._guard.blown:
            self._put_back(loss_at, progress)
        elif self._never_began(progress):
            self._try_higher(progress) if math.isinf(self._doubted) else self._put_back(loss_at, progress)
        elif self._next <= progress < self.explore and self._affordable(loss_at, progress):
            self._probe(loss_at, progress)

    def _level(self, progress: float) -> float:
        """On the way from where it was to the goal, not too fast."""
        since, level = self._from
        if level >= self._goal:
            return self._goal
        return min(self._goal, level * math.pow(10.0, min(300.0, FAST * max(0.0, progress - since))))

    def _annealed(self, progress: float) -> float:
        return float(self.anneal(max(0.0, (progress - self.explore) / (1.0 - self.explore))))

    def _head_for(self, goal: float, progress: float) -> None:
        self._from = (progress, self._level(progress))
        self._goal = min(max(goal, self.low), self.high)

    def _start(self, loss_at: Callable[[float], float], progress: float) -> None:
        def once(factor: float) -> float:
            return fmean(self._measure(loss_at, factor, batches=1))

        edge = first_edge(once)
        if edge is None:  # the next update may have a gradient that can be followed
            return
        below = BELOW if progress < self.explore / 2.0 else BELOW_LATE
        start = min(max(edge / below, self.low), self.high)
        self._from, self._goal = (progress, start), start
        self._next = progress + CLIMBING
        self._keep(loss_at)
        self.history.append(Decision(progress, 1.0, start, "look"))

    def _probe(self, loss_at: Callable[[float], float], progress: float) -> None:
        level = self._level(progress)
        losses = [self._measure(loss_at, step) for step in STEPS]
        if not all(math.isfinite(loss) for batches in losses for loss in batches):
            self._next = progress + CLIMBING
            return
        parabola = fit_parabola(STEPS, list(zip(*losses, strict=True)))
        if len(losses[0]) == 1:  # nothing to judge it by: taken at its word
            parabola = replace(parabola, slope_error=0.0, curvature_error=0.0)
        what, goal = self._decide(level, parabola)
        self._probes += 1
        self._climbing = what == "climb"
        self._head_for(goal, progress)
        self._next = progress + (CLIMBING if self._climbing else HOLDING)
        if self._guard.loss < self._calm:
            self._keep(loss_at)
        means = tuple(fmean(batches) for batches in losses)
        pooled = None if self._climbing else self._pool.at(level).minimiser
        self.history.append(
            Decision(
                progress, level, self._goal, what, STEPS, means,
                parabola.slope, parabola.curvature, parabola.minimiser, pooled,
            )
        )  # fmt: skip

    def _decide(self, level: float, parabola: Parabola) -> tuple[What, float]:
        if not self._climbing:
            self._pool.add(level, parabola)
            return follow(level, self._goal, self._pool)
        what, goal = climb(level, parabola)
        if what == "stop":
            self._pool = Pool()
            self._pool.add(level, parabola)
        return what, goal

    def _never_began(self, progress: float) -> bool:
        """At a check, whether the loss has not fallen though no probe says that the rate is too low."""
        if self._checked == len(CHECKS) or progress < CHECKS[self._checked]:
            return False
        self._checked += 1
        low = self._climbing or self._pool.falls(ERRORS) or self._pool.at(self._level(progress)).straight
        return self._guard.stuck and not low

    def _try_higher(self, progress: float) -> None:
        """The loss has stood still and no probe says why: too low is easier to find out than too high."""
        level = self._level(progress)
        self._doubted = level
        self._climbing, self._probes = True, FEWEST
        self._head_for(level * MOST, progress)
        self._next = progress + CLIMBING
        self.history.append(Decision(progress, level, self._goal, "climb"))

    def _put_back(self, loss_at: Callable[[float], float], progress: float) -> None:
        level = self._level(progress)
        assert self._snapshot is not None
        assert self._optimizer is not None
        self._snapshot.put_back(self._optimizer, getattr(loss_at, "model", None))
        self._goal = max(min(level, self._doubted) / BACK_OFF, self.low)
        self._from = (progress, self._goal)
        self._climbing, self._pool = False, Pool()
        self._next = progress + HOLDING
        self._guard.forget()
        self.history.append(Decision(progress, level, self._goal, "put back"))

    def _measure(self, loss_at: Callable[[float], float], factor: float, **how: int) -> list[float]:
        losses = loss_at.losses(factor, **how) if hasattr(loss_at, "losses") else [float(loss_at(factor))]
        self.forward_passes += len(losses)
        return losses

    def _affordable(self, loss_at: Callable[[float], float], progress: float) -> bool:
        cost = len(STEPS) * getattr(loss_at, "batches", 1)
        updates = self._guard.seen / progress
        return (
            self._probes < (CLIMB if self._climbing else FEWEST)
            or self.forward_passes + cost <= self.overhead * PASSES * updates
        )

    def _keep(self, loss_at: Callable[[float], float]) -> None:
        if self._optimizer is not None:
            self._snapshot = Snapshot(self._optimizer, getattr(loss_at, "model", None))
            self._calm = self._guard.loss if self._guard.seen else math.inf

    def state_dict(self) -> dict[str, Any]:
        return {
            "guard": self._guard.state_dict(),
            "pool": asdict(self._pool),
            "snapshot": None if self._snapshot is None else self._snapshot.state_dict(),
            "history": [asdict(decision) for decision in self.history],
            **{name: getattr(self, name) for name in _REMEMBERED},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._guard.load_state_dict(state["guard"])
        self._pool = Pool(**state["pool"])
        snapshot = state["snapshot"]
        self._snapshot = None if snapshot is None else Snapshot.from_state_dict(snapshot)
        self.history = [Decision(**{**one, **_tuples(one)}) for one in state["history"]]
        for name in _REMEMBERED:
            setattr(self, name, state[name])
        self._from = (self._from[0], self._from[1])

    def __repr__(self) -> str:
        return (
            f"LRTuner(explore={self.explore!r}, overhead={self.overhead!r}, low={self.low!r}, high={self.high!r}, "
            f"anneal={self.anneal!r})"
        )


_REMEMBERED: Final = (
    "forward_passes", "_calm", "_from", "_goal", "_climbing", "_doubted", "_probes", "_next", "_checked",
)  # fmt: skip


def _tuples(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(row[name]) for name in ("steps", "losses")}


def _check(explore: Any, overhead: Any, low: Any, high: Any, anneal: Any) -> None:
    if not 0.0 < explore < 1.0:
        raise ValueError(f"LRTuner: explore is a share of the budget, above 0 and below 1; got {explore!r}")
    if not overhead > 0.0:
        raise ValueError(f"LRTuner: overhead must be above 0, such as 0.05; got {overhead!r}")
    if not 0.0 <= low < high:
        raise ValueError(f"LRTuner: low must be at least 0 and below high; got low={low!r}, high={high!r}")
    if anneal is not None and (not isinstance(anneal, Schedule) or anneal(0.0) != 1.0):
        raise ValueError(f"LRTuner: anneal must be a schedule that starts at 1, such as Linear(); got {anneal!r}")
