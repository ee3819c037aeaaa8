"""A range test of a task, as `lehr find` makes it."""

from __future__ import annotations

import time
import warnings
from typing import Literal

import lehr
from lehr._arguments import whole_argument
from lehr._numbers import shown
from lehr.lab.loop import Loop, Trainable, check_trainable
from lehr.lab.placement import AUTO, Placement
from lehr.lab.seeds import LAST_SEED


def find(
    task: Trainable,
    *,
    low: float = 1e-5,
    high: float = 10.0,
    steps: int = 200,
    mode: Literal["exp", "linear"] = "exp",
    seed: int = 0,
    evaluate_every: int = 0,
    placement: Placement = AUTO,
) -> lehr.RangeTestResult:
    """Try all learning rates from `low` to `high` on a fresh network of the task.

    Args:
        task: whose network and optimizer.
        low: first rate of the optimizer's first group, above 0.
        high: last one.
        steps: updates to make.
        mode: whether rates rise by factors ("exp") or by differences ("linear").
        seed: of initial weights and batch order.
        evaluate_every: after how many updates each to look at the validation set; 0 never does. The metric is that of
            the batches otherwise, where the task measures one.
        placement: on which device and how it computes.

    Raises:
        TypeError: if `task` or `placement` is none.
        ValueError: if an argument makes no sense.

    >>> from lehr import lab
    >>> lab.find(lab.load_task("digits"), steps=100).ending
    'diverged'
    """
    check_trainable("find", task)
    if not isinstance(placement, Placement):
        raise TypeError(f"find: placement must be a lehr.lab.Placement; got {shown(placement)}")
    seed = whole_argument("find: seed", seed, 0, LAST_SEED)
    evaluate_every = whole_argument("find: evaluate_every", evaluate_every, 0)
    workload = task.workload()
    loop = workload.loop(seed, workload.placed(placement), measures=True)
    return lehr.range_test(
        loop.training,
        low=low,
        high=high,
        steps=steps,
        mode=mode,
        evaluate=(lambda: loop.evaluate_validation().value) if evaluate_every else None,
        evaluate_every=evaluate_every or 1,
        higher_is_better=task.criterion.higher_is_better,
    )


def find_edge(loop: Loop, *, low: float = 1e-5, high: float = 10.0, steps: int = 100) -> float:
    """The largest rate that a loop's network bears, for a method that starts from it; the loop is left as it was.

    Where noise or too low a ceiling hides it, the test is made again, twice and four times as long, and ten and a
    hundred times as high. If that shows no edge either, ten times the task's own rate is taken for it, with a warning.
    All passes and their time count as the loop's.

    Args:
        loop: at its start.
        low: first rate of the optimizer's first group, above 0.
        high: last one.
        steps: updates of the first test.
    """
    began = time.monotonic()
    edge = None
    for attempt in range(3):
        result = lehr.range_test(loop.training, low=low, high=high * 10.0**attempt, steps=steps * 2**attempt)
        loop.search_passes += len(result.losses)
        try:
            edge = result.edge()
            break
        except lehr.NoSuggestion as none:
            said = none
    loop.search_seconds += time.monotonic() - began
    if edge is None:
        edge = 10.0 * loop.peak
        warnings.warn(
            f"no range test shows an edge ({said}); ten times the task's own rate stands for it", stacklevel=2
        )
    return edge
