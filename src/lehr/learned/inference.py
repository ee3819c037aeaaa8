"""One step of the learned schedule's network, fast: the formula of `BudgetNetwork`, without gradients.

A memory is seven numbers, in the order of `PLACES`: a tuple of floats, or one tensor, which never leaves its device.
"""

from __future__ import annotations

import math
from operator import mul
from typing import Final

import torch
from torch import Tensor

from lehr.learned.network import FARTHEST, FASTEST, LONGEST, WINDOWS, BudgetNetwork

PLACES: Final = ("short", "middle", "long", "spread", "level", "first", "progress")
"""The three means of the logarithm of the loss, its spread, the level, its first value, and when it was last seen.

Means, first value and time are not a number before there is one."""

SHORT, SPREAD, LEVEL, FIRST, PROGRESS = (PLACES.index(one) for one in ("short", "spread", "level", "first", "progress"))

Numbers = tuple[float, float, float, float, float, float, float]


def start(network: BudgetNetwork, adaptive: float) -> Numbers:
    """The memory before anything was seen."""
    plain, divided = network.begin.tolist()
    return math.nan, math.nan, math.nan, 0.0, divided if adaptive else plain, math.nan, math.nan


class OnNumbers:
    """The network in plain Python: for a loss that is a number, a tenth of what tensors cost.

    Args:
        network: whose weights.
        adaptive: 1.0 if the optimizer divides gradients by their size, else 0.0.
    """

    def __init__(self, network: BudgetNetwork, adaptive: float) -> None:
        self._adaptive = adaptive
        self._middle = sum(network.begin.tolist()) / 2.0
        biases: list[float] = network.enter.bias.tolist()
        rows: list[list[float]] = network.enter.weight.tolist()
        self._rows = [(bias, *row) for bias, row in zip(biases, rows, strict=True)]
        self._leave: list[float] = network.leave.weight[0].tolist()
        self._bias = float(network.leave.bias)

    def __call__(self, loss: float, progress: float, memory: Numbers) -> Numbers:
        """The memory once a loss was seen; one that is not finite and above 0 is passed over."""
        if not 0.0 < loss < math.inf:
            return memory
        now = math.log(loss)
        short, middle, long, spread, level, first, before = memory
        if math.isnan(first):
            short = middle = long = first = now
            before = progress
        passed = max(0.0, progress - before)
        short = now + (short - now) * math.exp(-passed / WINDOWS[0])
        middle = now + (middle - now) * math.exp(-passed / WINDOWS[1])
        long = now + (long - now) * math.exp(-passed / WINDOWS[2])
        away = now - short
        spread = abs(away) + (spread - abs(away)) * math.exp(-passed / WINDOWS[1])
        signals = [
            progress, math.exp(-progress / 0.02), math.exp(-progress / 0.1), 0.5 * (middle - first),
            5.0 * (short - middle), 3.0 * (middle - long), 5.0 * spread, 2.0 * away, 0.5 * (level - self._middle),
            self._adaptive,
        ]  # fmt: skip
        entering = [1.0, *(-3.0 if s < -3.0 else 3.0 if s > 3.0 else s for s in signals)]
        hidden = [math.tanh(sum(map(mul, row, entering))) for row in self._rows]
        speed = FASTEST * math.tanh(sum(map(mul, self._leave, hidden), self._bias))
        level = max(-FARTHEST, min(FARTHEST, level + speed * min(passed, LONGEST)))
        return short, middle, long, spread, level, first, progress


class OnTensors:
    """The network in few operations on the loss's own device, none of which waits for it.

    Means and the first value are taken relative to the new one, which makes most of the formula one product of seven
    numbers; what is not a number yet takes the new value, and then time has not passed. There are no matrix products,
    which autocast would make coarse.

    Args:
        network: whose weights.
        adaptive: 1.0 if the optimizer divides gradients by their size, else 0.0.
        device: of the losses.
    """

    def __init__(self, network: BudgetNetwork, adaptive: float, device: torch.device) -> None:
        self.device = device
        enter, bias = network.enter.weight.to(device), network.enter.bias.to(device)
        self._known = bias + adaptive * enter[:, 9]  # what the processor knows enters as numbers, the rest as tensors
        self._progress, self._early, self._later = (column.contiguous() for column in enter[:, :3].unbind(1))
        self._enter = enter[:, 3:9].contiguous()
        self._leave = network.leave.weight[0].to(device)
        self._bias = network.leave.bias[0].to(device)

        def row(**entries: float) -> Tensor:
            return torch.tensor([entries.get(place, 0.0) for place in PLACES], device=device)

        still = dict.fromkeys(PLACES, -math.inf)
        self._windows = row(**still | dict(zip(PLACES, (*(-w for w in WINDOWS), -WINDOWS[1]), strict=False)))
        self._logs = row(short=1.0, middle=1.0, long=1.0, first=1.0)
        self._less = -self._logs
        self._spread, self._level = row(spread=1.0), row(level=1.0)
        self._signals = torch.stack(
            (
                row(middle=0.5, first=-0.5), row(short=5.0, middle=-5.0), row(middle=3.0, long=-3.0), row(spread=5.0),
                row(short=-2.0), row(level=0.5),
            )
        )  # fmt: skip
        middle = 0.5 * network.begin.to(device).mean()
        self._offset = torch.cat((torch.zeros(5, device=device), -middle.reshape(1)))
        self._more = 5.0 * torch.nn.functional.one_hot(torch.tensor(3, device=device), 6).float()
        far = {**dict.fromkeys(PLACES, math.inf), "level": FARTHEST}
        self._high = row(**far)
        self._low = -self._high
        self._zero = torch.zeros((), device=device)

    def __call__(self, loss: Tensor, progress: float, memory: Tensor) -> Tensor:
        """The memory once a loss was seen; one that is not finite and above 0 is passed over."""
        now = loss.log()
        sound = now.abs() < math.inf
        begun = torch.where(memory.isnan(), now, memory)
        passed = torch.fmax(progress - memory[PROGRESS], self._zero)  # 0 if that is not a number
        decay = (passed / self._windows).exp()
        apart = torch.addcmul(begun, now, self._less) * decay
        rest = decay[SPREAD]
        growth = torch.addcmul(size := apart[SHORT].abs(), size, rest, value=-1.0)  # of the spread
        signals = (self._signals * apart).sum(1).add_(torch.addcmul(self._offset, self._more, growth)).clamp_(-3.0, 3.0)
        hidden = (self._enter * signals).sum(1).add_(self._known).add_(self._progress, alpha=progress)
        hidden.add_(self._early, alpha=math.exp(-progress / 0.02)).add_(self._later, alpha=math.exp(-progress / 0.1))
        speed = (self._leave * hidden.tanh_()).sum().add_(self._bias).tanh_()
        moves = torch.addcmul(self._zero, speed, passed.clamp(max=LONGEST), value=FASTEST)
        after = torch.addcmul(apart, now, self._logs).addcmul_(self._spread, growth).addcmul_(self._level, moves)
        after = torch.clamp(after, self._low, self._high)
        after[PROGRESS].fill_(progress)
        return torch.where(sound, after, memory)
