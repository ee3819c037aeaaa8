"""The budget: how much training there is to spend, in exactly one unit."""

from __future__ import annotations

import math
import re
import string
from collections.abc import Sized
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from lehr._arguments import whole_argument
from lehr._numbers import LARGEST, SMALLEST, plain, shown

Unit = Literal["steps", "epochs", "samples", "tokens", "seconds"]

UNITS: Final[tuple[Unit, ...]] = ("steps", "epochs", "samples", "tokens", "seconds")

_SUFFIXES: Final[dict[str, tuple[Unit, float]]] = {
    "step": ("steps", 1),
    "steps": ("steps", 1),
    "st": ("steps", 1),
    "ba": ("steps", 1),  # Composer's batches
    "ep": ("epochs", 1),
    "epoch": ("epochs", 1),
    "epochs": ("epochs", 1),
    "sample": ("samples", 1),
    "samples": ("samples", 1),
    "sp": ("samples", 1),
    "tok": ("tokens", 1),
    "token": ("tokens", 1),
    "tokens": ("tokens", 1),
    "s": ("seconds", 1),
    "sec": ("seconds", 1),
    "second": ("seconds", 1),
    "seconds": ("seconds", 1),
    "m": ("seconds", 60),
    "min": ("seconds", 60),
    "minute": ("seconds", 60),
    "minutes": ("seconds", 60),
    "h": ("seconds", 3600),
    "hour": ("seconds", 3600),
    "hours": ("seconds", 3600),
    "d": ("seconds", 86400),
    "day": ("seconds", 86400),
    "days": ("seconds", 86400),
}

_CLOCK: Final = re.compile(r"(?=.*\d[hm]\d)(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?", re.ASCII)
"""Hours, minutes and seconds of which at least two are there, as in 1h30m or 5m30s."""

_NO_AMOUNTS: Final[dict[str, str]] = {  # what else Composer's time strings count
    "dur": "is a share of a budget, not one: give max_duration here, as in '3ep', and the share to the curve, as in "
    "lehr.Cosine().after_warmup(0.1), or as budget.scaled(0.1)",
    "iter": "counts iterations, whose length only Composer's trainer knows: write the updates, as in '500ba', or '3ep'",
}


