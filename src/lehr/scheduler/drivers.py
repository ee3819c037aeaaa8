"""Who drives an optimizer: the last scheduler that was built on it."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any, Protocol

from torch.optim import Optimizer

from lehr.scheduler.param_groups import base_rates, set_base_rates


class Driver(Protocol):
    """What drives optimizers, one or several."""

    @property
    def optimizers(self) -> Sequence[Optimizer]:
        """Which."""

    def retire(self) -> None:
        """Another one drives an optimizer of this one from now on."""

    def rescale(self, rates: Sequence[float]) -> None:
        """Give each group another learning rate at factor 1."""


_DRIVERS: weakref.WeakKeyDictionary[Optimizer, weakref.ref[Any]] = weakref.WeakKeyDictionary()


def driver_of(optimizer: Optimizer) -> Driver | None:
    """Who drives it now, if anyone."""
    reference = _DRIVERS.get(optimizer)
    driver: Driver | None = None if reference is None else reference()
    return driver


def take_over(driver: Driver) -> None:
    """Have its optimizers driven by this one; whoever drove them before is retired."""
    for optimizer in driver.optimizers:
        before = driver_of(optimizer)
        if before is not None and before is not driver:
            before.retire()
        _DRIVERS[optimizer] = weakref.ref(driver)


def rescale(optimizers: Sequence[Optimizer], rates: Sequence[float]) -> None:
    """Give each group another learning rate at factor 1; those who drive the optimizers follow."""
    set_base_rates(optimizers, rates)
    found = {id(driver): driver for one in optimizers if (driver := driver_of(one)) is not None}
    for driver in found.values():  # which may list the optimizers in another order, and drive more of them
        driver.rescale(base_rates(driver.optimizers))
