"""Smith's advice on cyclical learning rates, worked out for a run."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch.optim import Optimizer

from lehr._arguments import number_argument, whole_argument
from lehr._numbers import COUNTLESS, SMALLEST, real, shown
from lehr.budget import Budget
from lehr.cyclical.cyclic_lr import CyclicLR, CyclicPolicy
from lehr.scheduler.scheduler import Scheduler


@dataclass(frozen=True)
class CyclePlan:
    """Cycles that fit a run, from `plan_cycles`; print it.

    Args:
        base_lr: lowest rate.
        max_lr: highest rate.
        step_size: updates in half a cycle.
        cycles: how many cycles there are.
        left_over: updates of the run that make no whole cycle, and are better not made.

    >>> print(CyclePlan(0.0025, 0.01, step_size=2000, cycles=5, left_over=0))
    5 cycles of 2 x 2,000 updates between 0.0025 and 0.01: 20,000 updates, 0 left over
    """

    base_lr: float
    max_lr: float
    step_size: int
    cycles: int
    left_over: int

    @property
    def budget(self) -> Budget:
        """What the cycles take; it ends with the last one, where accuracy peaks."""
        return Budget(steps=2 * self.step_size * self.cycles)

    def scheduler(self, optimizer: Optimizer, policy: CyclicPolicy = "triangular", gamma: float = 1.0) -> Scheduler:
        """A scheduler that makes these cycles and then is finished; momentum stays as it is.

        Args:
            optimizer: whose rate to set.
            policy: as for `CyclicLR`.
            gamma: as for `CyclicLR`.
        """
        return CyclicLR(
            optimizer, self.base_lr, self.max_lr, step_size=self.step_size, policy=policy, gamma=gamma,
            cycle_momentum=False, cycles=self.cycles,
        )  # fmt: skip

    def __str__(self) -> str:
        many = f"{self.cycles} cycle" + "s" * (self.cycles != 1)
        return (
            f"{many} of 2 x {self.step_size:,} updates between {self.base_lr:g} and {self.max_lr:g}: "
            f"{2 * self.step_size * self.cycles:,} updates, {self.left_over:,} left over"
        )


def plan_cycles(
    epochs: float, steps_per_epoch: int, bounds: tuple[float, float], cycles: int | None = None
) -> CyclePlan:
    """How many cycles, and of what length, fill a run, by the rules of the CLR paper.

    Half a cycle takes 2 to 10 epochs, there are at least three cycles and rather four, and the run stops at the end of
    one. Where a run is too short for all of it, the number of cycles goes first, down to three.

    Args:
        epochs: length of the run, above 0.
        steps_per_epoch: updates an epoch, `len(loader)`.
        bounds: base_lr and max_lr, as `RangeTestResult.bounds` gives them.
        cycles: how many cycles, if you know better.

    Raises:
        ValueError: if the bounds are not in order, or the run is too short for cycles at all.

    Source: Smith 2017 (arXiv 1506.01186), sections 3.2 and 3.3.

    >>> print(plan_cycles(epochs=40, steps_per_epoch=500, bounds=(0.0025, 0.01)))
    4 cycles of 2 x 2,500 updates between 0.0025 and 0.01: 20,000 updates, 0 left over
    """
    if not isinstance(bounds, tuple | list) or len(bounds) != 2:
        raise ValueError(f"plan_cycles: bounds must be base_lr and max_lr; got {shown(bounds)}")
    numbers = [real(bound) for bound in bounds]
    low, high = (math.nan if number is None else number for number in numbers)
    if not 0.0 <= low < high < math.inf:
        raise ValueError(
            f"plan_cycles: bounds must be base_lr and max_lr, with 0 <= base_lr < max_lr; got {shown(bounds)}"
        )
    epochs = number_argument("plan_cycles: epochs", epochs, SMALLEST, COUNTLESS)
    steps_per_epoch = whole_argument("plan_cycles: steps_per_epoch", steps_per_epoch)
    if cycles is None:
        cycles = max(math.ceil(epochs / 20.0), 4 if epochs >= 16.0 else 3)
    cycles = whole_argument("plan_cycles: cycles", cycles)
    total = int(epochs * steps_per_epoch + 1e-9)
    step_size = total // (2 * cycles)
    if step_size < 1:
        raise ValueError(f"plan_cycles: {total} updates are too few for {cycles} cycles; train longer or plan fewer")
    return CyclePlan(low, high, step_size, cycles, total - 2 * step_size * cycles)
