"""The schedule: a curve from progress to factor, the operators that combine curves, and what these make of them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import MISSING, dataclass, fields
from decimal import Decimal
from numbers import Real
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from lehr._numbers import LARGEST, plain, shown
from lehr._svg import figure
from lehr.schedules import _check
from lehr.schedules._namespace import (
    SCALARS,
    choose,
    from_beginning,
    namespace_of,
    part,
    quiet,
    reached,
    turns_at,
    whole,
)  # fmt: skip
from lehr.schedules._no_scheduler import no_scheduler

DEEPEST: Final = 100
"""How deep schedules can be nested: so deep that Python can still print, copy and read them again."""

Values = TypeVar("Values")


@dataclass(frozen=True, repr=False)
class Schedule(ABC):
    """A curve that says which share of the base learning rate to use at each share of the budget.

    A schedule maps *progress* (share of the budget spent; 0 at the first update, 1 when the budget is spent) to a
    *factor* (what the base learning rate is multiplied by; finite, at least 0). Update `k` of `n` uses
    `schedule(k / n)`. Beyond 1 a decay holds its last value and a cycle keeps cycling. Schedules are values: they
    compare, hash and pickle, and their `repr` is the code that makes them. They work on numbers and, elementwise,
    on NumPy arrays and torch tensors.

    Arguments may be numbers of any library, and become Python's own. Factors are at most 1e30: whatever is handed in
    must be no larger, and products that are saturate.

    To write your own, make a frozen dataclass with one method, `factor_at(progress, xp)`, where `xp` holds `cos`,
    `exp`, `sqrt`, ... for whatever kind of number `progress` is.

    >>> schedule = Cosine().after_warmup(0.1)
    >>> schedule
    Cosine().after_warmup(0.1)
    >>> [round(schedule(p), 3) for p in (0.0, 0.05, 0.1, 0.55, 1.0, 1.5)]
    [0.0, 0.5, 1.0, 0.5, 0.0, 0.0]
    """

    @abstractmethod
    def factor_at(self, progress: Any, xp: Any) -> Any:
        """The factor at `progress` (at least 0), computed with the functions of the namespace `xp`."""

    @overload
    def __call__(self, progress: float) -> float: ...
    @overload
    def __call__(self, progress: Values) -> Values: ...
    def __call__(self, progress: Any) -> Any:
        """The factor at `progress`; what lies before the start of the run has the first factor."""
        if type(progress) is not float and isinstance(progress, Real | Decimal):
            progress = progress if (number := plain(progress)) is None else number
        if type(progress) is float or type(progress) is int:
            return self._at(progress)
        xp = namespace_of(progress)
        if bool(xp.isnan(progress).any()):
            raise ValueError("progress must be a number; got nan")
        with quiet(xp):
            return self.factor_at(xp.clip(progress * 1.0, 0.0, LARGEST), xp)

    def _at(self, progress: float) -> float:
        inside = (float(progress) if progress < LARGEST else LARGEST) if progress > 0.0 else _start(progress)
        factor = float(self.factor_at(inside, SCALARS))
        if not 0.0 <= factor < math.inf:
            raise ValueError(
                f"{shown(self)} gives {factor} at progress {progress}; a factor must be finite and at least 0"
            )
        return factor

    if not TYPE_CHECKING:  # or every attribute would be there for type checkers

        def __getattr__(self, name: str) -> Any:
            raise no_scheduler(self, name)

    def __mul__(self, other: Schedule | float) -> Schedule:
        """Both factors multiplied at every progress; a number stands for a constant.

        >>> (Linear() * 0.5)(0.5)
        0.25
        """
        second = _as_schedule(other)
        return NotImplemented if second is None else Product(self, second)  # perhaps a policy, which knows what to do

    def __rmul__(self, other: float) -> Schedule:
        first = _as_schedule(other)
        return NotImplemented if first is None else Product(first, self)

    __array_ufunc__ = None
    """A NumPy number or array on the left of `*` leaves the product to the schedule."""

    def then(self, other: Schedule, *, at: float) -> Schedule:
        """This curve squeezed into the run up to `at`, then `other` over the rest.

        >>> Constant().then(Linear(), at=0.5)(0.75)
        0.5
        """
        return Then(self, other, at)

    def after_warmup(self, share: float, start: float = 0.0) -> Schedule:
        """This curve over the last `1 - share` of the run, after a linear rise from `start` to its first factor.

        A share of 0 leaves the curve as it is.

        >>> Linear().after_warmup(0.2, start=0.5)(0.1)
        0.75
        """
        start = _check.factor("after_warmup", "start", start)
        return AfterWarmup(self, share, start) if _check.number("after_warmup", "share", share) else self

    def until(self, end: float) -> Schedule:
        """This curve squeezed into the run up to `end`; afterwards its value at progress 1 holds.

        A curve that starts anew at 1, such as `WarmRestarts`, is therefore held at its top.

        >>> Linear().until(0.5)(0.25)
        0.5
        """
        return Until(self, end)

    def repeated(self, times: float, scale: float = 1.0) -> Schedule:
        """This curve `times` over, the i-th time (from 0) multiplied by `scale**i`; goes on beyond the budget.

        >>> Cosine().repeated(2, scale=0.5)(0.5)
        0.5
        """
        return Repeated(self, times, scale)

    def sampled(self, every: float) -> Schedule:
        """This curve as a staircase that changes at multiples of `every` (share of the budget) only.

        >>> Linear().sampled(0.25)(0.4)
        0.75
        """
        return Sampled(self, every)

    def clip(self, low: float = 0.0, high: float | None = None) -> Schedule:
        """This curve, but never below `low` nor above `high`.

        >>> Linear().clip(low=0.1)(1.0)
        0.1
        """
        return Clip(self, low, high)

    def between(self, low: float, high: float = 1.0) -> Schedule:
        """This curve mapped linearly so that its 0 becomes `low` and its 1 becomes `high`, which may be lower.

        >>> Linear().between(0.1)(1.0)
        0.1
        """
        return Between(self, low, high)

    def __repr__(self) -> str:
        """The code that makes this schedule, defaults left out."""
        arguments = [
            f"{field.name}={_code(value)}"
            for field in fields(self)
            if (value := getattr(self, field.name)) != _default(field)
        ]
        return f"{type(self).__name__}({', '.join(arguments)})"

    def _repr_html_(self) -> str:
        """The curve, for notebooks."""
        progress = [k / 400 for k in range(401)]
        return figure(progress, [self(share) for share in progress], caption=repr(self), across="share of the budget")

    _depth = 0
    """How many schedules are inside each other here."""


@dataclass(frozen=True, repr=False)
class Constant(Schedule):
    """The same factor throughout.

        f(p) = value

    Args:
        value: the factor, at least 0.

    >>> Constant(0.5)(0.9)
    0.5
    """

    value: float = 1.0

    def __post_init__(self) -> None:
        _check.each(self, _check.factor, "value")

    def factor_at(self, progress: Any, xp: Any) -> Any:
        return self.value if xp is SCALARS else self.value + 0.0 * progress


@dataclass(frozen=True, repr=False)
class Product(Schedule):
    """`first * second`: both factors multiplied."""

    first: Schedule
    second: Schedule

    def __post_init__(self) -> None:
        _nest(self, self.first, self.second, owner="*")

    def factor_at(self, progress: Any, xp: Any) -> Any:
        return _saturated(self.first.factor_at(progress, xp) * self.second.factor_at(progress, xp), xp)

    def __repr__(self) -> str:
        # * binds to the left, so a product on the right keeps its parentheses
        second = f"({self.second!r})" if isinstance(self.second, Product) else repr(self.second)
        return f"{self.first!r} * {second}"


@dataclass(frozen=True, repr=False)
class Then(Schedule):
    """`first.then(second, at=at)`: one curve up to `at`, another from there."""

    first: Schedule
    second: Schedule
    at: float

    def __post_init__(self) -> None:
        _check.each(self, _check.inside, "at", owner="then")
        _nest(self, self.first, self.second, owner="then")

    def factor_at(self, progress: Any, xp: Any) -> Any:
        at = self.at
        return choose(
            reached(progress, at, xp),
            lambda: self.second.factor_at(part(progress, at, 1.0 - at, xp), xp),
            lambda: self.first.factor_at(xp.clip(progress, 0.0, at) / at, xp),
            xp,
        )

    def __repr__(self) -> str:
        return f"{_operand(self.first)}.then({self.second!r}, at={self.at!r})"


@dataclass(frozen=True, repr=False)
class AfterWarmup(Schedule):
    """`schedule.after_warmup(share, start)`: a linear rise, then the whole curve over what remains."""

    schedule: Schedule
    share: float
    start: float = 0.0

    def __post_init__(self) -> None:
        _check.each(self, _check.inside, "share", owner="after_warmup")
        _check.each(self, _check.factor, "start", owner="after_warmup")
        _nest(self, self.schedule, owner="after_warmup")

    def factor_at(self, progress: Any, xp: Any) -> Any:
        share = self.share
        return choose(
            reached(progress, share, xp),
            lambda: self.schedule.factor_at(part(progress, share, 1.0 - share, xp), xp),
            lambda: self._rise(xp.clip(progress, 0.0, share) / share, xp),
            xp,
        )

    def _rise(self, risen: Any, xp: Any) -> Any:
        return _saturated(self.schedule(0.0) * (1.0 + (self.start - 1.0) * (1.0 - risen)), xp)

    def __repr__(self) -> str:
        start = f", start={self.start!r}" if self.start else ""
        return f"{_operand(self.schedule)}.after_warmup({self.share!r}{start})"


@dataclass(frozen=True, repr=False)
class Until(Schedule):
    """`schedule.until(end)`: the curve squeezed in front of `end`, its last value held behind."""

    schedule: Schedule
    end: float

    def __post_init__(self) -> None:
        _check.each(self, _check.share, "end", owner="until")
        _nest(self, self.schedule, owner="until")

    def factor_at(self, progress: Any, xp: Any) -> Any:
        return self.schedule.factor_at(xp.clip(progress, 0.0, self.end) / self.end, xp)

    def __repr__(self) -> str:
        return f"{_operand(self.schedule)}.until({self.end!r})"


@dataclass(frozen=True, repr=False)
class Repeated(Schedule):
    """`schedule.repeated(times, scale)`: the curve over and over, scaled a little more each time."""

    schedule: Schedule
    times: float
    scale: float = 1.0

    def __post_init__(self) -> None:
        _check.each(self, _check.positive, "times", owner="repeated")
        _check.each(self, _check.factor, "scale", owner="repeated")
        _nest(self, self.schedule, owner="repeated")
        if self.scale > 1.0:
            raise ValueError(
                f"repeated: scale must be at most 1, or the factor grows without end; got {shown(self.scale)}"
            )

    def factor_at(self, progress: Any, xp: Any) -> Any:
        turns = turns_at(progress, self.times, xp)
        turn = whole(turns, xp)
        return self.scale**turn * self.schedule.factor_at(from_beginning(turns - turn, xp), xp)

    def __repr__(self) -> str:
        scale = "" if self.scale == 1.0 else f", scale={self.scale!r}"
        return f"{_operand(self.schedule)}.repeated({self.times!r}{scale})"


@dataclass(frozen=True, repr=False)
class Sampled(Schedule):
    """`schedule.sampled(every)`: the curve read at multiples of `every` only."""

    schedule: Schedule
    every: float

    def __post_init__(self) -> None:
        _check.each(self, _check.share, "every", owner="sampled")
        _nest(self, self.schedule, owner="sampled")

    def factor_at(self, progress: Any, xp: Any) -> Any:
        return self.schedule.factor_at(whole(xp.clip(progress / self.every, 0.0, LARGEST), xp) * self.every, xp)

    def __repr__(self) -> str:
        return f"{_operand(self.schedule)}.sampled({self.every!r})"


@dataclass(frozen=True, repr=False)
class Clip(Schedule):
    """`schedule.clip(low, high)`: the curve with a floor and a ceiling."""

    schedule: Schedule
    low: float = 0.0
    high: float | None = None

    def __post_init__(self) -> None:
        _check.each(self, _check.factor, "low", *(() if self.high is None else ("high",)), owner="clip")
        if self.high is not None and self.high < self.low:
            raise ValueError(f"clip: high must be at least low; got low={self.low}, high={self.high}")
        _nest(self, self.schedule, owner="clip")

    def factor_at(self, progress: Any, xp: Any) -> Any:
        factor = self.schedule.factor_at(progress, xp)
        return xp.clip(factor, self.low, LARGEST if self.high is None else self.high)

    def __repr__(self) -> str:
        high = "" if self.high is None else f", high={self.high!r}"
        return f"{_operand(self.schedule)}.clip(low={self.low!r}{high})"


@dataclass(frozen=True, repr=False)
class Between(Schedule):
    """`schedule.between(low, high)`: the curve's range from 0 to 1 mapped onto `low` to `high`, which may be lower."""

    schedule: Schedule
    low: float
    high: float = 1.0

    def __post_init__(self) -> None:
        _check.each(self, _check.factor, "low", "high", owner="between")
        _nest(self, self.schedule, owner="between")

    def factor_at(self, progress: Any, xp: Any) -> Any:
        factor = self.low + (self.high - self.low) * self.schedule.factor_at(progress, xp)
        return xp.clip(factor, 0.0, LARGEST if self.low <= self.high else self.low)  # the curve may go above 1

    def __repr__(self) -> str:
        high = "" if self.high == 1.0 else f", {self.high!r}"
        return f"{_operand(self.schedule)}.between({self.low!r}{high})"


