"""The policy: a rule from the moment to factors, and the one bridge from schedules to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from lehr._numbers import plain, shown
from lehr.policy.decision import Decision
from lehr.policy.moment import Moment
from lehr.schedules import Constant, Schedule
from lehr.schedules._no_scheduler import no_scheduler

Recovery = Literal["keep", "put back"]
"""What a policy asks the scheduler to do with the weights: keep a copy of them, or put the copy back."""


class Policy(ABC):
    """A rule that says, from one moment of training to the next, which factor each group of parameters gets.

    The scheduler asks `factors` at every `scheduler.observe(...)`, with the signals handed in, and whenever else rates
    must be set (after an update, for new parameter groups), with the progress alone. Asked with the progress alone, a
    policy answers from what it remembers and does not change. Prefer a `Schedule` where the clock is all you look at.
    Policies multiply with schedules and with each other: `tuner * Linear()`.

    A policy that must see the loss lists it in `needs`, and `observe` then insists on it (and averages it over ranks);
    one that looks along the step says by `wants_look` when. One that looks at nothing but the clock says so by
    `follow`, and can be previewed. One that acts on the model as well, as freezing does, is told where the run is by
    `arrive`. One that has training go back to earlier weights asks for it by `recovery`, and the scheduler does it.
    A product has all abilities of its factors.

    >>> class Plateau(Policy):
    ...     needs = ("loss",)
    ...     def __init__(self): self.best, self.factor = float("inf"), 1.0
    ...     def factors(self, moment):
    ...         if moment.loss is not None:
    ...             self.factor *= 1.0 if moment.loss < self.best else 0.5
    ...             self.best = min(self.best, float(moment.loss))
    ...         return self.factor
    ...     def state_dict(self): return {"best": self.best, "factor": self.factor}
    ...     def load_state_dict(self, state): self.best, self.factor = state["best"], state["factor"]
    ...     def __repr__(self): return "Plateau()"
    >>> plateau = Plateau()
    >>> [plateau.factors(Moment(0.0, loss=loss)) for loss in (2.0, 1.0, 1.5)]
    [1.0, 1.0, 0.5]
    >>> (plateau * Constant(0.5)).factors(Moment(0.1))
    0.25
    """

    needs: tuple[str, ...] = ()

    @abstractmethod
    def factors(self, moment: Moment) -> Any:
        """One factor for all parameter groups, or one for each.

        A tensor of one number is never looked at where the optimizer's rates are tensors too, so nothing waits for the
        device; it must be finite and at least 0.
        """

    @abstractmethod
    def __repr__(self) -> str:
        """The code that makes this policy; a checkpoint keeps it to notice when the policy has changed."""

    @property
    def follow(self) -> Follow | None:
        """The schedules that this policy comes down to; None if it looks at training."""
        return None

    def wants_look(self, progress: float) -> bool:
        """Whether an update at that progress must come with a look along the step."""
        return "loss_at" in self.needs

    @property
    def recovery(self) -> Recovery | None:
        """What is to happen to the weights, asked for by the last `factors`; None for nothing."""
        return None

    @property
    def recovers(self) -> bool:
        """Whether it has training go back to earlier weights when the loss is not finite."""
        return False

    @property
    def history(self) -> Sequence[Decision]:
        """The decisions so far, oldest first."""
        return ()

    def bind(self, optimizer: Any) -> None:  # noqa: B027 - most policies do not care
        """Told which optimizer it is to drive: when the scheduler is built and when parameter groups have changed."""

    def arrive(self, progress: float, factors: Sequence[Any]) -> None:  # noqa: B027 - most policies do not care
        """Told that the run is at `progress` and each group's factor is set; may be told the same twice."""

    def state_dict(self) -> dict[str, Any]:
        """What the policy must remember across a restart: plain numbers, strings and tensors."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: B027 - most policies have nothing to load
        """Go on from what `state_dict` returned."""

    if not TYPE_CHECKING:  # or every attribute would be there for type checkers

        def __getattr__(self, name: str) -> Any:
            raise no_scheduler(self, name)

    def __mul__(self, other: Policy | Schedule | float) -> Policy:
        """Both policies' factors multiplied, group by group."""
        return _product(self, other)

    def __rmul__(self, other: Schedule | float) -> Policy:
        return _product(other, self)


