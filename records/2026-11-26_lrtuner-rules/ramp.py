"""A rule that climbs by the loss: a fast climb, a slow one from below where it stopped, and back from where it rose."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import lehr
from lehr.tuning import fit_parabola
from lehr.tuning.first_edge import first_edge
from lehr.tuning.rule import STEPS, climb


@dataclass(frozen=True)
class Choices:
    """What was varied.

    Args:
        drop: by which factor the rate falls where the fast climb stops.
        octave: over which share of the budget the slow climb doubles the rate.
        shift: the chosen rate, over the one at which the smoothed loss was lowest.
        explore: when the slow climb ends at the latest.
        hold: whether the rate is held until then; else the line to zero begins at the turn.
    """

    drop: float = 8.0
    octave: float = 0.03
    shift: float = 0.7
    explore: float = 0.35
    hold: bool = False


class Ramp(lehr.Policy):
    """The rule, as a policy; not fit to be resumed."""

    needs = ("loss", "loss_at")

    def __init__(self, choices: Choices) -> None:
        self.choices = choices
        self.phase, self.level, self.last, self.due = "start", 1.0, 0.0, 0.02
        self.seen, self.smooth, self.variance = 0, math.nan, 0.0
        self.start, self.calm, self.lowest, self.lowest_level = math.nan, 0.0, math.inf, 0.0
        self.levels: list[float] = []
        self.kept, self.keep_from, self.turned = math.inf, 0.0, choices.explore
        self._recovery: Any = None

    recovers = True

    @property
    def recovery(self) -> Any:
        return self._recovery

    def wants_look(self, progress: float) -> bool:
        return self.phase == "start" or (self.phase == "fast" and progress >= self.due)

    def factors(self, moment: lehr.Moment) -> float:
        self._recovery = None
        if moment.loss is not None:
            self._decide(moment)
        begin = self.choices.explore if self.choices.hold else self.turned
        return self.level * float(lehr.Linear()(max(0.0, (moment.progress - begin) / (1.0 - begin))))

    def _decide(self, moment: lehr.Moment) -> None:  # noqa: PLR0912 - a study, all in one place
        progress, loss, look = moment.progress, float(moment.loss), moment.look
        if self.phase == "start":
            assert look is not None
            edge = first_edge(lambda factor: fmean(look.losses(factor, 1)))
            if edge is not None:
                self.level, self.phase, self.last, self._recovery = edge / 1_000.0, "fast", progress, "keep"
            return
        memory = max(12.0, 0.03 * self.seen / progress if progress else 0.0)
        sound = math.isfinite(loss)
        if sound:
            self.seen += 1
            weight = max(1.0 / memory, 1.0 / self.seen)
            self.smooth = loss if math.isnan(self.smooth) else self.smooth
            self.variance += weight * ((loss - self.smooth) ** 2 - self.variance)
            self.smooth += weight * (loss - self.smooth)
        self.levels.append(self.level)
        if self.phase == "done":
            if not sound or self.smooth > self._ceiling(memory):
                self.level, self.smooth, self._recovery = self.level / 4.0, self.start, "put back"
            return
        if self.seen <= min(memory, 20):
            self.start, self.calm = self.smooth, self.variance
        if sound and (self.smooth < self.lowest or self.seen <= memory / 2):
            self.lowest, self.lowest_level = self.smooth, self.levels[max(0, len(self.levels) - 1 - int(memory // 2))]
            if progress >= self.keep_from and self.smooth < self.kept:
                self._recovery, self.kept, self.keep_from = "keep", self.smooth, progress + 0.01
        fallen = self.lowest < self.start - 0.05 * abs(self.start) - 3.0 * math.sqrt(self.calm / memory)
        risen = self.smooth > self.lowest + 2.0 * math.sqrt(self.variance / memory)
        harm = fallen and self.level >= 2.0 * self.lowest_level and risen
        blown = not sound or self.smooth > self._ceiling(memory)
        if harm or blown:
            self._turn(progress, fallen=fallen)
            return
        if self.phase == "fast" and look is not None and progress >= self.due:
            self.due = progress + 0.02
            losses = [look.losses(step) for step in STEPS]
            finite = all(math.isfinite(one) for batches in losses for one in batches)
            if finite and climb(1.0, fit_parabola(STEPS, list(zip(*losses, strict=True))))[0] == "stop":
                self.phase, self.level = "slow", self.level / self.choices.drop
        elif self.phase == "slow" and progress >= self.choices.explore:
            if self.level >= 2.0 * self.lowest_level:
                self.level = self.lowest_level * self.choices.shift
            self.phase, self.turned = "done", progress
            return
        rate = 37.5 * math.log(10.0) if self.phase == "fast" else math.log(2.0) / self.choices.octave
        self.level *= math.exp(rate * max(0.0, progress - self.last))
        self.last = progress

    def _ceiling(self, memory: float) -> float:
        return self.start + 0.5 * abs(self.start) + 4.0 * math.sqrt(self.calm / memory)

    def _turn(self, progress: float, *, fallen: bool) -> None:
        self.level = self.lowest_level if fallen else self.level / 8.0
        self._recovery, self.last = "put back", progress
        if self.phase == "fast" or not fallen:
            self.level /= 16.0 if self.phase == "fast" else 1.0
            self.phase, self.levels = "slow", [self.level]
            self.smooth = self.lowest = self.kept if math.isfinite(self.kept) else self.start
            self.lowest_level, self.variance = self.level, self.calm
            return
        self.level *= self.choices.shift
        self.phase, self.turned = "done", progress
        self.smooth = self.kept if math.isfinite(self.kept) else self.smooth

    def __repr__(self) -> str:
        return f"Ramp({self.choices})"
