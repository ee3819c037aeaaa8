"""The network of the learned schedule: from the share of the budget and the training loss to a rate."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from lehr._arguments import whole_argument

WINDOWS: Final = (0.01, 0.05, 0.2)
"""Over which shares of the budget the logarithm of the loss is averaged."""

FASTEST: Final = 20.0
"""How fast the logarithm of the rate may move, per budget."""

LONGEST: Final = 0.01
"""Over which share of the budget it moves at most at one loss; where more has passed, nobody knows what happened."""

FARTHEST: Final = 7.0
"""How far it may go from the optimizer's own rate, either way."""

SIGNALS: Final = 10

WIDEST: Final = 4_096
"""No network is wider."""


class Memory(NamedTuple):
    """What the network remembers: tensors of one number, but for `means`.

    Args:
        level: logarithm of the factor, without the line to zero.
        means: of the logarithm of the loss, over each window.
        spread: of it about the shortest mean.
        first: its first value; not a number before there is one.
        progress: at which the last loss was seen.
    """

    level: Tensor
    means: Tensor
    spread: Tensor
    first: Tensor
    progress: Tensor


class BudgetNetwork(nn.Module):
    """loss, progress p, memory -> memory, whose level makes the factor: exp(level) (1 - p).

        d level / d p = 20 tanh(w_2 . tanh(W_1 s + b_1) + b_2),    over at most 0.01 of p at a time

    The signals s are p, how the logarithm of the loss has fallen since the start and over windows of 1, 5 and 20 % of
    the budget, its spread, the level itself, and whether the optimizer is adaptive. Every time constant is a share of
    the budget, so the network serves any length; losses count by their ratios, so it serves any scale.

    Args:
        hidden: width, at least 1.

    Source: ours; that a small network sets the rate from the loss is Shu et al. 2022 (MLR-SNet).

    >>> network = BudgetNetwork()
    >>> sum(parameter.numel() for parameter in network.parameters())
    195
    >>> memory = network(torch.tensor(2.3), torch.tensor(0.0), torch.tensor(0.0), network.start(torch.tensor(0.0)))
    >>> round(memory.level.exp().item(), 3)
    0.1
    """

    def __init__(self, hidden: int = 16) -> None:
        super().__init__()
        self.hidden = hidden = whole_argument("BudgetNetwork: hidden", hidden, 1, WIDEST)
        self.enter = nn.Linear(SIGNALS, hidden)
        self.leave = nn.Linear(hidden, 1)
        self.windows: Tensor
        self.register_buffer("windows", torch.tensor(WINDOWS), persistent=False)
        self.begin = nn.Parameter(torch.full((2,), math.log(0.1)))  # plain optimizers, adaptive ones
        nn.init.zeros_(self.leave.weight)  # untrained, it is linear to zero
        nn.init.zeros_(self.leave.bias)

    def start(self, adaptive: Tensor) -> Memory:
        """The memory before anything was seen.

        Args:
            adaptive: 1.0 if the optimizer divides gradients by their size, as Adam does, else 0.0.
        """
        level = self.begin[0] + adaptive * (self.begin[1] - self.begin[0])
        zero = torch.zeros_like(level)
        return Memory(level, zero.new_zeros(len(WINDOWS)), zero, zero + torch.nan, zero)

    def forward(self, loss: Tensor, progress: Tensor, adaptive: Tensor, memory: Memory) -> Memory:
        """What is remembered once a loss was seen; one that is not finite and above 0 is passed over.

        Args:
            loss: of an update, one number.
            progress: at which, from 0 to 1.
            adaptive: as for `start`.
            memory: from before.
        """
        sound = torch.isfinite(loss) & (loss > 0.0)
        now = torch.where(sound, loss, 1.0).log()
        fresh = memory.first.isnan()
        first = torch.where(fresh, now, memory.first)
        passed = (progress - memory.progress).clamp(min=0.0)
        means = torch.where(fresh, now, now + (memory.means - now) * torch.exp(-passed / self.windows))
        away = now - means[0]
        spread = away.abs() + (memory.spread - away.abs()) * torch.exp(-passed / self.windows[1])
        signals = torch.stack(
            (
                progress, torch.exp(-progress / 0.02), torch.exp(-progress / 0.1), 0.5 * (means[1] - first),
                5.0 * (means[0] - means[1]), 3.0 * (means[1] - means[2]), 5.0 * spread, 2.0 * away,
                0.5 * (memory.level - self.begin.mean()), adaptive,
            )
        ).clamp(-3.0, 3.0)  # fmt: skip
        speed = FASTEST * torch.tanh(self.leave(torch.tanh(self.enter(signals)))[0])
        level = (memory.level + speed * torch.where(fresh, 0.0, passed.clamp(max=LONGEST))).clamp(-FARTHEST, FARTHEST)
        seen = Memory(level, means, spread, first, progress)
        return Memory(*(torch.where(sound, new, old) for new, old in zip(seen, memory, strict=True)))
