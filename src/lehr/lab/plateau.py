"""The scheduler that torch users reach for first, as a policy to compare with."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import torch

import lehr


class Plateau(lehr.Policy):
    """torch's ReduceLROnPlateau, told the mean training loss of each twentieth of the budget.

    Its defaults but for a patience of 2, since there are 20 such epochs.

    >>> Plateau().factors(lehr.Moment(0.0, loss=1.0))
    1.0
    """

    needs = ("loss",)

    def __init__(self) -> None:
        self._total, self._count, self._due = 0.0, 0, 1

    @cached_property
    def _inner(self) -> torch.optim.lr_scheduler.ReduceLROnPlateau:
        holder = torch.optim.SGD([torch.zeros(1)], lr=1.0)  # torch's first optimizer takes seconds to import
        return torch.optim.lr_scheduler.ReduceLROnPlateau(holder, patience=2)

    def factors(self, moment: lehr.Moment) -> float:
        if moment.loss is not None:
            if moment.progress >= self._due / 20 and self._count:
                self._inner.step(self._total / self._count)
                self._total, self._count = 0.0, 0
                self._due = int(moment.progress * 20) + 1
            self._total, self._count = self._total + float(moment.loss), self._count + 1
        return float(self._inner.optimizer.param_groups[0]["lr"])

    def state_dict(self) -> dict[str, Any]:
        group = self._inner.optimizer.param_groups[0]
        return {
            "inner": self._inner.state_dict(), "lr": group["lr"],
            "total": self._total, "count": self._count, "due": self._due,
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._inner.load_state_dict(dict(state["inner"]))
        self._inner.optimizer.param_groups[0]["lr"] = state["lr"]
        self._total, self._count, self._due = state["total"], state["count"], state["due"]

    def __repr__(self) -> str:
        return "Plateau()"
