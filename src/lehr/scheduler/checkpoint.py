"""What a checkpoint says about the run it came from, and whether this scheduler continues that run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, Literal

Difference = Literal["curve", "budget", "groups", "base_lrs"]

DIFFERENCES: Final[tuple[Difference, ...]] = ("curve", "budget", "groups", "base_lrs")

_ADVICE: Final = {
    "curve": "the schedule changed",
    "budget": "the budget changed, and progress would jump; for no jump load under the old budget, then call rebudget",
    "groups": "the number of parameter groups changed",
    "base_lrs": "the base learning rates changed; the optimizer's own are used",
}


def check(state: Mapping[str, Any], mine: Mapping[str, Any], accept: str | Collection[str]) -> None:
    """Raise if the checkpoint `state` comes from another run than `mine` describes, save for what `accept` names."""
    accepted = {accept} if isinstance(accept, str) else set(accept)
    if unknown := accepted - set(DIFFERENCES):
        raise ValueError(f"load_state_dict: accept takes {', '.join(DIFFERENCES)}; got {', '.join(sorted(unknown))}")
    if missing := {*mine, "clock", "policy"} - set(state):
        raise ValueError(f"this is no checkpoint of a lehr.Scheduler: it has no {', '.join(sorted(missing))}")
    different = [name for name in DIFFERENCES if not _same(state[name], mine[name]) and name not in accepted]
    if "groups" in different or "groups" in accepted:
        different = [name for name in different if name != "base_lrs"]  # which then differ in any case
    if different:
        what = "\n".join(f"  {n}: checkpoint {state[n]!r}, here {mine[n]!r} ({_ADVICE[n]})" for n in different)
        names = ", ".join(repr(name) for name in different)
        raise ValueError(
            f"the checkpoint was made by another run:\n{what}\n"
            f"If that is meant, pass accept=[{names}] to load_state_dict."
        )


def _same(one: Any, two: Any) -> bool:
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(abs(x - y) <= 1e-6 * abs(y) for x, y in zip(one, two, strict=True))
    return bool(one == two)
