"""The learning-rate range test: one short run over all rates, that leaves no trace."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from typing import Any, Final, Literal

from torch import Tensor

from lehr._arguments import flag_argument, function_argument, whole_argument
from lehr._numbers import real, shown
from lehr.scheduler import ranks
from lehr.scheduler.last_words import telling
from lehr.training import Training
from lehr.training.modes import same_modes
from lehr.training.training import check_training
from lehr.training.update import OutOfData
from lehr.trials.curve import noise
from lehr.trials.rate_setter import RateSetter
from lehr.trials.result import Ending, RangeTestResult

MEMORY: Final = 0.9
"""How much of the running mean of the loss, which decides when to stop, is kept at each update."""

PATIENCE: Final = 3
"""For how many updates running the loss must be too high, since a single bad batch is not divergence."""

SETTLED: Final = 10
"""Updates before which the test does not stop, unless the loss is not finite."""


def range_test(
    training: Training,
    *,
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

    Groups keep their ratios to the first one that trains. Over several processes the losses are averaged, and all stop
    together with the same answer. The test stops early when the loss is not finite, or, after ten updates, when it and
    its running mean have for three updates been above where they began, and above their lowest by `diverge` times the
    fall so far (or three times the scatter, if that is more); both work for negative losses.

    Args:
        training: what to train. If its loss gives metrics, the first of them is noted as well.
        low: first rate of the first group that trains, above 0.
        high: last one, above `low`.
        steps: updates to make, at least 2.
        mode: whether rates rise by factors or by differences; Smith's own test is linear.
        evaluate: a metric on held-out data, if wanted.
        evaluate_every: after how many updates each, at least 1.
        higher_is_better: whether more of the metric is better.
        diverge: how far the loss may rise, in units of its fall.

    Raises:
        ValueError: if an argument makes no sense, or the training steps a scheduler that it does not name.

    Source: Smith 2017 (arXiv 1506.01186), section 3.3.

    >>> model = torch.nn.Linear(4, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> loader = torch.utils.data.DataLoader(torch.randn(64, 4), batch_size=64)
    >>> training = Training(model, optimizer, loader, lambda model, x: (model(x) - x[:, :1]).square().mean())
    >>> result = range_test(training, low=1e-4, high=10.0, steps=100)
    >>> result.ending, 0.1 < result.edge() < 3.0
    ('diverged', True)
    """
    check_training("range_test", training)
    low, high, diverge = _number_of("low", low), _number_of("high", high), _number_of("diverge", diverge)
    steps = whole_argument("range_test: steps", steps, 2)
    evaluate_every = whole_argument("range_test: evaluate_every", evaluate_every)
    higher_is_better = flag_argument("range_test: higher_is_better", higher_is_better)
    if evaluate is not None:
        function_argument("range_test: evaluate", evaluate, "nothing, which returns a number")
    if not 0.0 < low < high < math.inf:
        raise ValueError(f"range_test: low must be above 0 and high above low; got low={low!r}, high={high!r}")
    if mode not in ("exp", "linear"):
        raise ValueError(f"range_test: mode must be 'exp' or 'linear'; got {shown(mode)}")
    if not diverge > 0.0:
        raise ValueError(f"range_test: diverge must be above 0; got {shown(diverge)}")
    test = _Test(higher_is_better, diverge)
    watched = not training.has_schedulers
    with training.untouched(), telling(), RateSetter(training.optimizers, "range_test") as setter:
        for index in range(steps):
            share = index / (steps - 1)
            setter.set(low * (high / low) ** share if mode == "exp" else low + (high - low) * share)
            try:
                loss = training.step()
            except OutOfData:
                break
            test.add(setter.rate, loss, next(iter(training.metrics.values()), None))
            if watched:
                setter.check()
            if test.ending != "high":
                break
            if evaluate is not None and (index + 1) % evaluate_every == 0:
                with same_modes(training.modules):
                    found = evaluate()
                test.evaluations.append((setter.rate, float(ranks.mean(_number("evaluation", found)))))
    return test.result(evaluated=evaluate is not None)


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

    def add(self, rate: float, loss: Any, metric: Any) -> None:
        number = float(ranks.mean(_number("loss", loss)))
        self.rates.append(rate)
        self.losses.append(number)
        share = float(ranks.mean(float(metric is not None)))  # of the ranks that have one
        if share == 1.0:
            self.metrics.append(float(ranks.mean(_number("metric", metric))))
        if share not in (0.0, 1.0) or len(self.metrics) not in (0, len(self.losses)):
            raise ValueError("range_test: the training's loss must give a metric at each update and rank, or at none")
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

    def result(self, *, evaluated: bool) -> RangeTestResult:
        return RangeTestResult(
            self.rates, self.losses, self.metrics or None, self.evaluations if evaluated else None, self.ending,
            self._higher_is_better,
        )  # fmt: skip


def _number(what: str, value: Any) -> float:
    try:
        return float(value.detach() if isinstance(value, Tensor) else value)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(
            f"range_test: the {what} must come back as one number; got {shown(value)}"
            + (". Does it end with `return loss`?" if value is None else "")
        ) from None


def _number_of(name: str, value: Any) -> float:
    number = real(value)
    if number is None or math.isnan(number):
        raise ValueError(f"range_test: {name} must be a number; got {shown(value)}")
    return number
