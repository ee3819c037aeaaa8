"""The processes that train a run together, and what they agree on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Ranks:
    """The processes that train a run together, as one of them sees them.

    Args:
        count: how many there are.
        rank: the number of this one, from 0.
    """

    count: int = 1
    rank: int = 0

    @classmethod
    def here(cls, count: int) -> Ranks:
        """The processes that have met here.

        Args:
            count: how many there must be; for 1 nobody need have met.

        Raises:
            ValueError: if there are more or fewer.

        >>> from lehr.lab.ranks import Ranks
        >>> Ranks.here(1)
        Ranks(count=1, rank=0)
        """
        if count == 1:
            return cls()
        there = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
        if there != count:
            raise ValueError(
                f"ranks={count} needs as many processes that train together, and here is {there}; "
                f"lehr.compare(..., processes_per_run={count}) starts them"
            )
        return cls(count, dist.get_rank())

    def mean(self, value: float) -> float:
        """The mean of every rank's value, not a number if one is not."""
        if self.count == 1:
            return value
        shared = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(shared)
        return float(shared) / self.count

    def alike(self, text: str) -> bool:
        """Whether every rank gives the same text."""
        every: list[str | None] = [None] * self.count
        dist.all_gather_object(every, text)
        return len(set(every)) == 1

    def part(self, size: int) -> slice:
        """What this rank takes of so many examples, which are shared out evenly.

        >>> from lehr.lab.ranks import Ranks
        >>> Ranks(2, 1).part(8)
        slice(4, 8, None)
        """
        each = size // self.count
        return slice(self.rank * each, (self.rank + 1) * each)


def own_part(value: Tensor) -> Tensor:
    """What this process holds of a tensor, which may be spread over several."""
    if not (dist.is_available() and dist.is_initialized()):
        return value
    from torch.distributed.tensor import DTensor  # an import of seconds

    return value.to_local() if isinstance(value, DTensor) else value
