"""What the callbacks of all trainers take, checked before training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import lehr
from lehr._arguments import number_argument, whole_argument
from lehr._numbers import LARGEST, shown


def check_policy(policy: Any) -> None:
    """Whether it is a policy, a schedule or several.

    Raises:
        TypeError: if not, with what to write.
    """
    if isinstance(policy, str):
        raise TypeError(f"Lehr: policy must be a schedule or a policy; write lehr.parse_schedule({policy!r})")
    if not _all_drive(policy if isinstance(policy, Sequence) else [policy]):
        raise TypeError(f"Lehr: policy must be a schedule or a policy, such as lehr.Linear(); got {shown(policy)}")


def _all_drive(several: Sequence[Any]) -> bool:
    return bool(several) and all(
        _all_drive(one) if isinstance(one, list | tuple) else isinstance(one, lehr.Policy | lehr.Schedule)
        for one in several
    )


def check_budget(budget: Any) -> None:
    """Whether it is a budget, a text that may name one, or None.

    Raises:
        TypeError: if not.
    """
    if budget is not None and not isinstance(budget, str | lehr.Budget):
        raise TypeError(f"Lehr: budget must be a lehr.Budget or a text such as '30min'; got {shown(budget)}")


def parsed(text: str, sizes: Mapping[str, float]) -> lehr.Budget:
    """The budget of a text.

    Args:
        text: such as "30min" or "3ep".
        sizes: what the trainer knows of `steps_per_epoch` and `samples_per_step`.

    Raises:
        ValueError: if it is none, or counts epochs of which the trainer does not know how long they are.
    """
    try:
        return lehr.Budget.parse(text, **sizes)
    except ValueError:
        if "steps_per_epoch" in sizes:
            raise
    lehr.Budget.parse(text, **sizes, steps_per_epoch=1)  # if it is wrong with that too, the reason is another
    raise ValueError(
        f"Lehr: the budget {text!r} counts epochs, but the trainer does not know how many updates one has; give the "
        "updates, as in '1000steps'"
    )


def check_countable(budget: lehr.Budget) -> None:
    """Whether a trainer can tell how much of it an update spends.

    Raises:
        ValueError: if not, with what to write.
    """
    if budget.unit in ("samples", "tokens") and budget.each is None:
        raise ValueError(
            f"Lehr: the trainer does not say how many {budget.unit} an update used; give the budget as "
            f"lehr.Budget({budget.unit}=..., {budget.unit}_per_step=...), or with Transformers tokens by "
            'TrainingArguments(include_num_input_tokens_seen="all")'
        )


def check_curve(name: str, schedule: Any, total: Any, peak: Any) -> tuple[int, float]:
    """The updates and the rate of a function from updates to rates, as Python's own numbers.

    Raises:
        TypeError: if `schedule` is no schedule.
        ValueError: if `total` is no whole number above 0, or `peak` no finite one from 0.
    """
    if not isinstance(schedule, lehr.Schedule):
        what = " looks at training, which only lehr.Scheduler shows it" if isinstance(schedule, lehr.Policy) else ""
        raise TypeError(f"{name}: schedule must be a schedule such as lehr.Linear(); {schedule!r}{what or ' is none'}")
    return whole_argument(f"{name}: total", total), number_argument(f"{name}: peak", peak, 0.0, LARGEST)
