"""The search for a rate: a first step, the beginning of the main run, then trials that leave no trace."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from statistics import fmean
from typing import Any, Final, cast, final, get_args

from lehr.autopilot.choice import SAFE, Bracket, bracket, next_rate, rate_for_main_run
from lehr.autopilot.first_step import longest_step
from lehr.autopilot.meter import Meter
from lehr.autopilot.rate_choice import RateChoice
from lehr.autopilot.trial import SCORED, Ending, Trial, cost_of, mean_of, numbers_of, run_trial
from lehr.budget import Budget
from lehr.scheduler import ranks
from lehr.scheduler.last_words import telling
from lehr.schedules import Linear, Schedule
from lehr.state.fallback import Fallback
from lehr.state.reading import Fields
from lehr.training import Probe, Training
from lehr.training.update import OutOfData, parameters_of
from lehr.trials import NoSuggestion
from lehr.trials.rate_setter import RateSetter

WARM_UP: Final = 0.2
"""Share of the main run over which its rate rises."""

BEGIN: Final = 0.02
"""Share of the budget that the main run has trained when trials fork from it: early on, other rates are best."""

BEGIN_MOST: Final = 0.04
"""That share where it makes fewer than `BEGIN_FEWEST` updates."""

BEGIN_FEWEST: Final = 60
"""Updates that the main run makes first, if they are not too large a share."""

GENTLE: Final = 4.0
"""How far below the first trial's rate the main run stays until then."""

TRIALS: Final = (5, 4, 3)
"""How many there are to be: the first number with which they are long enough, else the last."""

SHORTEST: Final = 32
"""Updates of a trial, since fewer do not see a loss that breaks down later."""

TOO_SHORT: Final = 8
"""Updates of which a trial would say nothing."""

LOOKS: Final = 3
"""Batches on which the first step is looked at."""

BELOW: Final = 4.0
"""How far below the longest first step trials begin."""

UNSEEN: Final = 2.0
"""How far below where trials begin to train where there is room for none: best in the mean on the zoo's first half."""

ENOUGH: Final = 4
"""Trials after which a best one with a worse neighbour on either side is good enough."""

MOST: Final = 12
"""Trials in all; as long as none has lowered the loss, they go on, ever lower, for twice the share."""


