"""The learned schedule as a policy: a small network sets the rate from the loss and the share of the budget."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from lehr._arguments import path_argument
from lehr._numbers import floats, shown
from lehr.learned.inference import FIRST, LEVEL, PLACES, Numbers, OnNumbers, OnTensors, start
from lehr.learned.network import FARTHEST, WIDEST, BudgetNetwork
from lehr.policy import Moment, Policy
from lehr.state.reading import Fields
from lehr.state.weight_files import check_fit, digest, read_weights, write_weights

PRETRAINED: Final = Path(__file__).parent / "pretrained"
"""Where the weights are that come with lehr."""

KIND: Final = "learned-schedule"

LOG: Final = 800.0
"""No logarithm of a loss is larger."""

FINEST: Final = 0.9e-4
"""Losses closer together than that share of the budget are passed over: ten thousand looks a run are enough."""


class LearnedSchedule(Policy):
    """A schedule that was learned: a network moves the rate by the loss, and a line takes it to zero.

        factor = exp(level) (1 - progress),    level from `BudgetNetwork`

    The optimizer's own rate should be the edge of a range test, `lehr.range_test(...).edge()`: the schedule begins at
    a share of it that it has learned, and finds its way from there. Give it `scheduler.observe(loss=...)` at every
    update, for any length and unit of budget, and make a new one for each run. It knows two kinds of optimizers, those
    that divide gradients by their size, as Adam does, and others. With tensors for the loss and the rates nothing waits
    for the device.

    Args:
        network: what moves the rate.
        header: how the network came about, kept in files.

    Raises:
        ValueError: if `network` is no `BudgetNetwork`.

    Source: ours, after Shu et al. 2022 (MLR-SNet).

    >>> schedule = LearnedSchedule.pretrained()
    >>> 0.0 < schedule.factors(Moment(0.0, loss=2.3)) < 1.0
    True
    >>> schedule.factors(Moment(1.0))
    0.0
    """

    needs = ("loss",)

    def __init__(self, network: BudgetNetwork, *, header: Mapping[str, Any] | None = None) -> None:
        if not isinstance(network, BudgetNetwork):
            raise ValueError(f"LearnedSchedule: network must be a BudgetNetwork; got {type(network).__name__}")
        self.network = network.requires_grad_(False)
        self.header = dict(header or {})
        self._optimizer: Any = None
        self._looked_at = False
        self._start(adaptive=0.0)

    def _start(self, adaptive: float) -> None:
        self._adaptive = adaptive
        self._memory: Numbers | Tensor = start(self.network, adaptive)
        self._last: float | None = None
        self._loaded = False
        self._numbers: OnNumbers | None = None
        self._tensors: OnTensors | None = None

    # -- as a policy ------------------------------------------------------------------------------------------------

    def bind(self, optimizer: Any) -> None:
        if self._optimizer is not optimizer and not (self._optimizer is None and self._loaded):
            divides = any("eps" in group or "betas" in group for group in optimizer.param_groups)
            self._start(adaptive=float(divides))
        self._optimizer = optimizer
        self._looked_at = not any(isinstance(group["lr"], Tensor) for group in optimizer.param_groups)

    def factors(self, moment: Moment) -> Any:
        if moment.loss is not None:
            self._observe(moment.loss, moment.progress)
        level = self._memory[LEVEL]
        return (level.exp() if isinstance(level, Tensor) else math.exp(level)) * max(0.0, 1.0 - moment.progress)

    @torch.no_grad()
    def _observe(self, loss: Any, progress: float) -> None:
        if self._last is not None and 0.0 <= progress - self._last < FINEST:
            return
        self._last = progress
        at = min(progress, 1.0)
        if not isinstance(loss, Tensor) or self._looked_at or at_hand(loss):  # rates that are numbers need one anyway
            if self._numbers is None:
                self._numbers = OnNumbers(self.network, self._adaptive)
            numbers = self._memory if isinstance(self._memory, tuple) else _as_numbers(self._memory.tolist())
            self._memory = self._numbers(float(loss), at, numbers)
            return
        given = loss if loss.dtype == torch.float32 else loss.float()
        if self._tensors is None or self._tensors.device != given.device:
            self._tensors = OnTensors(self.network, self._adaptive, given.device)
        memory = self._memory
        if not isinstance(memory, Tensor) or memory.device != given.device:
            memory = torch.as_tensor(memory, dtype=torch.float32, device=given.device)
        self._memory = self._tensors(given if given.ndim == 0 else given.reshape(()), at, memory)

    def state_dict(self) -> dict[str, Any]:
        numbers = self._memory
        memory = numbers if isinstance(numbers, Tensor) else None if math.isnan(numbers[FIRST]) else list(numbers)
        return {"memory": memory, "adaptive": self._adaptive, "last": self._last}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned.

        Raises:
            ValueError: if it is anything else; then nothing changes.
        """
        fields = Fields("the state of LearnedSchedule", state)
        adaptive = fields.number("adaptive", 0.0, 1.0)
        last = fields.number_or_none("last", 0.0)
        memory = self._memory_in(fields, adaptive)
        self._start(adaptive)
        self._memory, self._last, self._loaded = memory, last, True

    def _memory_in(self, fields: Fields, adaptive: float) -> Numbers | Tensor:
        memory = fields.any("memory")
        if memory is None:
            return start(self.network, adaptive)
        if isinstance(memory, Tensor):
            if memory.shape == (len(PLACES),) and bool(memory[FIRST].isnan()):  # on a device, where nobody could know
                return torch.tensor(start(self.network, adaptive), device=memory.device)
            numbers = tuple(fields.tensor("memory", (len(PLACES),)).tolist())
        else:
            numbers = fields.numbers("memory", len(PLACES))
        farthest = max(FARTHEST, *map(abs, self.network.begin.tolist()))
        bounds = (LOG, LOG, LOG, 2.0 * LOG, farthest, LOG, 1.0)
        low = (-LOG, -LOG, -LOG, 0.0, -farthest, -LOG, 0.0)
        if len(numbers) != len(PLACES) or not all(
            least <= number <= most for least, number, most in zip(low, numbers, bounds, strict=True)
        ):
            raise fields.error("memory", f"what a schedule remembers: {', '.join(PLACES)}", memory)
        return memory if isinstance(memory, Tensor) else _as_numbers(numbers)

    def __repr__(self) -> str:
        return f"LearnedSchedule({self.network.hidden} hidden, weights {digest(self.network.state_dict())[:12]})"

    # -- by itself, and as files ------------------------------------------------------------------------------------

    def rates(self, losses: Sequence[float] | Tensor, *, adaptive: bool = False) -> Tensor:
        """The factors of a whole run with these losses; this run's own state is left.

        Args:
            losses: training losses, one an update.
            adaptive: whether the optimizer divides gradients by their size.

        Returns:
            A factor for each, from the first update to the last.

        Raises:
            ValueError: if `losses` are no numbers.
        """
        given = floats(losses)
        if given is None:
            raise ValueError(f"LearnedSchedule.rates: losses must be a list of numbers; got {shown(losses)}")
        alone = LearnedSchedule(copy.deepcopy(self.network).cpu())
        alone._start(adaptive=float(adaptive))
        return torch.tensor([alone.factors(Moment(k / len(given), loss=loss)) for k, loss in enumerate(given)])

    def save(self, path: str | PathLike[str]) -> None:
        """Write the network to a safetensors file with a header."""
        write_weights(
            path_argument("LearnedSchedule.save: path", path),
            self.network.state_dict(),
            {"kind": KIND, "about": self.header},
        )

    @classmethod
    def load(cls, path: str | PathLike[str]) -> LearnedSchedule:
        """The schedule that `save` wrote, at its start.

        Args:
            path: of the file; nothing in it is run.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is no such thing, or damaged.
        """
        tensors, header = read_weights(path_argument("LearnedSchedule.load: path", path), KIND)
        try:
            return cls(_network(tensors), header=Fields("its header", header).table("about"))
        except ValueError as error:
            raise ValueError(f"{path} holds no learned schedule: {error}") from None

    @classmethod
    def pretrained(cls) -> LearnedSchedule:
        """The schedule that comes with lehr, meta-trained with SGD with momentum and with AdamW on small tasks.

        >>> LearnedSchedule.pretrained().header["optimizers"]
        ['SGD with momentum 0.9', 'AdamW']
        """
        return cls.load(PRETRAINED / "learned-schedule.safetensors")


def at_hand(loss: Tensor) -> bool:
    """Whether reading the number waits for no device."""
    return loss.device.type == "cpu"


def _network(tensors: Mapping[str, Tensor]) -> BudgetNetwork:
    """The network of a file, made only once its tensors are known to be all of it."""
    last = tensors.get("leave.weight")
    hidden = 0 if last is None else last.shape[-1]
    if not 1 <= hidden <= WIDEST:
        raise ValueError(f"leave.weight must say how wide the network is, from 1 to {WIDEST}")
    with torch.device("meta"):
        expected = BudgetNetwork(hidden).state_dict()
    check_fit(tensors, expected)
    if bool((tensors["begin"].abs() > FARTHEST).any()):
        raise ValueError(f"begin must lie between -{FARTHEST:g} and {FARTHEST:g}")
    network = BudgetNetwork(hidden)
    network.load_state_dict(tensors)
    return network


def _as_numbers(values: Sequence[float]) -> Numbers:
    short, middle, long, spread, level, first, progress = values
    return short, middle, long, spread, level, first, progress
