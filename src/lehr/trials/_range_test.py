"""The learning-rate range test: one short run over all rates, that leaves no trace."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Literal, Self

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lehr.scheduler import ranks
from lehr.scheduler.param_groups import base_rates, set_rate
from lehr.state import parts_of, untouched
from lehr.trials.curve import noise
from lehr.trials.result import Ending, RangeTestResult

MEMORY: Final = 0.9
"""How much of the running mean of the loss, which decides when to stop, is kept at each update."""

PATIENCE: Final = 3
"""For how many updates running the loss must be too high, since a single bad batch is not divergence."""

SETTLED: Final = 10
"""Updates before which the test does not stop, unless the loss is not finite."""


def range_test(
    train_step: Callable[[], Any],
    optimizer: Optimizer | Sequence[Optimizer],
    *,
    restore: Iterable[Any],
    low: float = 1e-6,
    high: float = 10.0,
    steps: int = 200,
    mode: Literal["exp", "linear"] = "exp",
    evaluate: Callable[[], float] | None = None,
    evaluate_every: int = 10,
    higher_is_better: bool = True,
    diverge: float = 4.0,
) -> RangeTestResult:
    """Try all learning rates from `low` to `high` in one short run, and put everything back.

        exp: lr_i = low (high / low)^(i / (steps - 1));  linear: lr_i = low + (high - low) i / (steps - 1)

    `train_step` is yours, so it may accumulate gradients, scale them, clip, compile, or step a scheduler (whose rates
    are overwritten). Over several processes the losses are averaged, and all stop together with the same answer; return
    a metric on all or on none. The test stops early when the loss is not finite, or, after ten updates, when it and its
    running mean have for three updates been above where they began, and above their lowest by `diverge` times the fall
    so far (or three times the scatter, if that is more); both work for negative losses.

    Args:
        train_step: makes one update; returns the loss, a number or a tensor of one, or a pair of loss and metric.
        optimizer: whose rate to set, or several; groups keep their ratios to the first one.
        restore: what the updates change, as for `untouched`: model, scaler, schedulers, data (`Batches`), ...
        low: first rate of the first group, above 0.
        high: last one, above `low`.
        steps: updates to make, at least 2.
        mode: whether rates rise by factors or by differences; Smith's own test is linear.
        evaluate: a metric on held-out data, if wanted.
        evaluate_every: after how many updates each, at least 1.
        higher_is_better: whether more of the metric is better.
        diverge: how far the loss may rise, in units of its fall.

    Raises:
        ValueError: if an argument makes no sense, `train_step` returns no loss, or it steps a scheduler that is not in
            `restore`.

    Source: Smith 2017 (arXiv 1506.01186), section 3.3.

    >>> model = torch.nn.Linear(4, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> inputs = torch.randn(64, 4)
    >>> def train_step():
    ...     optimizer.zero_grad()
    ...     loss = (model(inputs) - inputs.sum(1, keepdim=True)).square().mean()
    ...     loss.backward()
    ...     optimizer.step()
    ...     return loss
    >>> found = range_test(train_step, optimizer, restore=[model], low=1e-4, high=10.0, steps=100)
    >>> found.ending, 0.1 < found.edge() < 3.0
    ('diverged', True)
    """
    _check(low, high, steps, mode, evaluate_every, diverge)
    optimizers = [optimizer] if isinstance(optimizer, Optimizer) else list(optimizer)
    parts = [*optimizers, *parts_of(restore)]
    ratios = _ratios(optimizers)
    watched = not any(isinstance(part, LRScheduler) or hasattr(part, "optimizer") for part in parts)
    test = _Test(higher_is_better, diverge)
    with untouched(*parts), _Setter(optimizers, ratios) as setter:
        for index in range(steps):
            share = index / (steps - 1)
            setter.rate = low * (high / low) ** share if mode == "exp" else low + (high - low) * share
            setter.set_all()
            test.add(setter.rate, train_step())
            if watched:
                setter.check()
            if test.ending != "high":
                break
            if evaluate is not None and (index + 1) % evaluate_every == 0:
                test.evaluations.append((setter.rate, float(ranks.mean(_number("evaluation", evaluate())))))
    return test.found(evaluated=evaluate is not None)


class _Setter:
    """Sets the rate before a step and again at the update itself, in case a scheduler has come in between."""

    def __init__(self, optimizers: list[Optimizer], ratios: list[list[float]]) -> None:
        self.rate = 0.0
        self._ratios = dict(zip(map(id, optimizers), ratios, strict=True))
        self._optimizers = optimizers

    def __enter__(self) -> Self:
        self._hooks = [each.register_step_pre_hook(self._at_update) for each in self._optimizers]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def set_all(self) -> None:
        for each in self._optimizers:
            set_rate(each, [self.rate * ratio for ratio in self._ratios[id(each)]])

    def check(self) -> None:
        for each in self._optimizers:
            for group, ratio in zip(each.param_groups, self._ratios[id(each)], strict=False):
                if not math.isclose(float(group["lr"]), self.rate * ratio, rel_tol=1e-5):
                    raise ValueError(
                        "range_test: train_step changed the learning rate itself; put the scheduler that does so in "
                        "restore"
                    )

    def _at_update(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if not torch.compiler.is_compiling():  # there it would be traced as a constant
            set_rate(optimizer, [self.rate * ratio for ratio in self._ratios[id(optimizer)]])


class _Test:
    """What has been seen so far, and whether to go on."""

    def __init__(self, higher_is_better: bool, diverge: float) -> None:  # noqa: FBT001 - handed through
        self.rates: list[float] = []
        self.losses: list[float] = []
        self.metrics: list[float] = []
        self.evaluations: list[tuple[float, float]] = []
        self.ending: Ending = "high"
        self._higher_is_better = higher_is_better
        self._diverge = diverge
        self._sum = self._weight = 0.0
        self._first = self._best = math.nan
        self._above = 0

    def add(self, rate: float, returned: Any) -> None:
        loss, metric = returned if isinstance(returned, tuple) and len(returned) == 2 else (returned, None)
        number = float(ranks.mean(_number("loss", loss)))
        self.rates.append(rate)
        self.losses.append(number)
        if metric is not None:
            self.metrics.append(float(ranks.mean(_number("metric", metric))))
        if len(self.metrics) not in (0, len(self.losses)):
            raise ValueError("range_test: train_step must return a metric at each update, or at none")
        if not math.isfinite(number):
            self.ending = "not finite"
        elif self._diverged(number):
            self.ending = "diverged"

    def _diverged(self, loss: float) -> bool:
        self._sum = MEMORY * self._sum + (1.0 - MEMORY) * loss
        self._weight = MEMORY * self._weight + 1.0 - MEMORY
        mean = self._sum / self._weight
        if len(self.losses) <= SETTLED:
            self._first, self._best = statistics.median(self.losses), mean
            return False
        self._best = min(self._best, mean)
        if min(mean, loss) <= self._first:  # as nearly always, so that the rest costs nothing
            self._above = 0
            return False
        scatter = noise(self.losses[: max(SETTLED, len(self.losses) // 2)])
        rounding = 1e-3 * max(abs(self._first), abs(self._best))
        fall = max(self._first - self._best, 3.0 * scatter, rounding)
        limit = max(self._best + self._diverge * fall, self._first)
        self._above = self._above + 1 if min(mean, loss) > limit else 0
        return self._above >= PATIENCE

    def found(self, *, evaluated: bool) -> RangeTestResult:
        return RangeTestResult(
            self.rates, self.losses, self.metrics or None, self.evaluations if evaluated else None, self.ending,
            self._higher_is_better,
        )  # fmt: skip


def _number(what: str, value: Any) -> float:
    try:
        return float(value.detach() if isinstance(value, Tensor) else value)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(
            f"range_test: the {what} must come back as one number; got {value!r:.80}"
            + (". Does it end with `return loss`?" if value is None else "")
        ) from None


def _ratios(optimizers: list[Optimizer]) -> list[list[float]]:
    """Each group's rate over that of the very first."""
    if not optimizers or not all(isinstance(each, Optimizer) for each in optimizers):
        raise TypeError("range_test: optimizer must be a torch.optim.Optimizer, or several")
    bases = [base_rates(each) for each in optimizers]
    first = bases[0][0]
    if not first > 0.0:
        raise ValueError("range_test: the first parameter group needs a rate above 0, to keep the groups' ratios")
    return [[base / first for base in each] for each in bases]


def _check(low: float, high: float, steps: int, mode: str, evaluate_every: int, diverge: float) -> None:
    if not 0.0 < low < high < math.inf:
        raise ValueError(f"range_test: low must be above 0 and high above low; got low={low!r}, high={high!r}")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 2:
        raise ValueError(f"range_test: steps must be a whole number, at least 2; got {steps!r}")
    if mode not in ("exp", "linear"):
        raise ValueError(f"range_test: mode must be 'exp' or 'linear'; got {mode!r}")
    if isinstance(evaluate_every, bool) or not isinstance(evaluate_every, int) or evaluate_every < 1:
        raise ValueError(f"range_test: evaluate_every must be a whole number, at least 1; got {evaluate_every!r}")
    if not diverge > 0.0:
        raise ValueError(f"range_test: diverge must be above 0; got {diverge!r}")