@final
class RateSearch:
    """A search under way, whose state fits into a checkpoint.

    Args:
        training: at its start.
        total: the budget.
        share: of it that may be lost.
        who: the procedure that errors name.
        goes_on: whether the main run goes on from its beginning, which is then not lost.
    """

    def __init__(self, training: Training, total: Budget, share: float, who: str, *, goes_on: bool = True) -> None:
        self._training = training
        self._total = total
        self._share = share
        self._who = who
        self._goes_on = goes_on
        self._meter = Meter(training, total)
        self._first_loss = 0.0
        self._longest_step: float | None = None
        self._forked = False
        self._begun = 0.0
        self._fork_loss = 0.0
        self._fork_losses: tuple[float, ...] = ()
        self._length = 0
        self._trials: list[Trial] = []
        self._untrained: Fallback | None = None
        self._finished = False

    @property
    def made(self) -> int:
        """Trials so far."""
        return len(self._trials)

    def run(self, after_each: Callable[[], None] = lambda: None) -> RateChoice:
        """Search until a rate is found, or go on with what has been found.

        Args:
            after_each: called after the first look and after each trial, such as to save.

        Raises:
            NoSuggestion: if no rate lowers the loss; then the weights are as they were at first.
        """
        with telling():
            if not self._finished:
                self._meter.start()
                try:
                    self._search(after_each)
                except OutOfData:
                    raise ValueError(
                        f"{self._who}: the data has come to its end within a trial; give a loader that can be gone "
                        "round, or a policy that needs no search"
                    ) from None
            return self._choice()

    def _search(self, after_each: Callable[[], None]) -> None:
        self._meter.learn_cost()
        if not self._forked:
            self._look()
            reached = self._begin()
            self._plan()
            self._fork_loss = self._loss_without_training(reached)
            if not math.isfinite(self._first_loss) or not math.isfinite(self._fork_loss):
                return
            self._forked = True
            with self._meter.paused():
                after_each()
        while (rate := self._next()) is not None:
            self._trials.append(self._trial(rate))
            with self._meter.paused():
                after_each()
        self._finished = True
        with self._meter.paused():
            after_each()

    def _trial(self, rate: float) -> Trial:
        return run_trial(
            self._training, self._who, rate, self._length, self._fork_loss, self._fork_losses, self._meter.spend
        )

    def _look(self) -> None:
        """The loss at first, and the longest first step that does not raise it, where that can be had."""
        training = self._training
        with training.untouched(), RateSetter(training.optimizers, self._who) as setter:
            setter.set(training.peak)  # a run before this one may have left the rate at zero
            if training.cannot_look is not None:
                self._first_loss = float(ranks.mean(float(training.step())))
                self._meter.spend(1.0)
                return
            training.backward()
            self._meter.spend(1.0)
            if all(parameter.grad is None for parameter in parameters_of(training.optimizers)):
                raise NoSuggestion(
                    f"{self._who}: the loss gives no parameter a gradient; is it computed from the model?"
                )
            try:
                probe = Probe(training, batches=LOOKS)
            except ValueError:  # an update that is not proportional to the rate
                self._first_loss = float(ranks.mean(float(training.loss_ahead())))
                return
            look = ranks.mean_along(probe)
            self._first_loss = look(0.0)
            if math.isfinite(self._first_loss):
                try:
                    found = longest_step(look)
                except ValueError as error:
                    raise NoSuggestion(f"{self._who}: {error}; look at the data, the loss and the gradients") from None
                self._longest_step = None if found is None else found * training.peak
            self._meter.spend(cost_of(probe.forward_passes, training))

    def _begin(self) -> float:
        """The first updates of the main run, at low rates, and their last loss; if they raise it, they are put back."""
        training, first, each = self._training, self._first_loss, self._each
        updates = int(max(BEGIN * self._total.total / each, min(BEGIN_FEWEST, BEGIN_MOST * self._total.total / each)))
        if updates < TOO_SHORT or not math.isfinite(first):
            return first
        before, fallback, losses = self._meter.spent, Fallback(training.optimizers, training.modules), []
        with RateSetter(training.optimizers, self._who) as setter:
            for update in range(updates):
                setter.set(self._start / GENTLE * (update + 1) / updates)
                losses.append(training.step())
                self._meter.spend(1.0)
        reached = float(ranks.mean(mean_of(losses[-TOO_SHORT:])))
        if reached < first + abs(first):
            self._begun, self._untrained = self._meter.spent - before, fallback
            return reached
        fallback.put_back(training.optimizers, training.modules)
        if self._longest_step is not None:
            self._longest_step /= GENTLE**2
        return first

    def _plan(self) -> None:
        """How long trials are, so that what is left of the share pays for them."""
        score = cost_of(SCORED, self._training)
        left = (self._share * self._total.total - self._lost) / self._each - score
        lengths = [left / count - score for count in TRIALS]
        self._length = max(0, int(next((length for length in lengths if length >= SHORTEST), lengths[-1])))

    def _loss_without_training(self, reached: float) -> float:
        """The loss of the weights as they are, on the batches on which trials are scored."""
        training = self._training
        if training.cannot_look is not None or self._length < TOO_SHORT or not math.isfinite(reached):
            return reached
        with training.untouched():
            training.batches.skip(self._length * training.accumulate)
            losses = [training.loss_ahead() for _ in range(SCORED)]
        self._meter.spend(cost_of(SCORED, training))
        self._fork_losses = tuple(numbers_of(losses))
        return fmean(self._fork_losses)

    @property
    def _each(self) -> float:
        """What an update costs."""
        assert self._meter.each is not None
        return self._meter.each

    @property
    def _lost(self) -> float:
        """What was spent and is no part of the main run."""
        return self._meter.spent - self._begun if self._goes_on else self._meter.spent

    @property
    def _start(self) -> float:
        return self._training.peak if self._longest_step is None else self._longest_step / BELOW

    def _next(self) -> float | None:
        """The rate of the next trial; None if there is to be none."""
        if not math.isfinite(self._fork_loss) or self._length < TOO_SHORT or len(self._trials) >= MOST:
            return None
        alive = any(not trial.failed(self._fork_loss) for trial in self._trials)
        if alive and len(self._trials) >= ENOUGH and bracket(self._trials, self._fork_loss).closed:
            return None
        updates = self._length + cost_of(SCORED, self._training)
        share = (self._lost + updates * self._each) / self._total.total
        if share > (self._share if alive else 2.0 * self._share) * (1.0 + 1e-9):
            return None
        return next_rate(self._trials, self._fork_loss, self._start)

    def _choice(self) -> RateChoice:
        first, fork = self._first_loss, self._fork_loss
        if nothing := self._nothing_works():
            if self._untrained is not None:
                self._untrained.put_back(self._training.optimizers, self._training.modules)
            raise NoSuggestion(f"{self._who}: {nothing}")
        self._untrained = None
        found = rate_for_main_run(self._trials, fork, first) if self._tells else self._without_trials()
        return RateChoice(
            found.rate, found.low, found.high, self._schedule, fork, self._longest_step, tuple(self._trials),
            self._lost, self._begun, self._total, self._meter.rest, tuple(self._doubts(found)),
        )  # fmt: skip

    @property
    def _tells(self) -> bool:
        """Whether a trial has lowered the loss by more than chance."""
        return any(trial.fell(self._fork_loss) for trial in self._trials)

    def _without_trials(self) -> Bracket:
        """Where trials say nothing: below where they begin, and below rates that have raised the loss all the same."""
        risen = min((trial.rate for trial in self._trials if trial.rose(self._fork_loss)), default=math.inf)
        rate = min(self._start / UNSEEN, risen / SAFE)
        return Bracket(min(self._start / 16.0, rate), rate, self._start * 4.0, closed=False)

    @property
    def _schedule(self) -> Schedule:
        """Of what is left of the main run, whose warm-up has begun."""
        begun = self._begun / (self._total.total - self._lost)
        return Linear().after_warmup(round((WARM_UP - begun) / (1.0 - begun), 4))

    def _nothing_works(self) -> str:
        """Why no rate can be told; empty if one can."""
        first, loss = self._first_loss, self._fork_loss
        if not math.isfinite(first) or not math.isfinite(loss):
            return (
                f"the loss is {first if not math.isfinite(first) else loss} before any rate was tried; look at the "
                "data, the loss and the first weights"
            )
        if not self._trials or not all(trial.rose(loss) for trial in self._trials):
            return ""
        rates = sorted(trial.rate for trial in self._trials)
        ends = {trial.ending for trial in self._trials}
        saw = "it stood still, or crept up" if ends == {"finished"} else "it rose, or was not finite"
        return (
            f"at no rate from {rates[0]:.2g} to {rates[-1]:.2g} did {self._length} updates lower the loss "
            f"from {loss:.4g} ({saw}); look at the data, the loss and the gradients"
        )

    def _doubts(self, found: Bracket) -> list[str]:
        doubts = []
        if self._longest_step is None:
            doubts.append("one step says nothing of its rate here, so the search began at the optimizer's own rate")
        if not self._trials:
            doubts.append("the budget leaves no room for trials, so the rate is half of where they would have begun")
        elif not self._tells:
            doubts.append(
                "no trial moved the loss by more than its batches scatter, so the rate is from the first step alone"
            )
        elif not found.closed:
            doubts.append("the best rate lies at the edge of those that were tried, so a better one may lie beyond")
        if self._trials and self._length < SHORTEST:
            doubts.append(f"trials of {self._length} updates are too short to see a loss that breaks down later")
        return doubts

    def state_dict(self) -> dict[str, Any]:
        """All that was seen and spent."""
        return {
            "meter": self._meter.state_dict(),
            "first_loss": self._first_loss,
            "longest_step": self._longest_step,
            "forked": self._forked,
            "begun": self._begun,
            "fork_loss": self._fork_loss,
            "fork_losses": list(self._fork_losses),
            "length": self._length,
            "trials": [asdict(trial) for trial in self._trials],
            "untrained": None if self._untrained is None else self._untrained.state_dict(),
            "finished": self._finished,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned.

        Raises:
            ValueError: if it is anything else.
        """
        fields = Fields("the checkpoint's search", state)
        given = fields.any("trials")
        if not isinstance(given, list | tuple) or len(given) > MOST:
            raise fields.error("trials", f"a list of at most {MOST} trials", given)
        trials = [_trial_in(one) for one in given]
        longest = fields.number_or_none("longest_step", 0.0)
        first, fork, begun = (fields.number(name) for name in ("first_loss", "fork_loss", "begun"))
        before = fields.numbers("fork_losses", SCORED)
        forked, length, finished = fields.flag("forked"), fields.whole("length"), fields.flag("finished")
        untrained = None
        if fields.any("untrained") is not None:
            untrained = Fallback.read(fields.table("untrained"), self._training.optimizers, self._training.modules)
        self._meter.load_state_dict(fields.table("meter"))
        self._first_loss, self._fork_loss, self._begun, self._longest_step = first, fork, begun, longest
        self._fork_losses = before
        self._forked, self._length, self._trials, self._finished = forked, length, trials, finished
        self._untrained = untrained


def _trial_in(given: Any) -> Trial:
    fields = Fields("the checkpoint's trial", given)
    if (ending := fields.text("ending")) not in get_args(Ending):
        raise fields.error("ending", f"one of {', '.join(get_args(Ending))}", ending)
    loss = fields.number_or(math.inf, "loss")
    error = fields.number("error", 0.0)
    return Trial(fields.number("rate", 0.0), fields.whole("updates"), loss, cast("Ending", ending), error)


def with_end(who: str, budget: Budget) -> Budget:
    """The budget, if it has an end.

    Raises:
        ValueError: if not.
    """
    if budget.endless:
        raise ValueError(f"{who}: budget has no end, so the run would have none")
    return budget
