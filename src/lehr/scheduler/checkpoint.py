"""What a checkpoint says about the run it came from, and whether this scheduler continues that run."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final, Literal

from lehr.budget import Budget

Difference = Literal["curve", "budget", "groups", "base_lrs"]

DIFFERENCES: Final[tuple[Difference, ...]] = ("curve", "budget", "groups", "base_lrs")

_ADVICE: Final = {
    "curve": "the schedule changed",
    "budget": "the budget changed, and progress would jump; for no jump load under the old budget, then call rebudget",
    "groups": "the number of parameter groups changed",
    "base_lrs": "the base learning rates changed; if accepted, those that the optimizer was built with are used",
}


def fingerprint(curve: str, budget: Budget, base_lrs: list[float]) -> dict[str, Any]:
    """What identifies a run, as plain data; `budget` is the one it was built with."""
    return {
        "curve": curve,
        "budget": repr(budget),
        "horizon": _horizon(budget),
        "groups": len(base_lrs),
        "base_lrs": list(base_lrs),
    }


def accepted(accept: str | Collection[str]) -> set[str]:
    """What may differ, as a set.

    Raises:
        ValueError: if something is named that a checkpoint does not tell.
    """
    names = {accept} if isinstance(accept, str) else set(accept)
    if unknown := names - set(DIFFERENCES):
        raise ValueError(f"accept takes {', '.join(DIFFERENCES)}; got {', '.join(map(repr, sorted(unknown, key=str)))}")
    return names


def check(state: Mapping[str, Any], mine: Mapping[str, Any], accept: str | Collection[str]) -> set[str]:
    """How the run of the checkpoint `state` differs from the one that `mine` describes.

    Raises:
        ValueError: if it differs in what `accept` does not name, or counts what cannot be converted.
    """
    may_differ = accepted(accept)
    if missing := {*mine, "clock", "factors", "finishing", "pending", "policy", "fallback"} - set(state):
        raise ValueError(f"this is no checkpoint of a lehr.Scheduler: it has no {', '.join(sorted(missing))}")
    counts = Budget(**state["clock"]["budget"]).counted
    if mine["horizon"][0] != counts and not _same("budget", state, mine):
        raise ValueError(
            f"the checkpoint counts {counts} ({state['budget']}), but this scheduler's budget counts "
            f"{mine['horizon'][0]} ({mine['budget']}); give it a budget in what was counted"
        )
    different: set[str] = {name for name in DIFFERENCES if not _same(name, state, mine)}
    if "groups" in different:
        different.discard("base_lrs")  # which then differ in any case
    if refused := [name for name in DIFFERENCES if name in different - may_differ]:
        what = "\n".join(f"  {n}: checkpoint {state[n]!r}, here {mine[n]!r} ({_ADVICE[n]})" for n in refused)
        names = ", ".join(repr(name) for name in refused)
        raise ValueError(
            f"the checkpoint was made by another run:\n{what}\n"
            f"If that is meant, pass accept=[{names}] to load_state_dict."
        )
    if "budget" not in different and len(state["finishing"]) not in (0, 1, mine["groups"]):
        raise ValueError(
            f"the checkpoint was finishing {len(state['finishing'])} parameter groups from rates of their own, but "
            f"there are {mine['groups']} here; accept 'budget' too, with the one that is left, or keep the groups"
        )
    return different


def _same(name: str, state: Mapping[str, Any], mine: Mapping[str, Any]) -> bool:
    if name == "budget":  # the one that the run was built with, or the one it was given in the middle
        return mine["horizon"] in (list(state["horizon"]), _horizon(Budget(**state["clock"]["budget"])))
    if name == "curve":
        return _canonical(state[name]) == _canonical(mine[name])
    if name == "base_lrs":
        pairs = zip(state[name], mine[name], strict=False)
        return all(abs(one - two) <= 1e-6 * abs(two) for one, two in pairs)
    return bool(state[name] == mine[name])


def _horizon(budget: Budget) -> list[Any]:
    return [budget.counted, budget.total, budget.endless]


def _canonical(curve: str) -> str:
    """The code with 4.0 written as 4, which makes the same schedule."""
    return re.sub(r"(?<=\d)\.0(?![\de])", "", curve)
