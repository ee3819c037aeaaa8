"""The loop that everybody writes, once."""

from __future__ import annotations

import math
import os
import signal
import threading
from array import array
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from lehr._arguments import function_argument, path_argument, whole_argument
from lehr._numbers import shown
from lehr.autopilot.autopilot import Autopilot
from lehr.autopilot.display import Display, display
from lehr.autopilot.rate_choice import RateChoice
from lehr.autopilot.result import Ending, Evaluation, FitResult
from lehr.autopilot.search import RateSearch, with_end
from lehr.budget import Budget
from lehr.budget.budget import parse_amount
from lehr.policy import Policy
from lehr.scheduler import Scheduler, ranks
from lehr.schedules import Schedule
from lehr.state import Checkpoints
from lehr.training.idle import MOST_IDLE, check_idle
from lehr.training.modes import same_modes
from lehr.training.training import Training, check_training
from lehr.training.update import OutOfData

MOST: Final = 100_000
"""Losses that are remembered; of a longer run every second, fourth, ... one."""

MARKS: Final = 10
"""How often a run is evaluated and saved unless told otherwise."""

Log = Callable[[int, Mapping[str, float]], Any]
Evaluate = Callable[[], float | Mapping[str, float]]


def fit(
    training: Training,
    budget: str | Budget,
    policy: Policy | Schedule | Sequence[Schedule] | Autopilot | None = None,
    *,
    evaluate: Evaluate | None = None,
    every: str | None = None,
    checkpoints: str | os.PathLike[str] | None = None,
    log: Log | None = None,
    log_every: int = 10,
    progress: bool = True,
    accept: str | Collection[str] = (),
) -> FitResult:
    """Train until the budget is spent, and say what happened.

    Without a policy, the `Autopilot` finds the rate by trials within the budget, and `result.explain()` says how.
    Evaluation and saving do not count as time. With `checkpoints`, a run that was killed goes on where it was saved
    last, bit for bit under a budget of steps. Ctrl-C and SIGTERM end it after the update under way, saved. Several
    processes stop together; `checkpoints` is for one, and with several keep your own (`lehr.Checkpoints`).

    Args:
        training: what to train.
        budget: what there is to spend, as text such as "30min" or "3ep", or as a `Budget`.
        policy: a schedule, a list of schedules, a policy, or an `Autopilot` with other settings than usual.
        evaluate: a number, or numbers by name, from data held out. It may put the model into evaluation mode.
        every: how much of the budget lies between evaluations, and between checkpoints, such as "1ep" or "500steps"; a
            tenth of the budget if not given.
        checkpoints: the folder for them; none are written if not given.
        log: told the number of updates and values by name: loss, progress, the rate of each group, metrics, what
            `evaluate` said.
        log_every: after how many updates to call it, at least 1.
        progress: whether to show how far the run has come: a bar if rich is installed, else lines of text.
        accept: how a checkpoint may differ from this run, as in `Scheduler.load_state_dict`: `accept="budget"` trains
            longer, or shorter, than the run that wrote it.

    Raises:
        ValueError: if an argument makes no sense, or the folder holds another run.
        NoSuggestion: if the autopilot finds no rate that lowers the loss.
        RuntimeError: if no update is made any more.

    >>> model = torch.nn.Linear(4, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> loader = torch.utils.data.DataLoader(torch.randn(64, 4), batch_size=16)
    >>> training = Training(model, optimizer, loader, lambda model, x: (model(x) - x[:, :1]).square().mean())
    >>> result = fit(training, "5ep", Linear(), progress=False)
    >>> result.ending, result.updates, result.losses[-1][1] < result.losses[0][1]
    ('budget spent', 20, True)
    >>> result = fit(training, "1000steps", progress=False)
    >>> result.choice.spent + result.choice.begun + result.updates <= 1000
    True
    """
    check_training("fit", training)
    log_every = whole_argument("fit: log_every", log_every)
    if checkpoints is not None and ranks.several():
        raise ValueError(
            "fit: checkpoints cannot be used with several processes, which would write into one folder; save "
            "training.state_dict() and scheduler.state_dict() of each in a loop of your own"
        )
    if evaluate is not None:
        function_argument("fit: evaluate", evaluate, "nothing, which returns numbers")
    if log is not None:
        function_argument("fit: log", log, "the number of updates and the values by name")
    if checkpoints is not None:
        checkpoints = path_argument("fit: checkpoints", checkpoints)
    total = with_end("fit", training.budget(budget))
    between = _between(total, training, every)
    choice = None
    if policy is None or isinstance(policy, Autopilot):
        choice = _choose_rate(training, total, policy or Autopilot(), checkpoints)
        training.set_peak(choice.rate)
        policy, total = choice.policy(), choice.rest
    scheduler = Scheduler(training, policy, total, accept=accept)
    run = _Run(training, scheduler)
    saved = None if checkpoints is None else Checkpoints(checkpoints, training=training, scheduler=scheduler, run=run)
    if saved is not None:
        saved.resume()
    with _stop_signals() as stops, display(wanted=progress and ranks.is_first()) as shown:
        ending = _train(run, between, evaluate, saved, log, log_every, stops, shown)
    run.take()
    return run.result(ending, choice)


