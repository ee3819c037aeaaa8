"""The schedule: a curve from progress to factor, and the operators that combine curves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import MISSING, dataclass, fields
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeVar, overload

from lehr.schedules._namespace import SCALARS, namespace_of

if TYPE_CHECKING:
    from lehr.schedules.combine import Between, Clip, Product, Repeated, Sampled, Then, Until

Values = TypeVar("Values")


@dataclass(frozen=True, repr=False)
class Schedule(ABC):
    """A curve that says which share of the base learning rate to use at each share of the budget.

    A schedule maps *progress* (share of the budget spent; 0 at the first update, 1 when the budget is spent) to a
    *factor* (what the base learning rate is multiplied by; finite, at least 0). Update `k` of `n` uses
    `schedule(k / n)`. Beyond 1 a decay holds its last value and a cycle keeps cycling. Schedules are values: they
    compare, hash and pickle, and their `repr` is the code that makes them. They work on floats and, elementwise,
    on NumPy arrays and torch tensors.

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
        if type(progress) is float or isinstance(progress, float | int):  # the first is quick, and the usual case
            return float(self.factor_at(float(progress) if progress > 0.0 else _start(progress), SCALARS))
        xp = namespace_of(progress)
        return self.factor_at(xp.clip(progress * 1.0, 0.0, None), xp)

    def __mul__(self, other: Schedule | float) -> Product:
        """Both factors multiplied at every progress; a number stands for a constant.

        >>> (Linear() * 0.5)(0.5)
        0.25
        """
        from lehr.schedules.combine import Product

        if not isinstance(other, Schedule) and not _is_real(other):
            return NotImplemented  # a policy, perhaps, which knows what to do
        return Product(self, as_schedule(other))

    def __rmul__(self, other: float) -> Product:
        from lehr.schedules.combine import Product

        return Product(as_schedule(other), self) if _is_real(other) else NotImplemented

    def then(self, other: Schedule, *, at: float) -> Then:
        """This curve squeezed into the run up to `at`, then `other` over the rest.

        >>> Constant().then(Linear(), at=0.5)(0.75)
        0.5
        """
        from lehr.schedules.combine import Then

        return Then(self, other, at)

    def after_warmup(self, share: float, start: float = 0.0) -> Schedule:
        """This curve over the last `1 - share` of the run, after a linear rise from `start` to its first factor.

        A share of 0 leaves the curve as it is.

        >>> Linear().after_warmup(0.2, start=0.5)(0.1)
        0.75
        """
        from lehr.schedules.combine import AfterWarmup

        return AfterWarmup(self, share, start) if share else self

    def until(self, end: float) -> Until:
        """This curve squeezed into the run up to `end`; afterwards its value at progress 1 holds.

        A curve that starts anew at 1, such as `WarmRestarts`, is therefore held at its top.

        >>> Linear().until(0.5)(0.25)
        0.5
        """
        from lehr.schedules.combine import Until

        return Until(self, end)

    def repeated(self, times: float, scale: float = 1.0) -> Repeated:
        """This curve `times` over, the i-th time (from 0) multiplied by `scale**i`; goes on beyond the budget.

        >>> Cosine().repeated(2, scale=0.5)(0.5)
        0.5
        """
        from lehr.schedules.combine import Repeated

        return Repeated(self, times, scale)

    def sampled(self, every: float) -> Sampled:
        """This curve as a staircase that changes at multiples of `every` (share of the budget) only.

        >>> Linear().sampled(0.25)(0.4)
        0.75
        """
        from lehr.schedules.combine import Sampled

        return Sampled(self, every)

    def clip(self, low: float = 0.0, high: float | None = None) -> Clip:
        """This curve, but never below `low` nor above `high`.

        >>> Linear().clip(low=0.1)(1.0)
        0.1
        """
        from lehr.schedules.combine import Clip

        return Clip(self, low, high)

    def between(self, low: float, high: float = 1.0) -> Between:
        """This curve mapped linearly so that its 0 becomes `low` and its 1 becomes `high`, which may be lower.

        >>> Linear().between(0.1)(1.0)
        0.1
        """
        from lehr.schedules.combine import Between

        return Between(self, low, high)

    def __repr__(self) -> str:
        """The code that makes this schedule, defaults left out."""
        arguments = [
            f"{field.name}={value!r}"
            for field in fields(self)
            if (value := getattr(self, field.name)) != _default(field)
        ]
        return f"{type(self).__name__}({', '.join(arguments)})"


def _is_real(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _start(progress: float) -> float:
    if progress <= 0.0:
        return 0.0
    raise ValueError(f"progress must be a number; got {progress}")


def _default(field: Any) -> Any:
    return MISSING if field.default is MISSING else field.default


def as_schedule(value: Any) -> Schedule:
    """`value`, where a number stands for the constant of that height."""
    from lehr.schedules.shapes import Constant

    return value if isinstance(value, Schedule) else Constant(value if isinstance(value, int) else float(value))
