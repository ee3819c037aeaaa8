"""One run: a task trained by one method, from one seed, under one budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import lehr
from lehr._arguments import number_argument, whole_argument
from lehr._numbers import LARGEST, SMALLEST, shown
from lehr.lab.course import course
from lehr.lab.loop import Loop, Score, Trainable, Workload, check_trainable
from lehr.lab.methods import Method
from lehr.lab.placement import AUTO, Placement
from lehr.lab.reader import Count, Positive, Share
from lehr.lab.seeds import LAST_SEED

MOST_IDLE: Final = 200
"""Steps in a row that may make no update, as where gradient scaling looks for its scale."""


@dataclass(frozen=True)
class Settings:
    """How runs are made, the same for all that are compared.

    Args:
        budget: what a run may spend, as text; empty for what the task says.
        evaluations: how often a run is validated, evenly over the budget; at least 1.
        placement: on which device, in which precision, whether compiled, how many batches make an update, and how many
            processes train a run together.

    Raises:
        ValueError: if `evaluations` is no whole number above 0, or `budget` is no text.
        TypeError: if `placement` is none.

    >>> Settings("500steps", evaluations=4).budget
    '500steps'
    """

    budget: str = ""
    evaluations: Count = 20
    placement: Placement = AUTO

    def __post_init__(self) -> None:
        if not isinstance(self.budget, str):
            raise ValueError(f"Settings: budget must be a text such as '10ep' or '500steps'; got {shown(self.budget)}")
        object.__setattr__(self, "evaluations", whole_argument("Settings: evaluations", self.evaluations))
        if not isinstance(self.placement, Placement):
            raise TypeError(f"Settings: placement must be a lehr.lab.Placement; got {shown(self.placement)}")

    def for_task(self, task: Workload) -> Settings:
        """The same, with the task's own budget where none is given, and the device that "auto" stands for."""
        return replace(self, budget=self.budget or task.budget, placement=task.placed(self.placement))


