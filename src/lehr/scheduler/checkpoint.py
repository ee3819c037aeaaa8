"""What a checkpoint holds of a scheduler, read whole, and whether this scheduler continues the run it came from."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from lehr.budget import Budget
from lehr.budget.clock_state import FARTHEST, ClockState
from lehr.policy import Follow, Moment, Policy
from lehr.scheduler import finishing
from lehr.scheduler.inputs import as_factors
from lehr.scheduler.param_groups import Factors, numbers
from lehr.state.loading import LONGEST, refusal
from lehr.state.reading import Fields, shown

Difference = Literal["curve", "budget", "groups", "base_lrs"]

DIFFERENCES: Final[tuple[Difference, ...]] = ("curve", "budget", "groups", "base_lrs")

MOST_GROUPS: Final = 1_000_000
"""No optimizer has more."""

LARGEST_RATE: Final = 3.4e38
"""Larger ones are infinite in single precision."""

_ADVICE: Final = {
    "curve": "the schedule changed",
    "budget": "the budget changed, and progress would jump; for no jump load under the old budget, then call rebudget",
    "groups": "the number of parameter groups changed",
    "base_lrs": "the base learning rates changed; if accepted, those that the optimizer was built with are used",
}

_WHAT: Final = "this is no checkpoint of a lehr.Scheduler: it"


def accepted(accept: str | Collection[str]) -> set[str]:
    """What may differ, as a set.

    Raises:
        TypeError: if it is no name, nor several.
        ValueError: if something is named that a checkpoint does not tell.
    """
    if not isinstance(accept, Collection):
        raise TypeError(f"accept must be a list of names out of {', '.join(DIFFERENCES)}; got {shown(accept)}")
    names = {accept} if isinstance(accept, str) else set(accept)
    if unknown := names - set(DIFFERENCES):
        raise ValueError(f"accept takes {', '.join(DIFFERENCES)}; got {', '.join(map(repr, sorted(unknown, key=str)))}")
    return names


@dataclass(frozen=True)
class Horizon:
    """How far a budget reaches.

    Args:
        counted: what is counted.
        total: how much of it there is.
        endless: whether that is a measure and no end.
    """

    counted: str
    total: float
    endless: bool

    @classmethod
    def of(cls, budget: Budget) -> Horizon:
        """The horizon of a budget."""
        return cls(budget.counted, budget.total, budget.endless)


@dataclass(frozen=True)
class Fingerprint:
    """What identifies a run.

    Args:
        curve: the policy and the other hyperparameters' schedules, as code.
        budget: the budget that the run was built with, as code.
        horizon: of that budget.
        base_lrs: the base rate of each parameter group.
    """

    curve: str
    budget: str
    horizon: Horizon
    base_lrs: tuple[float, ...]

    @classmethod
    def of(cls, curve: str, budget: Budget, base_lrs: Collection[float]) -> Fingerprint:
        """The fingerprint of a run with these."""
        return cls(curve, repr(budget), Horizon.of(budget), tuple(base_lrs))

    def as_dict(self) -> dict[str, Any]:
        """The fingerprint as plain data."""
        horizon = [self.horizon.counted, self.horizon.total, self.horizon.endless]
        return {
            "curve": self.curve, "budget": self.budget, "horizon": horizon, "groups": len(self.base_lrs),
            "base_lrs": list(self.base_lrs),
        }  # fmt: skip

    def shown(self, difference: Difference) -> Any:
        """One of the things that may differ, for a message."""
        text = str(len(self.base_lrs) if difference == "groups" else self.as_dict()[difference])
        return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


@dataclass(frozen=True)
class SchedulerState:
    """Everything a checkpoint holds of a scheduler.

    Args:
        clock: what was spent.
        policy: what the policy remembers, in its own words.
        factors: of the update to come, one for all groups or one for each.
        finishing: the way down that `finish_by` chose; None if it was not called.
        updates: how many the optimizer has made since the last `step()`.
        observed: samples or tokens observed since then; None if none were.
        fallback: weights to go back to, as `Fallback` gives them; None if there are none.
        run: which run it is.
    """

    clock: ClockState
    policy: Mapping[str, Any]
    factors: float | tuple[float, ...]
    finishing: Follow | None
    updates: int
    observed: float | None
    fallback: Mapping[str, Any] | None
    run: Fingerprint

    def as_dict(self) -> dict[str, Any]:
        """The state as plain data, which loads with `weights_only=True`."""
        return {
            "clock": self.clock.as_dict(),
            "policy": dict(self.policy),
            "factors": list(self.factors) if isinstance(self.factors, tuple) else self.factors,
            "finishing": finishing.as_text(self.finishing),
            "pending": {"updates": self.updates, "observed": self.observed},
            "fallback": self.fallback,
            **self.run.as_dict(),
        }

    @classmethod
    def read(cls, given: Any) -> SchedulerState:
        """The state that `as_dict` gave.

        Raises:
            ValueError: if `given` is anything else.
        """
        fields = Fields("the checkpoint", given)
        names = (
            "clock", "policy", "factors", "finishing", "pending", "fallback", "curve", "budget", "horizon", "groups",
            "base_lrs",
        )  # fmt: skip
        if missing := [name for name in names if name not in given]:
            raise ValueError(f"{_WHAT} has no {', '.join(missing)}")
        run = _run(fields)
        clock = ClockState.read(given["clock"])
        pending = Fields("the checkpoint's pending", fields.any("pending"))
        observed = pending.number_or_none("observed", 0.0, FARTHEST * clock.budget.total - clock.spent)
        if observed is not None and clock.budget.unit not in ("samples", "tokens"):
            raise pending.error("observed", f"None, since {clock.budget.unit} are the budget", observed)
        several = isinstance(given["factors"], list | tuple)
        factors = fields.numbers("factors", MOST_GROUPS, 0.0) if several else fields.number("factors", 0.0)
        if isinstance(factors, tuple) and len(factors) != len(run.base_lrs):
            raise ValueError(f"the checkpoint has {len(factors)} factors for {len(run.base_lrs)} parameter groups")
        if not isinstance(given["policy"], Mapping):
            raise fields.error("policy", "a dictionary", given["policy"])
        return cls(
            clock, given["policy"], factors, _tail(fields, len(run.base_lrs)),
            pending.whole("updates", high=10**9),
            observed,
            None if fields.any("fallback") is None else fields.table("fallback"), run,
        )  # fmt: skip

    def check(self, mine: Fingerprint, accept: str | Collection[str]) -> set[Difference]:
        """How the run that this comes from differs from the run `mine`.

        Raises:
            ValueError: if it differs in what `accept` does not name, or counts what cannot be converted.
        """
        may_differ = accepted(accept)
        theirs, horizon = self.run, Horizon.of(self.clock.budget)
        different: set[Difference] = set()
        if mine.horizon not in (theirs.horizon, horizon):  # that it was built with, or was given in the middle
            different.add("budget")
            if mine.horizon.counted != horizon.counted:
                raise ValueError(
                    f"the checkpoint counts {horizon.counted} ({theirs.shown('budget')}), but this scheduler's budget "
                    f"counts {mine.horizon.counted} ({mine.budget}); give it a budget in what was counted"
                )
        if _canonical(theirs.curve) != _canonical(mine.curve):
            different.add("curve")
        if len(theirs.base_lrs) != len(mine.base_lrs):
            different.add("groups")
        elif not all(
            abs(one - two) <= 1e-6 * abs(two) for one, two in zip(theirs.base_lrs, mine.base_lrs, strict=True)
        ):
            different.add("base_lrs")
        if refused := [name for name in DIFFERENCES if name in different - may_differ]:
            what = "\n".join(
                f"  {n}: checkpoint {theirs.shown(n)}, here {mine.shown(n)} ({_ADVICE[n]})" for n in refused
            )
            names = ", ".join(repr(name) for name in refused)
            raise ValueError(
                f"the checkpoint was made by another run:\n{what}\n"
                f"If that is meant, pass accept=[{names}] to load_state_dict, or to lehr.Scheduler or Lehr where a "
                "trainer calls that."
            )
        groups, tails = len(mine.base_lrs), len(self.finishing.schedules) if self.finishing is not None else 0
        if "budget" not in different and tails not in (0, 1, groups):
            raise ValueError(
                f"the checkpoint was finishing {tails} parameter groups from rates of their own, but there are "
                f"{groups} here; accept 'budget' too, with the one that is left, or keep the groups"
            )
        _check_rates(self.factors, mine.base_lrs)
        return different


def load_policy(policy: Policy, state: Mapping[str, Any], progress: float, base_lrs: Collection[float]) -> None:
    """Let a policy go on from its state, and ask it what it would do.

    Args:
        policy: whose state it is.
        state: what its `state_dict` returned.
        progress: where the run will be.
        base_lrs: each group's rate at factor 1.

    Raises:
        ValueError: if it refuses, whatever it raises itself, or would give no rates; it may then be half loaded.
    """
    with refusal(f"{policy!r} refuses its part of the checkpoint"):
        policy.load_state_dict(state)
        if policy.follow is None:
            _check_rates(as_factors(policy.factors(Moment(progress)), policy), base_lrs)


def _check_rates(factors: Factors, base_lrs: Collection[float]) -> None:
    """Whether the rates are finite in single precision too, which is what optimizers make of them."""
    factors = numbers(factors)
    largest = factors if isinstance(factors, float) else max(factors, default=0.0)
    if not largest * max(base_lrs, default=0.0) <= LARGEST_RATE:
        raise ValueError(f"the checkpoint: its factors go up to {largest:g}, which makes no finite rate")


def _run(fields: Fields) -> Fingerprint:
    horizon = fields.any("horizon")
    if not isinstance(horizon, list | tuple) or len(horizon) != 3:
        raise fields.error("horizon", "a list of what is counted, how much, and whether without end", horizon)
    parts = Fields("the checkpoint's horizon", dict(zip(("counted", "total", "endless"), horizon, strict=True)))
    base_lrs = fields.numbers("base_lrs", MOST_GROUPS)
    if fields.whole("groups") != len(base_lrs):
        raise fields.error("groups", f"the number of base_lrs, {len(base_lrs)}", fields.any("groups"))
    reach = Horizon(parts.text("counted"), parts.number("total", 0.0), parts.flag("endless"))
    return Fingerprint(fields.text("curve"), fields.text("budget"), reach, base_lrs)


def _tail(fields: Fields, groups: int) -> Follow | None:
    try:
        tail = finishing.from_text(fields.texts("finishing", max(1, groups)))
        ends = [] if tail is None else [schedule(k / 16) for schedule in tail.schedules for k in range(17)]
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"the checkpoint: finishing must hold lehr's own schedules ({error})") from None
    if not all(0.0 <= factor < math.inf for factor in ends):
        raise ValueError("the checkpoint: finishing must hold schedules whose factors are finite and at least 0")
    return tail


def _canonical(curve: str) -> str:
    """The code with 4.0 written as 4, which makes the same schedule."""
    return re.sub(r"(?<=\d)\.0(?![\de])", "", curve)