def _choose_rate(
    training: Training, total: Budget, pilot: Autopilot, checkpoints: str | os.PathLike[str] | None
) -> RateChoice:
    """Search, saved after each trial, or go on with a search that was saved."""
    search = RateSearch(training, total, pilot.search, "fit")
    if checkpoints is None:
        return search.run()
    saved = Checkpoints(Path(checkpoints) / "search", training=training, search=search)
    saved.resume()

    def save() -> None:
        saved.save(search.made)

    return search.run(save)


def _train(
    run: _Run,
    between: float,
    evaluate: Evaluate | None,
    saved: Checkpoints | None,
    log: Log | None,
    log_every: int,
    stops: Sequence[int],
    shown: Display,
) -> Ending:
    """Make updates to the end, and look up from them now and then."""
    scheduler = run.scheduler
    recovers = scheduler.policy.recovers
    ending: Ending | None = None
    due, marked_at, skipped = _next_mark(scheduler.progress, between), -1, 0
    while ending is None and not scheduler.finished:
        try:
            skipped = 0 if run.advance() else skipped + 1
        except OutOfData:
            if scheduler.updates == marked_at:
                return "data used up"
            ending = "data used up"
        if skipped >= MOST_IDLE and run.training.scaler is not None:
            return "not finite"
        check_idle(skipped)
        regular = not skipped and scheduler.updates % log_every == 0
        if ending is None and _stop(stops, regular=regular):
            ending = "interrupted"
        marked = ending is not None or (not skipped and (scheduler.progress >= due - 1e-9 or scheduler.finished))
        if not marked and not regular:
            continue
        finite = run.take() and (not marked or run.is_finite())
        if not finite and not recovers:
            return "not finite"  # before it is saved, since nobody could go on from there
        values = run.values()
        shown.show(scheduler.progress, {key: values[key] for key in ("loss", "lr")})
        if marked:
            due, marked_at = _next_mark(scheduler.progress, between), scheduler.updates
            if evaluate is not None and ending != "interrupted":
                values.update(run.evaluate(evaluate))
        if log is not None:
            log(scheduler.updates, values)
        if saved is not None and marked:
            with scheduler.paused():
                saved.save(scheduler.updates)
    return ending or "budget spent"


def _next_mark(progress: float, between: float) -> float:
    return (math.floor(progress / between + 1e-9) + 1) * between


def _stop(stops: Sequence[int], *, regular: bool) -> bool:
    """Whether to stop; several processes agree on it now and then, since all must stop at the same update."""
    if not ranks.several():
        return bool(stops)
    return regular and ranks.total(float(bool(stops))) > 0.0