@dataclass(frozen=True, repr=False, kw_only=True)
class Budget:
    """How much training there is to spend, in exactly one of steps, epochs, samples, tokens or seconds.

        progress = spent / amount

    A step is one update of the optimizer, however many batches it accumulated. Samples and tokens are counted over all
    ranks; if every update uses the same number, say it here, else tell `scheduler.observe(samples=...)` before each
    `scheduler.step()`. Seconds follow a monotonic clock that starts when the optimizer's first update begins.

    Args:
        steps: updates, above 0.
        epochs: passes over the data, above 0; needs `steps_per_epoch`.
        samples: training examples, above 0.
        tokens: training tokens, above 0.
        seconds: wall-clock time, above 0.
        steps_per_epoch: updates an epoch, above 0; with any unit but seconds it also converts for `fraction`.
        samples_per_step: examples an update over all ranks, above 0.
        tokens_per_step: tokens an update over all ranks, above 0.

    Raises:
        ValueError: if not exactly one unit is given, or a number is not above 0 and finite (from 1e-30 to 1e30).

    >>> Budget(epochs=3, steps_per_epoch=100).total
    300
    >>> Budget(steps=10, epochs=2)
    Traceback (most recent call last):
    ValueError: Budget takes exactly one of steps, epochs, samples, tokens or seconds; got steps and epochs
    """

    steps: float | None = None
    epochs: float | None = None
    samples: float | None = None
    tokens: float | None = None
    seconds: float | None = None
    steps_per_epoch: float | None = None
    samples_per_step: float | None = None
    tokens_per_step: float | None = None
    endless: bool = False

    def __post_init__(self) -> None:
        given = [unit for unit in UNITS if getattr(self, unit) is not None]
        if len(given) != 1:
            got = " and ".join(given) or "none"
            raise ValueError(f"Budget takes exactly one of steps, epochs, samples, tokens or seconds; got {got}")
        for name in (*given, "steps_per_epoch", "samples_per_step", "tokens_per_step"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, _amount("Budget", name, value))
        if self.epochs is not None and self.steps_per_epoch is None:
            raise ValueError(
                "Budget(epochs=...) needs steps_per_epoch, the number of updates an epoch (len(loader)), which "
                "accumulated batches and several processes make fewer: write Budget.over(loader, epochs=..., "
                "accumulate=..., ranks=...), and for a stream, which has no length, count steps instead"
            )
        if not SMALLEST <= self.total <= LARGEST:
            raise ValueError(
                f"Budget: epochs and steps_per_epoch make {self.total:g} updates, and must make from {SMALLEST:g} to "
                f"{LARGEST:g}; got {shown(self.epochs)} and {self.steps_per_epoch!r}"
            )

    @classmethod
    def every(cls, **amount: float) -> Budget:
        """No end, but a measure: progress grows by 1 every so many steps (or epochs, samples, tokens, seconds).

        For cycles that run open-ended: CLR with `step_size=2000` is `Triangular()` under `Budget.every(steps=4000)`.
        `finished` stays False and `remaining` infinite.

        >>> Budget.every(steps=4000)
        Budget.every(steps=4000)
        """
        return cls(**amount, endless=True)

    @classmethod
    def over(cls, batches: Sized, *, epochs: float, accumulate: int = 1, ranks: int = 1) -> Budget:
        """Passes over batches, of which an update takes several.

            steps_per_epoch = ceil(len(batches) / (accumulate ranks))

        Args:
            batches: a loader, or anything else with a length.
            epochs: passes over the batches, above 0.
            accumulate: batches whose gradients make one update on a process, at least 1. What is left over at the end
                of an epoch makes an update, as in the trainers of other libraries.
            ranks: processes that share these batches, at least 1; leave it out where the loader is that of one process
                already, with a `DistributedSampler` or as `accelerator.prepare` returned it.

        Raises:
            TypeError: if the batches have no length.
            ValueError: if a number is out of range.

        >>> Budget.over(range(100), epochs=3, accumulate=4, ranks=2)
        Budget(epochs=3, steps_per_epoch=13)
        """
        together = 1
        for name, value in (("accumulate", accumulate), ("ranks", ranks)):
            together *= whole_argument(f"Budget.over: {name}", value)
        try:
            length = len(batches)
        except TypeError:  # also of a loader, if its data are a stream
            raise TypeError(
                f"Budget.over: batches is a {type(batches).__name__} that does not know its length. For a stream write "
                "Budget(steps=...) or Budget(samples=...)"
            ) from None
        if not length:
            raise ValueError("Budget.over: batches is empty; give those that an epoch goes over")
        return cls(epochs=epochs, steps_per_epoch=-(-length // together))

    @classmethod
    def parse(
        cls,
        text: str,
        *,
        steps_per_epoch: float | None = None,
        samples_per_step: float | None = None,
        tokens_per_step: float | None = None,
    ) -> Budget:
        """The budget that a text such as "500steps", "3ep", "50000samples", "1e9tok", "90s", "30min" or "2h" names.

        Composer's time strings, "3ep", "500ba", "2048sp", "1e9tok", "90sec" and "1h30m", are such texts.

        Args:
            text: a number and a unit, with or without a space between.
            steps_per_epoch: as in `Budget`; needed if the text counts epochs.
            samples_per_step: as in `Budget`.
            tokens_per_step: as in `Budget`.

        Raises:
            ValueError: if the number or the unit is missing or unknown.

        >>> Budget.parse("30min")
        Budget(seconds=1800)
        """
        amount, unit = parse_amount(text)
        return cls(
            **{unit: amount},  # type: ignore[arg-type]
            steps_per_epoch=steps_per_epoch,
            samples_per_step=samples_per_step,
            tokens_per_step=tokens_per_step,
        )

    @property
    def unit(self) -> Unit:
        """The unit the budget is given in."""
        return next(unit for unit in UNITS if getattr(self, unit) is not None)

    @property
    def amount(self) -> float:
        """How much of the unit."""
        amount: float = getattr(self, self.unit)
        return amount

    @property
    def total(self) -> float:
        """The amount in what is counted, which is updates for steps and epochs and otherwise the unit itself."""
        if self.epochs is not None:
            assert self.steps_per_epoch is not None
            return _whole(self.epochs * self.steps_per_epoch)
        return self.amount

    @property
    def counted(self) -> str:
        """What is counted, which is updates for steps and epochs and otherwise the unit itself."""
        return "updates" if self.unit in ("steps", "epochs") else self.unit

    @property
    def each(self) -> float | None:
        """What one update spends of `total`; None if that is known only once it has happened."""
        if self.samples is not None:
            return self.samples_per_step
        if self.tokens is not None:
            return self.tokens_per_step
        return None if self.seconds is not None else 1

    @property
    def updates(self) -> float | None:
        """How many updates the budget buys, rounded up; None if that depends on the run."""
        each = self.each
        return None if each is None else math.ceil(self.total / each * (1.0 - 1e-12))

    def scaled(self, share: float) -> Budget:
        """That share of this budget, in the same unit.

        Args:
            share: above 0; above 1 makes the budget larger.

        Raises:
            ValueError: if `share` is not above 0 and finite.

        >>> Budget(epochs=30, steps_per_epoch=200).scaled(0.1)
        Budget(epochs=3, steps_per_epoch=200)
        """
        times = plain(share)
        if times is None or not 0.0 < times < math.inf:
            raise ValueError(f"Budget.scaled: share must be a number above 0 and finite; got {shown(share)}")
        if not all(SMALLEST <= size <= LARGEST for size in (times, self.amount * times, self.total * times)):
            raise ValueError(f"Budget.scaled: share={shown(share)} of {self} is beyond what can be counted")
        amount: Any = {self.unit: _whole(float(f"{self.amount * times:.15g}"))}
        return replace(self, **amount)

    def fraction(self, **amount: float) -> float:
        """The share of this budget that an amount in steps, epochs, samples, tokens or seconds is.

        For people who think in updates: `Linear().after_warmup(budget.fraction(steps=500))`.

        Args:
            amount: exactly one unit by name, at least 0; convertible to this budget's unit.

        Raises:
            ValueError: if the units cannot be converted, naming what to give to `Budget`.

        >>> Budget(epochs=10, steps_per_epoch=200).fraction(steps=500)
        0.25
        """
        if len(amount) != 1 or (unit := next(iter(amount))) not in UNITS:
            raise ValueError(f"fraction takes exactly one of {', '.join(UNITS)}; got {', '.join(amount) or 'none'}")
        value = plain(amount[unit])
        if value != 0:
            value = _amount("fraction", unit, amount[unit])
        if unit == self.unit:
            return value / self.amount
        return value * self._in_steps(unit) / (self.amount * self._in_steps(self.unit))

    def _in_steps(self, unit: str) -> float:
        """Updates in one of `unit`."""
        if unit == "steps":
            return 1.0
        if unit == "epochs" and self.steps_per_epoch is not None:
            return self.steps_per_epoch
        if unit == "samples" and self.samples_per_step is not None:
            return 1.0 / self.samples_per_step
        if unit == "tokens" and self.tokens_per_step is not None:
            return 1.0 / self.tokens_per_step
        missing = {"epochs": "steps_per_epoch", "samples": "samples_per_step", "tokens": "tokens_per_step"}.get(unit)
        if missing is None:
            raise ValueError("seconds cannot be converted: how many updates fit into a second depends on the run")
        raise ValueError(f"to convert {unit}, Budget needs {missing}")

    def __repr__(self) -> str:
        names = (*UNITS, "steps_per_epoch", "samples_per_step", "tokens_per_step")
        arguments = ", ".join(f"{n}={_whole(getattr(self, n))!r}" for n in names if getattr(self, n) is not None)
        return f"Budget.every({arguments})" if self.endless else f"Budget({arguments})"

    def __str__(self) -> str:
        """The amount as a person would say it.

        >>> str(Budget(steps=1200))
        '1,200 steps'
        """
        amount = _whole(self.amount)
        number = f"{amount:,}" if isinstance(amount, int) else f"{amount:g}"
        return f"{'every ' if self.endless else ''}{number} {self.unit if amount != 1 else self.unit[:-1]}"


def parse_amount(text: str) -> tuple[float, Unit]:
    """The number and the unit in a text such as "3ep" or "30 min"."""
    if not isinstance(text, str):
        raise TypeError(f"a budget's text must be a str such as '500steps'; got {shown(text)}")
    if (clock := _CLOCK.fullmatch(text.strip())) is not None:
        hours, minutes, seconds = (int(part or 0) for part in clock.groups())
        return _amount("Budget", "seconds", 3600 * hours + 60 * minutes + seconds), "seconds"
    first, *rest = text.split() or [""]
    digits = first.rstrip(string.ascii_letters)
    suffix = first[len(digits) :] + "".join(rest)
    try:
        number = math.nan if len(rest) > 1 or (rest and digits != first) else float(digits)
    except ValueError:
        number = math.nan
    if math.isnan(number) or not (suffix.isalpha() or not suffix):
        raise ValueError(
            f"{shown(text)} is not a budget; write a number and a unit, such as 500steps, 3ep, 1e9tok or 30min"
        )
    if not suffix:
        raise ValueError(f"the budget {shown(text)} has no unit; write for example {digits:.20}steps or {digits:.20}ep")
    known = suffix if suffix == "M" else suffix.lower()  # M is more often a million than a minute
    if known in _NO_AMOUNTS:
        raise ValueError(f"the budget {shown(text)} {_NO_AMOUNTS[known]}")
    if known not in _SUFFIXES:
        raise ValueError(
            f"unknown unit {shown(suffix)} in the budget {shown(text)}; known are steps, ep, samples, tok, s, min, h "
            "and d"
        )
    unit, size = _SUFFIXES[known]
    return _whole(_amount("Budget", unit, number) * size), unit


def _amount(owner: str, name: str, value: Any) -> float:
    """`value` as Python's own number, if it is an amount."""
    number = plain(value)
    if number is None:
        raise ValueError(f"{owner}: {name} must be a number; got {shown(value)}")
    if not 0 < number < math.inf:
        raise ValueError(
            f"{owner}: {name} must be above 0 and finite, since it is what there is to spend; got {shown(value)}"
        )
    if not SMALLEST <= number <= LARGEST:
        raise ValueError(f"{owner}: {name} must lie between {SMALLEST:g} and {LARGEST:g}; got {shown(value)}")
    return number


def _whole(value: float) -> float:
    """`value` as an int if it is one, so that counts print as counts."""
    return int(value) if float(value).is_integer() else value