class Follow(Policy):
    """The policy that looks at nothing but the clock: schedules, one for all parameter groups or one for each.

    Args:
        schedules: a single schedule, or as many as the optimizer has parameter groups, in their order.

    >>> Follow(Linear(), Cosine()).factors(Moment(progress=0.5))
    (0.5, 0.5)
    >>> Follow(Linear()).factors(Moment(progress=0.5))
    0.5
    """

    def __init__(self, *schedules: Schedule) -> None:
        if not schedules or not all(isinstance(schedule, Schedule) for schedule in schedules):
            raise TypeError(f"Follow takes one schedule, or one for each parameter group; got {shown(schedules)}")
        self.schedules = schedules
        self._only = schedules[0] if len(schedules) == 1 else None

    @property
    def follow(self) -> Follow:
        return self

    def factors(self, moment: Moment) -> float | Sequence[float]:
        return self.at(moment.progress)

    def at(self, progress: float) -> float | Sequence[float]:
        """The factors at any progress, past or future."""
        if self._only is not None:
            return self._only(progress)
        return tuple(schedule(progress) for schedule in self.schedules)

    def __repr__(self) -> str:
        return f"Follow({', '.join(map(repr, self.schedules))})"


def _product(first: Policy | Schedule | float, second: Policy | Schedule | float) -> Policy:
    one, two = as_policy(first), as_policy(second)
    return _follow_both(one, two) if isinstance(one, Follow) and isinstance(two, Follow) else _Product(one, two)


def _follow_both(one: Follow, two: Follow) -> Follow:
    groups = max(len(one.schedules), len(two.schedules))  # schedules stay schedules, which can be previewed
    wide = [policy.schedules * (groups if len(policy.schedules) == 1 else 1) for policy in (one, two)]
    return Follow(*(x * y for x, y in zip(*wide, strict=True)))


class _Product(Policy):
    """Two policies' factors multiplied."""

    def __init__(self, first: Policy, second: Policy) -> None:
        self.first = first
        self.second = second
        self.needs = (*first.needs, *second.needs)

    @property
    def follow(self) -> Follow | None:
        one, two = self.first.follow, self.second.follow
        return _follow_both(one, two) if one is not None and two is not None else None

    def wants_look(self, progress: float) -> bool:
        return self.first.wants_look(progress) or self.second.wants_look(progress)

    @property
    def recovery(self) -> Recovery | None:
        asked = {self.first.recovery, self.second.recovery}
        return "put back" if "put back" in asked else "keep" if "keep" in asked else None

    @property
    def recovers(self) -> bool:
        return self.first.recovers or self.second.recovers

    @property
    def history(self) -> Sequence[Decision]:
        return (*self.first.history, *self.second.history)

    def bind(self, optimizer: Any) -> None:
        self.first.bind(optimizer)
        self.second.bind(optimizer)

    def arrive(self, progress: float, factors: Sequence[float]) -> None:
        self.first.arrive(progress, factors)
        self.second.arrive(progress, factors)

    def factors(self, moment: Moment) -> float | Sequence[float]:
        one, two = self.first.factors(moment), self.second.factors(moment)
        if not isinstance(one, Sequence):
            return one * two if not isinstance(two, Sequence) else tuple(one * y for y in two)
        if not isinstance(two, Sequence):
            return tuple(x * two for x in one)
        return tuple(x * y for x, y in zip(one, two, strict=True))

    def state_dict(self) -> dict[str, Any]:
        return {"first": self.first.state_dict(), "second": self.second.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.first.load_state_dict(state["first"])
        self.second.load_state_dict(state["second"])

    def __repr__(self) -> str:
        return f"{self.first!r} * {self.second!r}"


def as_policy(value: Policy | Schedule | Sequence[Schedule] | float, name: str = "policy") -> Policy:
    """`value` as a policy: a schedule, a sequence of schedules (one a group) or a number is followed.

    Raises:
        TypeError: if it is anything else, under the name that the caller has for it.
    """
    if isinstance(value, Policy):
        return value
    if isinstance(value, Schedule):
        return Follow(value)
    if isinstance(value, Sequence) and value and all(isinstance(one, Schedule) for one in value):
        return Follow(*value)
    if (number := plain(value)) is not None:
        return Follow(Constant(number))
    raise TypeError(
        f"{name} must be a schedule (parse_schedule reads one from text), a policy or a list of schedules, one for "
        f"each parameter group; got {shown(value)}"
    )
