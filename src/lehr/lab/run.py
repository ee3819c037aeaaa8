"""One run: a task trained by one method, from one seed, under one budget."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import lehr
from lehr.lab.data import Data
from lehr.lab.loop import Loop
from lehr.lab.methods import Method
from lehr.lab.reader import Count, Positive, Share
from lehr.lab.task import Task, tokens_in


@dataclass(frozen=True)
class Settings:
    """How runs are made, the same for all that are compared.

    Args:
        budget: what a run may spend, as text; empty for what the task says.
        evaluations: how often a run is validated, evenly over the budget; at least 1.
        bf16: bfloat16 autocast; faster only on processors with instructions for it, and much slower on others.

    Raises:
        ValueError: if `evaluations` is no whole number above 0, or `budget` is no text.
    """

    budget: str = ""
    evaluations: Count = 20
    bf16: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.budget, str):
            raise ValueError(f"Settings: budget must be a text such as '10ep' or '500steps'; got {self.budget!r}")
        if isinstance(self.evaluations, bool) or not isinstance(self.evaluations, int) or self.evaluations < 1:
            raise ValueError(f"Settings: evaluations must be a whole number above 0; got {self.evaluations!r}")

    def for_task(self, task: Task) -> Settings:
        """The same, with the task's own budget where none is given."""
        return self if self.budget else replace(self, budget=task.budget)


@dataclass(frozen=True)
class Evaluation:
    """A look at the validation set, and at the training since the last one; None is a number that is not finite.

    Args:
        update: after how many updates.
        progress: the share of the budget spent by then.
        seconds: of training by then.
        train_loss: the mean over the batches since the last look.
        validation_loss: the mean over the validation set.
        validation: the metric over the validation set.
    """

    update: Count
    progress: Positive
    seconds: Positive
    train_loss: float | None
    validation_loss: float | None
    validation: float | None


@dataclass(frozen=True)
class Run:
    """What came of one run.

    Args:
        method: its name.
        policy: the method as code.
        seed: of initial weights and batch order.
        lr: the peak rate.
        curve: the evaluations.
        rates: the share of the budget spent and the rate then, about 200 times at most.
        diverged_at: the update whose loss or result was not finite; None for a run that finished.
        validation: the metric over the validation set at the end; None for a run that diverged.
        test: the metric over the test set at the end; None also for a run that serves to choose a rate.
        updates: made.
        seconds: of training, evaluation excluded.
        forward_passes: of one batch, those of probes included.
        evaluation_passes: of up to 1,000 examples.
        share: of the budget.
        probe_passes: those of the forward passes that probes made.
        decisions: what a tuner saw and did.
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


def budget_for(task: Task, data: Data, text: str) -> lehr.Budget:
    """The budget that `text` names, with what the task knows of its epochs, batches and tokens."""
    tokens = tokens_in(data.train[0])
    return lehr.Budget.parse(
        text,
        steps_per_epoch=len(data.train[0]) // task.batch_size,
        samples_per_step=task.batch_size,
        tokens_per_step=tokens and tokens * task.batch_size,
    )


def train(
    task: Task,
    data: Data,
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

    The seed decides the initial weights and the order of batches, and nothing else does, so methods can be compared
    pair by pair. A loss or a result that is not finite marks the run as diverged. Evaluation does not count as time.

    Args:
        task: what to train.
        data: its data, loaded.
        method: by which policy.
        settings: under which budget.
        seed: of initial weights and batch order.
        lr: peak rate of the optimizer's first group, the others keeping their ratios; None leaves the task's own.
        share: how much of the budget to spend, above 0; the schedule is fitted to that, and evaluations are as dense.
        look_at_test: whether to evaluate on the test set at the end.
        report: told the progress now and then.
    """
    settings = settings.for_task(task)
    loop = Loop(task, data, seed, bf16=settings.bf16)
    lr = loop.set_peak(lr)
    policy = method.policy(loop)
    if method.finds_peak:
        lr = loop.peak
    evaluations = max(1, round(settings.evaluations * share))
    losses: list[float] = []
    curve: list[Evaluation] = []
    diverged_at: int | None = None
    passes, due = 0, 1
    scheduler = lehr.Scheduler(loop.training, policy, budget_for(task, data, settings.budget).scaled(share))
    probe = loop.probe() if "loss_at" in scheduler.policy.needs else None
    scheduler.clock.start()
    while not scheduler.finished:
        loss = loop.training.backward()
        losses.append(loss.item())
        if not math.isfinite(losses[-1]) and not scheduler.policy.recovers:
            diverged_at = scheduler.updates
            break
        scheduler.observe(loss=loss, loss_at=probe)
        loop.training.update()
        scheduler.step()
        if scheduler.progress >= due / evaluations - 1e-9 or scheduler.finished:
            due = int(scheduler.progress * evaluations + 1e-9) + 1
            with scheduler.paused():
                curve.append(_evaluation(scheduler, sum(losses) / len(losses), *loop.evaluate(data.validation)))
                report(scheduler.progress)
            passes += len(losses)
            losses.clear()
    validation, test = None, None
    if diverged_at is None:
        validation = curve[-1].validation
        test = _finite(loop.evaluate(data.test)[1]) if look_at_test else None
        if curve[-1].validation_loss is None or validation is None or (look_at_test and test is None):
            validation, test, diverged_at = None, None, scheduler.updates
    probe_passes = 0 if probe is None else probe.forward_passes
    return Run(
        method.name, method.code, seed, lr,
        curve=tuple(curve),
        rates=_thinned([(progress, lr * factors[0]) for _, progress, factors in scheduler.history]),
        diverged_at=diverged_at,
        validation=validation,
        test=test,
        updates=scheduler.updates,
        seconds=scheduler.clock.elapsed() + loop.search_seconds,
        forward_passes=passes + len(losses) + loop.search_passes + probe_passes,
        evaluation_passes=loop.evaluation_passes,
        share=share,
        probe_passes=probe_passes,
        decisions=tuple(map(_readable, scheduler.policy.history)),
    )  # fmt: skip


def _evaluation(scheduler: lehr.Scheduler, train_loss: float, validation_loss: float, validation: float) -> Evaluation:
    return Evaluation(
        update=scheduler.updates,
        progress=scheduler.progress,
        seconds=scheduler.clock.elapsed(),
        train_loss=_finite(train_loss),
        validation_loss=_finite(validation_loss),
        validation=_finite(validation),
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _readable(decision: lehr.policy.Decision) -> lehr.policy.Decision:
    """The decision with None for what is not finite, as files have it; r* is so where no minimum is in sight."""
    return replace(
        decision,
        slope=_finite(decision.slope),
        curvature=_finite(decision.curvature),
        minimiser=_finite(decision.minimiser),
        pooled=_finite(decision.pooled),
    )


def _thinned(rows: list[tuple[float, float]], most: int = 200) -> tuple[tuple[float, float], ...]:
    """At most about `most` of the rows, evenly spaced, the last included, to six digits: for a picture."""
    rows = [row for row in rows if math.isfinite(row[1])]
    stride = max(1, math.ceil(len(rows) / most))
    thinned = rows[::stride] if (len(rows) - 1) % stride == 0 else [*rows[::stride], rows[-1]]
    return tuple((float(f"{progress:.6g}"), float(f"{rate:.6g}")) for progress, rate in thinned)