@dataclass(frozen=True)
class Evaluation:
    """A look at the validation set, and at the training since the last one; None is a number that is not finite.

    Args:
        update: after how many updates.
        progress: the share of the budget spent by then.
        seconds: of training by then.
        train_loss: the mean over the batches since the last look.
        validation_loss: the mean over the validation set; None also if it was not measured.
        validation: the metric over the validation set.
        passes: forward passes of one batch by then.
        numbers: what else was measured there, by name.

    >>> from lehr import lab
    >>> run = lab.compare("digits", ["linear"], budget="8steps", seeds=1, evaluations=2).runs[0]
    >>> [(one.update, one.progress) for one in run.curve]
    [(4, 0.5), (8, 1.0)]
    """

    update: Count
    progress: Positive
    seconds: Positive
    train_loss: float | None
    validation_loss: float | None
    validation: float | None
    passes: Count = 0
    numbers: dict[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """What came of one run.

    Args:
        method: its name.
        policy: the method as code.
        seed: of initial weights and batch order.
        lr: the peak rate.
        curve: the evaluations.
        rates: the share of the budget spent and the rate from then on, about 200 times at most, peaks and steps among
            them.
        diverged_at: the update whose loss or result was not finite, or that failed; None for a run that finished.
        validation: the metric over the validation set at the end; None for a run that diverged.
        test: the metric over the test set at the end; None also for a run that serves to choose a rate.
        updates: made; those of trials, and of the beginning from which trials fork, are not counted.
        seconds: of training, evaluation excluded.
        forward_passes: of one batch, those of probes and trials included; of one process where several train together.
        evaluation_passes: of up to 1,000 examples; of a `TrainingTask`, its evaluations.
        share: of the budget.
        probe_passes: those of the forward passes that probes made.
        decisions: what a tuner saw and did.
        explanation: what a search within the budget tried, saw and chose.
        test_numbers: what else was measured on the test set, by name.
        failure: why it could not go on, such as "out of memory"; None for a run that finished or diverged.

    >>> from lehr import lab
    >>> run = lab.compare("digits", ["linear"], budget="4steps", seeds=1, lr=0.1).runs[0]
    >>> run.updates, [rate for _, rate in run.rates]
    (4, [0.1, 0.075, 0.05, 0.025, 0.0])
    """

    method: str
    policy: str
    seed: Count
    lr: Positive
    curve: tuple[Evaluation, ...] = ()
    rates: tuple[tuple[float, float], ...] = ()
    diverged_at: Count | None = None
    validation: float | None = None
    test: float | None = None
    updates: Count = 0
    seconds: Positive = 0.0
    forward_passes: Count = 0
    evaluation_passes: Count = 0
    share: Share = 1.0
    probe_passes: Count = 0
    decisions: tuple[lehr.policy.Decision, ...] = ()
    test_numbers: dict[str, float | None] = field(default_factory=dict)
    failure: str | None = None
    explanation: str = ""


def train(
    task: Trainable,
    method: Method,
    settings: Settings,
    seed: int,
    lr: float | None = None,
    *,
    share: float = 1.0,
    look_at_test: bool = True,
    report: Callable[[float], None] = lambda progress: None,
) -> Run:
    """Train the task once.

    The seed decides the initial weights, the order of batches and every other random number, and nothing else does, so
    methods can be compared pair by pair. A loss or a result that is not finite marks the run as diverged. Evaluation
    does not count as time.

    Args:
        task: what to train; `task.workload()` of it spares loading its data again for each of several runs.
        method: by which policy.
        settings: under which budget.
        seed: of initial weights, batch order and all other random numbers.
        lr: peak rate of the optimizer's first group, the others keeping their ratios; None leaves the task's own.
        share: how much of the budget to spend, above 0; the schedule is fitted to that, and evaluations are as dense.
        look_at_test: whether to evaluate on the test set at the end.
        report: told the progress now and then.

    Raises:
        TypeError: if `task`, `method` or `settings` is none.
        ValueError: if `seed`, `lr` or `share` is out of range.

    >>> from lehr import lab
    >>> run = lab.train(lab.load_task("digits"), lab.METHODS["linear"], lab.Settings("20steps"), seed=0)
    >>> run.updates, run.diverged_at
    (20, None)
    """
    _check(task, method, settings)
    seed = whole_argument("train: seed", seed, 0, LAST_SEED)
    share = number_argument("train: share", share, SMALLEST, LARGEST)
    lr = None if lr is None else number_argument("train: lr", lr, SMALLEST, LARGEST)
    workload = task.workload()
    settings = settings.for_task(workload)
    loop = workload.loop(seed, settings.placement)
    lr = loop.set_peak(lr)
    with lehr.untouched():  # random numbers: a policy with networks of its own must not shift those of the run
        made = method.policy(loop)
    way = course(made, loop, _budget(workload, settings).scaled(share))
    if method.finds_peak:
        lr = loop.peak
    evaluations = max(1, round(settings.evaluations * share))
    losses: list[float] = []
    curve: list[Evaluation] = []
    diverged_at: int | None = None
    score: Score | None = None
    idle = counted = 0
    passes, due = 0, int(way.begun * evaluations + 1e-9) + 1
    scheduler = lehr.Scheduler(loop.training, way.policy, way.budget)
    scheduler.clock.start()  # the first forward and backward count
    for update, loss in enumerate(loop.run(scheduler)):
        losses.append(loss)
        idle, counted = 0 if scheduler.updates > counted else idle + 1, scheduler.updates
        if idle >= MOST_IDLE:
            raise ValueError(
                f"{MOST_IDLE} steps made no update of the optimizer, so that nothing of the budget is spent; the "
                "task's optimizer must run the step() that torch gives it"
            )
        if not math.isfinite(loss) and not scheduler.policy.recovers:
            diverged_at = update
            break
        progress = way.progress(scheduler.progress)
        if progress >= due / evaluations - 1e-9 or scheduler.finished:
            due = int(progress * evaluations + 1e-9) + 1
            with scheduler.paused():
                score = loop.evaluate_validation()
                passes += len(losses)
                mean = sum(losses) / len(losses)
                curve.append(_evaluation(scheduler, progress, mean, score, _passes(loop, passes)))
                report(progress)
            losses.clear()
    validation, test, numbers = None, None, {}
    if diverged_at is None and score is not None:
        validation = _finite(score.value)
        if look_at_test:
            with scheduler.paused():
                final = loop.evaluate_test()
            test, numbers = _finite(final.value), _finite_ones(final.numbers)
        if not _is_finite(score) or (look_at_test and test is None):
            validation, test, numbers, diverged_at = None, None, {}, scheduler.updates
    return Run(
        method.name, method.code, seed, lr,
        curve=tuple(curve),
        rates=_thinned([(way.progress(at), lr * factors[0]) for _, at, factors in scheduler.history]),
        diverged_at=diverged_at,
        validation=validation,
        test=test,
        test_numbers=numbers,
        updates=scheduler.updates,
        seconds=scheduler.clock.elapsed() + loop.search_seconds,
        forward_passes=_passes(loop, passes + len(losses)),
        evaluation_passes=loop.evaluation_passes,
        share=share,
        probe_passes=loop.probe_passes,
        decisions=tuple(_readable(one, way.progress(one.progress)) for one in scheduler.policy.history),
        explanation=way.explanation,
    )  # fmt: skip


def _check(task: object, method: object, settings: object) -> None:
    check_trainable("train", task)
    if not isinstance(method, Method):
        raise TypeError(f"train: method must be a lehr.lab.Method, such as lab.METHODS['linear']; got {shown(method)}")
    if not isinstance(settings, Settings):
        raise TypeError(f"train: settings must be lehr.lab.Settings; got {shown(settings)}")


def _budget(workload: Workload, settings: Settings) -> lehr.Budget:
    return workload.budget_of(settings.budget, settings.placement.accumulate)


def _passes(loop: Loop, updates: int) -> int:
    """Forward passes of one batch after so many updates."""
    return (updates + loop.search_passes) * loop.training.accumulate + loop.probe_passes


def _evaluation(scheduler: lehr.Scheduler, progress: float, train_loss: float, score: Score, passes: int) -> Evaluation:
    return Evaluation(
        update=scheduler.updates,
        progress=progress,
        seconds=scheduler.clock.elapsed(),
        train_loss=_finite(train_loss),
        validation_loss=_finite(score.loss),
        validation=_finite(score.value),
        passes=passes,
        numbers=_finite_ones(score.numbers),
    )


def _is_finite(score: Score) -> bool:
    return math.isfinite(score.value) and (score.loss is None or math.isfinite(score.loss))


def _finite_ones(numbers: Mapping[str, float]) -> dict[str, float | None]:
    return {name: _finite(value) for name, value in numbers.items()}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _readable(decision: lehr.policy.Decision, progress: float) -> lehr.policy.Decision:
    """The decision at that share of the whole budget, as files have it: None stands for what is not finite, such as r*
    where no minimum is in sight.
    """
    return replace(
        decision,
        progress=progress,
        slope=_finite(decision.slope),
        curvature=_finite(decision.curvature),
        minimiser=_finite(decision.minimiser),
        pooled=_finite(decision.pooled),
    )


def _thinned(rows: list[tuple[float, float]], most: int = 200) -> tuple[tuple[float, float], ...]:
    """At most about `most` of the rows, to six digits, for a picture: each part's lowest and highest, and the last.

    So peaks stay, and a step stays where it is: of rows that are the same the first is taken.
    """
    rows = [row for row in rows if math.isfinite(row[1])]
    if len(rows) > most:
        length = math.ceil(2 * len(rows) / most)
        parts = [range(begin, min(begin + length, len(rows))) for begin in range(0, len(rows), length)]
        kept = {pick(part, key=lambda at: rows[at][1]) for part in parts for pick in (min, max)}
        rows = [rows[at] for at in sorted({*kept, len(rows) - 1})]
    return tuple((float(f"{progress:.6g}"), float(f"{rate:.6g}")) for progress, rate in rows)
