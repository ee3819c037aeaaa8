"""Every kind of policy there is: whoever adds one adds it here, and passes all of the contract."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

import lehr
from lehr import Moment, Policy, Schedule


class Plateau(Policy):
    """Halves the factor when the loss rises: a policy that looks at training and remembers."""

    needs = ("loss",)

    def __init__(self) -> None:
        self.best = float("inf")
        self.factor = 1.0

    def factors(self, moment: Moment) -> float:
        if moment.loss is not None:
            loss = float(moment.loss)
            self.factor *= 1.0 if loss < self.best else 0.5
            self.best = min(self.best, loss)
        return self.factor

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "factor": torch.tensor(self.factor)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        best, factor = float(state["best"]), float(state["factor"])
        if math.isnan(best) or not 0.0 <= factor < math.inf:
            raise ValueError(f"Plateau: best must be a number and factor one from 0; got {best} and {factor}")
        self.best, self.factor = best, factor

    def __repr__(self) -> str:
        return "Plateau()"


def _networks(count: int) -> list[lehr.mlrsnet.MLRSNetwork]:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return [lehr.mlrsnet.MLRSNetwork(hidden=6) for _ in range(count)]


def _wild() -> lehr.learned.BudgetNetwork:
    """A network that does something, where an untrained one is linear."""
    with torch.random.fork_rng():
        torch.manual_seed(6)
        network = lehr.learned.BudgetNetwork(hidden=4)
        nn.init.normal_(network.leave.weight)
    return network


Maker = Callable[[nn.Sequential], Policy | Schedule | Sequence[Schedule]]
"""A model, each of whose children has a parameter group of its own -> a fresh policy."""

POLICIES: dict[str, Maker] = {
    "schedule": lambda model: lehr.Cosine(),
    "warmup and cycles": lambda model: lehr.Triangular(cycles=3, low=0.2).after_warmup(0.2) * lehr.Linear(),
    "one schedule a group": lambda model: [lehr.Cosine().until((i + 1) / len(model)) for i in range(len(model))],
    "looks at the loss": lambda model: Plateau(),
    "looks at the loss, warmed up": lambda model: Plateau() * lehr.Linear().after_warmup(0.2),
    "two that look": lambda model: Plateau() * Plateau(),
    "layers and a policy": lambda model: (
        Plateau() * lehr.policy.Follow(*[lehr.Linear(1, i / len(model)) for i in range(len(model))])
    ),
    "layers that freeze": lambda model: lehr.FreezeOut(lehr.layers_of(model), t0=0.5, how="linear"),
    "layers that freeze, warmed up": lambda model: (
        lehr.FreezeOut(lehr.layers_of(model), t0=0.3, max_events=1) * lehr.Constant().after_warmup(0.2)
    ),
    "guarded": lambda model: lehr.autopilot.Guarded(lehr.Linear().after_warmup(0.2)),
    "learned from the budget": lambda model: lehr.LearnedSchedule(_wild()),
    "learned": lambda model: lehr.MLRSNet(*_networks(2), gamma=lehr.mlrsnet.PublishedGamma(classes=2)),
    "learned, with a tail": lambda model: lehr.MLRSNet(*_networks(1)) * lehr.Linear(),
    "tuner": lambda model: lehr.LRTuner(),
    "tuner and layers": lambda model: (
        lehr.LRTuner(explore=0.5) * lehr.policy.Follow(*[lehr.Linear(1, i / len(model)) for i in range(len(model))])
    ),
}

FREEZES = 2
"""How often the layers of one of these freeze at most."""
