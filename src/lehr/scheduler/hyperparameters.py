"""All that a scheduler writes into an optimizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch.optim import Optimizer

from lehr.policy import Follow
from lehr.scheduler.inputs import followed
from lehr.scheduler.param_groups import Factors, Hyperparameter
from lehr.schedules import Schedule


class Hyperparameters:
    """The learning rate, and other hyperparameters that follow schedules of their own.

    Args:
        optimizer: whose parameter groups.
        also: key -> the schedules of that hyperparameter.
    """

    def __init__(self, optimizer: Optimizer, also: Mapping[str, Schedule | Sequence[Schedule]]) -> None:
        self.optimizer = optimizer
        self.lr = Hyperparameter(optimizer, "lr")
        self.others = [(Hyperparameter(optimizer, key), followed(key, curve)) for key, curve in also.items()]

    def write(self, progress: float, factors: Factors) -> None:
        """Set the rate by these factors, and the others to where they are at `progress`."""
        self.lr.write(factors)
        for other, follow in self.others:
            other.write(follow.at(progress))

    def adopt(self) -> None:
        """Look at the groups anew, which were added or replaced."""
        for one in (self.lr, *(other for other, _ in self.others)):
            one.adopt()

    def check_widths(self, rate: Follow | None) -> None:
        """Whether there are as many schedules as parameter groups.

        Raises:
            ValueError: if there are neither that many nor one.
        """
        groups = len(self.optimizer.param_groups)
        for follow in (rate, *(follow for _, follow in self.others)):
            if follow is not None and len(follow.schedules) not in (1, groups):
                raise ValueError(
                    f"Scheduler: {len(follow.schedules)} schedules for {groups} parameter groups; give one schedule "
                    "for all groups, or one for each"
                )

    def __repr__(self) -> str:
        """What a checkpoint says about the others."""
        return "".join(f", {other.key}: {follow!r}" for other, follow in self.others)