class _Run:
    """What is remembered of a run, and goes into its checkpoints."""

    def __init__(self, training: Training, scheduler: Scheduler) -> None:
        self.training = training
        self.scheduler = scheduler
        self.evaluations: list[Evaluation] = []
        self._updates = array("q")
        self._losses = array("d")
        self._every = 1
        self._waiting: list[Tensor] = []
        self._recent = math.nan

    def advance(self) -> bool:
        """Make an update, and note its loss without waiting for the device; False if the gradient scaler skipped it."""
        before = self.scheduler.updates
        loss = self.training.step(self.scheduler)
        made = self.scheduler.updates > before
        if made:
            self._waiting.append(loss)
        return made

    def take(self) -> bool:
        """Look at the losses noted since the last time; whether the last of them is finite."""
        if not self._waiting:
            return True
        losses = torch.stack([loss.double() for loss in self._waiting]).tolist()
        last = self.scheduler.updates - 1
        self._waiting.clear()
        for update, loss in enumerate(losses, start=last + 1 - len(losses)):
            if update % self._every == 0:
                self._updates.append(update)
                self._losses.append(loss)
        if len(self._losses) > MOST:
            self._every *= 2
            keep = [index for index, update in enumerate(self._updates) if update % self._every == 0]
            self._updates = array("q", [self._updates[index] for index in keep])
            self._losses = array("d", [self._losses[index] for index in keep])
        self._recent = sum(losses) / len(losses)
        return math.isfinite(losses[-1])

    def is_finite(self) -> bool:
        """Whether all weights are."""
        weights = [p for module in self.training.modules for p in module.parameters() if p.is_floating_point()]
        return all(bool(weight.detach().isfinite().all()) for weight in weights)

    def values(self) -> dict[str, float]:
        """What a logger is told."""
        rates = self.scheduler.get_last_lr()
        values = {"loss": self._recent, "progress": self.scheduler.progress, "lr": rates[0]}
        if len(rates) > 1:
            values |= {f"lr/{index}": rate for index, rate in enumerate(rates)}
        return values | numbers_in(self.training.metrics)

    def evaluate(self, evaluate: Evaluate) -> dict[str, float]:
        """Ask for numbers from data held out; time stands still, and modes are put back."""
        with self.scheduler.paused(), same_modes(self.training.modules):
            found = evaluate()
        values = found if isinstance(found, Mapping) else {"evaluation": found}
        try:
            numbers = {str(name): float(value) for name, value in values.items()}
        except (TypeError, ValueError, RuntimeError):
            raise ValueError(f"fit: evaluate must return a number, or numbers by name; got {shown(found)}") from None
        scheduler = self.scheduler
        self.evaluations.append(Evaluation(scheduler.updates, scheduler.progress, scheduler.clock.elapsed(), numbers))
        return numbers

    def result(self, ending: Ending, choice: RateChoice | None) -> FitResult:
        scheduler = self.scheduler
        bases = scheduler.base_lrs
        rates = [
            (update, progress, tuple(b * f for b, f in zip(bases, _wide(factors, len(bases)), strict=True)))
            for update, progress, factors in scheduler.history
        ]
        return FitResult(
            ending, scheduler.updates, scheduler.clock.elapsed(), list(zip(self._updates, self._losses, strict=True)),
            rates, tuple(scheduler.policy.history), tuple(self.evaluations), self.training.peak, choice,
        )  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        self.take()
        return {
            "updates": self._updates.tolist(), "losses": self._losses.tolist(), "every": self._every,
            "evaluations": [[one.update, one.progress, one.seconds, dict(one.values)] for one in self.evaluations],
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._updates, self._losses = array("q", state["updates"]), array("d", state["losses"])
        self._every = state["every"]
        self.evaluations = [Evaluation(*row) for row in state["evaluations"]]
        self._waiting.clear()


def numbers_in(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The metrics that are one number; others, such as one for each class, no curve can be drawn of.

    >>> numbers_in({"accuracy": torch.tensor(0.5), "per class": torch.ones(3), "note": "text"})
    {'accuracy': 0.5}
    """
    found = {}
    for name, value in metrics.items():
        try:
            found[name] = float(value.detach() if isinstance(value, Tensor) else value)
        except (TypeError, ValueError, RuntimeError):
            continue
    return found


def _wide(factors: tuple[float, ...], groups: int) -> tuple[float, ...]:
    return factors * groups if len(factors) == 1 else factors


def _between(whole: Budget, training: Training, every: str | None) -> float:
    """The share of the budget between two marks."""
    if every is None:
        return 1.0 / MARKS
    amount, unit = parse_amount(every)
    known = training.budget(every) if unit == "epochs" else None
    if known is not None and whole.unit == "steps":
        return known.total / whole.total
    return whole.fraction(**{unit: amount})


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM fill a list, once, instead of breaking off an update; only in the main thread."""
    stops: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield stops
        return

    def stop(number: int, _: Any) -> None:
        stops.append(number)
        signal.signal(number, before[number])  # the second time it is meant at once

    numbers = (signal.SIGINT, signal.SIGTERM)
    before: dict[int, Any] = {number: signal.getsignal(number) for number in numbers}
    try:
        for number in numbers:
            signal.signal(number, stop)
        yield stops
    finally:
        for number in numbers:
            signal.signal(number, before[number])
