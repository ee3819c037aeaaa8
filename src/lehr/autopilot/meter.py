"""The meter: what trials spend of the budget."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Final

from lehr.budget import Budget
from lehr.budget.clock import Clock
from lehr.scheduler import ranks
from lehr.state.reading import Fields
from lehr.training import Training

TIMED: Final = 3
"""Updates that are timed, or whose samples or tokens are counted, where the budget does not say what one costs."""


class Meter:
    """What updates outside of the main run have spent of its budget.

    Args:
        training: whose updates.
        total: the budget, with an end.
    """

    def __init__(self, training: Training, total: Budget) -> None:
        self._training = training
        self._earlier = 0.0  # before a restart
        self._clock = Clock(total, time.monotonic, ranks.of_first)
        self._total = total
        if self._clock.asks:
            training.count(total.unit)
        self.each = total.each
        """What an update costs, in what the budget counts; None until that is known."""

    @property
    def spent(self) -> float:
        """In what the budget counts."""
        return self._earlier + self._clock.spent

    def start(self) -> None:
        """Make one update that does not count, since it compiles and allocates; then let time pass."""
        if self._total.unit == "seconds":
            with self._training.untouched():
                self._training.step()
        self._clock.start()

    def learn_cost(self) -> None:
        """Make a few updates to see what one costs, if the budget does not say, and put them back."""
        if self.each is not None:
            return
        before = self.spent
        with self._training.untouched():
            for _ in range(TIMED):
                self._training.step()
                self.spend(1.0)
        self.each = max((self.spent - before) / TIMED, 1e-9)

    def spend(self, updates: float) -> None:
        """Note an update, or a share of one for passes without gradients."""
        if self._total.unit == "seconds":
            self._clock.tick(1)
        elif self._total.each is not None:
            self._clock.tick(0, self._total.each * updates)
        elif updates == 1.0:
            self._clock.tick(1, ranks.total(self._training.counted))
        elif self.each is not None:
            self._clock.tick(0, self.each * updates)

    def paused(self) -> AbstractContextManager[None]:
        """Time inside does not count, such as that of saving."""
        return self._clock.paused()

    @property
    def rest(self) -> Budget:
        """What is left for the main run.

        Raises:
            ValueError: if nothing is.
        """
        left = self._total.total - self.spent
        if left <= 0.0:
            raise ValueError(
                "fit: the search has spent the budget; give a larger one, or a policy that needs no search"
            )
        if self._total.counted == "updates":
            updates: Any = {"epochs": None, "steps": max(1, int(left))}
            return replace(self._total, **updates)
        amount: Any = {self._total.unit: left}
        return replace(self._total, **amount)

    def state_dict(self) -> dict[str, Any]:
        """What is spent, and what an update costs."""
        return {"spent": self.spent, "each": self.each}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        fields = Fields("the checkpoint's search", state)
        each = fields.number_or_none("each", 0.0)
        self._earlier, self._clock = fields.number("spent", 0.0), Clock(self._total, time.monotonic, ranks.of_first)
        self.each = each