def _operand(schedule: Schedule) -> str:
    """The schedule as the left side of a method call."""
    return f"({schedule!r})" if isinstance(schedule, Product) else repr(schedule)


def _nest(outer: Schedule, *inner: Any, owner: str) -> None:
    for one in inner:
        if not isinstance(one, Schedule):
            raise TypeError(f"{owner}: other must be a schedule; got {shown(one)}")
    depth = 1 + max(one._depth for one in inner)
    if depth > DEEPEST:
        raise ValueError(f"{owner}: schedules can be nested {DEEPEST} deep, so that they can be printed and read again")
    object.__setattr__(outer, "_depth", depth)


def _as_schedule(value: Any) -> Schedule | None:
    """`value`, where a number stands for the constant of that height."""
    if isinstance(value, Schedule):
        return value
    return None if plain(value) is None else Constant(value)


def _saturated(factor: Any, xp: Any) -> Any:
    return xp.clip(factor, 0.0, LARGEST)


def _start(progress: float) -> float:
    if progress <= 0.0:
        return 0.0
    raise ValueError(f"progress must be a number; got {progress}")


def _default(field: Any) -> Any:
    return MISSING if field.default is MISSING else field.default


def _code(value: Any) -> str:
    return repr(value if (number := plain(value)) is None else number)
