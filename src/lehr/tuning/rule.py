"""The tuner's rule: from what was seen to where the rate goes, as a pure function of a state."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from statistics import fmean
from typing import Any, Final

from lehr.policy import Decision, Look, Recovery
from lehr.policy.decision import What
from lehr.state.reading import Fields
from lehr.tuning.first_edge import first_edge
from lehr.tuning.guard import Guard
from lehr.tuning.parabola import Parabola, fit_parabola
from lehr.tuning.pool import Pool

STEPS: Final = (-1.0, 0.0, 1.0)  # the trial steps of a probe, those of GeN and LQA
BELOW, BELOW_LATE = 1_000.0, 30.0  # how far below the edge of the first step to start; where little time is left
CLIMBING, HOLDING = 0.02, 0.04  # after which share of the budget to probe again
STOP, MOST = 2.0, 3.0  # the climb goes on while r* is above STOP, by a factor of at most MOST
RAISE, MOST_LATER = 0.8, 2.0  # after it, the rate is raised while the pooled r* is above RAISE, by at most MOST_LATER
ERRORS: Final = 2.0  # standard errors by which a slope must be above zero to be believed
FAST: Final = 0.75 / CLIMBING  # decades by which the rate rises at most, for the whole of a budget
CHECKS: Final = (0.15, 0.3)  # where to ask whether training has begun at all: then the rate rises, later it falls
BACK_OFF: Final = 4.0  # by which factor the rate falls when weights are put back
FEWEST, CLIMB = 6, 10  # probes that are made whatever they cost, and how many of them while climbing
PASSES: Final = 3.0  # what an update costs, in forward passes


@dataclass(frozen=True)
class Limits:
    """What the user may choose: see `LRTuner`."""

    explore: float
    overhead: float
    low: float
    high: float

    def within(self, goal: float) -> float:
        """The goal, not below `low` nor above `high`."""
        return min(max(goal, self.low), self.high)


@dataclass(frozen=True)
class State:
    """All that the rule remembers; `asdict` of it is what a checkpoint holds.

    Args:
        started: whether the line search was made.
        since: progress at which the way to the goal began.
        level: factor there.
        goal: factor to reach.
        climbing: whether the first climb is under way.
        doubted: level below which a loss that stood still was taken for a rate too low.
        probes: how many were made.
        due: progress of the next one.
        checked: how many of `CHECKS` are behind.
        calm: smoothed loss at the weights that were kept.
        forward_passes: what looks have cost.
        guard: the loss so far.
        pool: the probes since the climb ended.
    """

    started: bool = False
    since: float = 0.0
    level: float = 1.0
    goal: float = 1.0
    climbing: bool = True
    doubted: float = math.inf
    probes: int = 0
    due: float = CLIMBING
    checked: int = 0
    calm: float = math.inf
    forward_passes: int = 0
    guard: Guard = field(default_factory=Guard)
    pool: Pool = field(default_factory=Pool)

    @classmethod
    def read(cls, given: Any) -> State:
        """The state whose `asdict` is given.

        Raises:
            ValueError: if it is anything else.
        """
        fields = Fields("the tuner's state", given)
        pool = Fields("the tuner's pool", fields.any("pool"))
        number = fields.number
        return cls(
            fields.flag("started"), number("since", 0.0), number("level", 0.0), number("goal", 0.0),
            fields.flag("climbing"), fields.number_or(math.inf, "doubted"), fields.whole("probes"), number("due", 0.0),
            fields.whole("checked", 0, len(CHECKS)), fields.number_or(math.inf, "calm"), fields.whole("forward_passes"),
            Guard.read(fields.any("guard")),
            Pool(pool.number("slope"), pool.number("curvature"), pool.number("variance", 0.0)),
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        return asdict(self)

    def level_at(self, progress: float) -> float:
        """The factor on the way to the goal, upwards not too fast."""
        if self.level >= self.goal:
            return self.goal
        rise = math.pow(10.0, min(300.0, FAST * max(0.0, progress - self.since)))
        return min(self.goal, self.level * rise)

    def head_for(self, goal: float, progress: float) -> State:
        """The state with another goal, from where the level is now."""
        return replace(self, since=progress, level=self.level_at(progress), goal=goal)


@dataclass(frozen=True)
class Outcome:
    """What comes of a moment: the state after it, what was decided, and what is to happen to the weights."""

    state: State
    decision: Decision | None = None
    recovery: Recovery | None = None


def wants_look(state: State, limits: Limits, progress: float, cost: int) -> bool:
    """Whether the rule would look along the step now: before the first update, or when a probe is due."""
    if not state.started:
        return True
    if not state.due <= progress < limits.explore:
        return False
    updates = (state.guard.seen + 1) / progress  # this one is among them
    return _free(state) or state.forward_passes + cost <= limits.overhead * PASSES * updates


def decide(state: State, limits: Limits, progress: float, loss: float, look: Look | None) -> Outcome:
    """One moment of training: look, climb, hold, raise, or go back.

    Args:
        state: what is remembered.
        limits: what the user chose.
        progress: share of the budget spent.
        loss: the training loss of this update.
        look: along its step; may be None where `wants_look` is false.
    """
    first = Outcome(state)
    if not state.started:
        if look is None:
            return first
        first = _start(state, limits, progress, look)
        if not first.state.started:
            return first
    state = replace(first.state, guard=first.state.guard.see(loss, progress))
    if state.guard.blown:
        return _put_back(state, limits, progress)
    checked = state.checked < len(CHECKS) and progress >= CHECKS[state.checked]
    if checked:  # whether the loss has not fallen though no probe says that the rate is too low
        state = replace(state, checked=state.checked + 1)
        low = state.climbing or state.pool.falls(ERRORS) or state.pool.at(state.level_at(progress)).straight
        if state.guard.stuck and not low:
            return (
                _try_higher(state, limits, progress)
                if math.isinf(state.doubted)
                else _put_back(state, limits, progress)
            )
    if look is not None and first.decision is None and _due(state, limits, progress, look):
        return _probe(state, limits, progress, look)
    return replace(first, state=state)


def climb(level: float, parabola: Parabola) -> tuple[What, float]:
    """One probe decides: far below the best rate slopes are clear, or the loss runs straight, uphill by chance.

    >>> climb(0.1, Parabola(slope=4.0, curvature=1.0, slope_error=0.1))
    ('climb', 0.2)
    >>> climb(0.1, Parabola(slope=1.0, curvature=1.0, slope_error=0.1))
    ('stop', 0.1)
    """
    if parabola.straight:
        return "climb", level * MOST
    if parabola.slope > ERRORS * parabola.slope_error and parabola.minimiser > STOP:
        return "climb", level * max(1.3, min(MOST, parabola.minimiser / STOP))
    return "stop", level


def adjust(level: float, goal: float, pool: Pool) -> tuple[What, float]:
    """Several probes decide together: near the best rate, slopes drown in noise.

    >>> what, goal = adjust(0.1, 0.1, Pool().add(0.1, Parabola(slope=1.2, curvature=1.0, slope_error=0.1)))
    >>> what, round(goal, 9)
    ('raise', 0.15)
    """
    best = pool.at(level).minimiser
    if pool.falls(ERRORS) and best > RAISE:
        return "raise", level * max(1.0, min(MOST_LATER, best / RAISE))
    return "hold", goal


def _due(state: State, limits: Limits, progress: float, look: Look) -> bool:
    if not state.due <= progress < limits.explore:
        return False
    cost, updates = len(STEPS) * look.batches, state.guard.seen / progress
    return _free(state) or state.forward_passes + cost <= limits.overhead * PASSES * updates


def _free(state: State) -> bool:
    """Whether the next probe is one of those that are made whatever they cost."""
    return state.probes < (CLIMB if state.climbing else FEWEST)


def _start(state: State, limits: Limits, progress: float, look: Look) -> Outcome:
    """The line search before the first update: it starts well below the edge of the step."""
    passes = 0

    def once(factor: float) -> float:
        nonlocal passes
        losses = look.losses(factor, 1)
        passes += len(losses)
        return fmean(losses)

    edge = first_edge(once)
    state = replace(state, forward_passes=state.forward_passes + passes)
    if edge is None:  # the next update may have a gradient that can be followed
        return Outcome(state)
    start = limits.within(edge / (BELOW if progress < limits.explore / 2.0 else BELOW_LATE))
    state = replace(state, started=True, since=progress, level=start, goal=start, due=progress + CLIMBING)
    return Outcome(state, Decision(progress, 1.0, start, "look"), "keep")


def _probe(state: State, limits: Limits, progress: float, look: Look) -> Outcome:
    level = state.level_at(progress)
    losses = [look.losses(step) for step in STEPS]
    state = replace(state, forward_passes=state.forward_passes + sum(map(len, losses)))
    if not all(math.isfinite(loss) for batches in losses for loss in batches):
        return Outcome(replace(state, due=progress + CLIMBING))
    parabola = fit_parabola(STEPS, list(zip(*losses, strict=True)))
    if len(losses[0]) == 1:  # nothing to judge it by: taken at its word
        parabola = replace(parabola, slope_error=0.0, curvature_error=0.0)
    pool = state.pool
    if state.climbing:
        what, goal = climb(level, parabola)
        pool = Pool().add(level, parabola) if what == "stop" else pool
    else:
        pool = pool.add(level, parabola)
        what, goal = adjust(level, state.goal, pool)
    climbing = what == "climb"
    keep = state.guard.loss < state.calm
    state = replace(
        state.head_for(limits.within(goal), progress), pool=pool, probes=state.probes + 1, climbing=climbing,
        due=progress + (CLIMBING if climbing else HOLDING), calm=state.guard.loss if keep else state.calm,
    )  # fmt: skip
    decision = Decision(
        progress, level, state.goal, what, STEPS, tuple(map(fmean, losses)),
        parabola.slope, parabola.curvature, parabola.minimiser, None if climbing else pool.at(level).minimiser,
    )  # fmt: skip
    return Outcome(state, decision, "keep" if keep else None)


def _try_higher(state: State, limits: Limits, progress: float) -> Outcome:
    """The loss has stood still and no probe says why: too low is easier to find out than too high."""
    level = state.level_at(progress)
    state = replace(state.head_for(limits.within(level * MOST), progress), doubted=level, climbing=True, probes=FEWEST)
    state = replace(state, due=progress + CLIMBING)
    return Outcome(state, Decision(progress, level, state.goal, "climb"))


def _put_back(state: State, limits: Limits, progress: float) -> Outcome:
    """Earlier weights, at a quarter of the rate."""
    level = state.level_at(progress)
    goal = max(min(level, state.doubted) / BACK_OFF, limits.low)
    state = replace(
        state, since=progress, level=goal, goal=goal, climbing=False, pool=Pool(), due=progress + HOLDING,
        guard=state.guard.forget(),
    )  # fmt: skip
    return Outcome(state, Decision(progress, level, goal, "put back"), "put back")
