"""One run: a task trained by one method, from one seed, under one budget."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import lehr
from lehr.lab.data import Data
from lehr.lab.loop import Loop
from lehr.lab.methods import Method
from lehr.lab.task import Task, tokens_in


@dataclass(frozen=True)
class Settings:
    """How runs are made, the same for all that are compared.

    Args:
        budget: what a run may spend, as text.
        evaluations: how often a run is validated, evenly over the budget; at least 1.
        bf16: bfloat16 autocast; faster only on processors with instructions for it, and much slower on others.
    """

    budget: str
    evaluations: int = 20
    bf16: bool = False


@dataclass
class Run:
    """What came of one run.

    `curve` holds a row for each evaluation, and `decisions` what a tuner saw and did; `forward_passes` includes those
    of probes, `probe_passes`.
    """

    method: str
    policy: str
    seed: int
    lr: float
    curve: list[dict[str, float]] = field(default_factory=list)
    rates: list[tuple[float, float]] = field(default_factory=list)
    diverged_at: int | None = None
    validation: float | None = None
    test: float | None = None
    updates: int = 0
    seconds: float = 0.0
    forward_passes: int = 0
    evaluation_passes: int = 0
    share: float = 1.0
    probe_passes: int = 0
    decisions: list[dict[str, Any]] = field(default_factory=list)


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
    loop = Loop(task, data, seed, bf16=settings.bf16)
    lr = loop.set_peak(lr)
    policy = method.policy(loop)
    if method.finds_peak:
        lr = loop.peak
    run = Run(method.name, method.code, seed, lr, share=share)
    evaluations = max(1, round(settings.evaluations * share))
    losses: list[float] = []
    due = 1
    scheduler = lehr.Scheduler(loop.training, policy, budget_for(task, data, settings.budget).scaled(share))
    probe = loop.probe() if "loss_at" in scheduler.policy.needs else None
    while not scheduler.finished:
        loss = loop.training.backward()
        losses.append(loss.item())
        if not math.isfinite(losses[-1]) and not scheduler.policy.recovers:
            run.diverged_at = scheduler.updates
            break
        scheduler.observe(loss=loss, loss_at=probe)
        loop.training.update()
        scheduler.step()
        if scheduler.progress >= due / evaluations - 1e-9 or scheduler.finished:
            due = int(scheduler.progress * evaluations + 1e-9) + 1
            with scheduler.paused():
                run.curve.append(_row(scheduler, sum(losses) / len(losses), *loop.evaluate(data.validation)))
                report(scheduler.progress)
            run.forward_passes += len(losses)
            losses.clear()
    run.forward_passes += len(losses) + loop.search_passes
    if probe is not None:
        run.forward_passes += probe.forward_passes
        run.probe_passes = probe.forward_passes
    run.decisions = [asdict(decision) for decision in scheduler.policy.history]
    run.updates = scheduler.updates
    run.seconds = scheduler.clock.elapsed() + loop.search_seconds
    run.rates = _thinned([(progress, lr * factors[0]) for _, progress, factors in scheduler.history])
    if run.diverged_at is None:
        results = [run.curve[-1]["validation_loss"], run.curve[-1]["validation"]]
        if look_at_test:
            results.append(loop.evaluate(data.test)[1])
        if all(map(math.isfinite, results)):
            run.validation, run.test = results[1], results[2] if look_at_test else None
        else:
            run.diverged_at = scheduler.updates
    run.evaluation_passes = loop.evaluation_passes
    return run


def _row(scheduler: lehr.Scheduler, train_loss: float, validation_loss: float, validation: float) -> dict[str, float]:
    return {
        "update": scheduler.updates,
        "progress": scheduler.progress,
        "seconds": scheduler.clock.elapsed(),
        "train_loss": train_loss,
        "validation_loss": validation_loss,
        "validation": validation,
    }


def _thinned(rows: list[tuple[float, float]], most: int = 200) -> list[tuple[float, float]]:
    """At most about `most` of the rows, evenly spaced, the last included, to six digits: for a picture."""
    stride = max(1, math.ceil(len(rows) / most))
    thinned = rows[::stride] if (len(rows) - 1) % stride == 0 else [*rows[::stride], rows[-1]]
    return [(float(f"{progress:.6g}"), float(f"{rate:.6g}")) for progress, rate in thinned]
