"""The learned schedule as a policy: a small network sets the rate from the loss and the share of the budget."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from lehr.learned.network import BudgetNetwork, Memory
from lehr.policy import Moment, Policy
from lehr.state.weight_files import digest, read_weights, write_weights

PRETRAINED: Final = Path(__file__).parent / "pretrained"
"""Where the weights are that come with lehr."""

KIND: Final = "learned-schedule"

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
        self._start(adaptive=0.0)

    def _start(self, adaptive: float) -> None:
        self._adaptive = adaptive
        self._memory: Memory = self.network.start(torch.full_like(self.network.begin[0], adaptive))
        self._held: Tensor | float = float(self._memory.level.exp())
        self._last: float | None = None
        self._loaded = False

    # -- as a policy ------------------------------------------------------------------------------------------------

    def bind(self, optimizer: Any) -> None:
        if self._optimizer is not optimizer and not (self._optimizer is None and self._loaded):
            divides = any("eps" in group or "betas" in group for group in optimizer.param_groups)
            self._start(adaptive=float(divides))
        self._optimizer = optimizer

    def factors(self, moment: Moment) -> Any:
        if moment.loss is not None:
            self._observe(moment.loss, moment.progress)
        return self._held * max(0.0, 1.0 - moment.progress)

    @torch.no_grad()
    def _observe(self, loss: Any, progress: float) -> None:
        given = loss if isinstance(loss, Tensor) else torch.tensor(float(loss))
        if self._last is not None and 0.0 <= progress - self._last < FINEST:
            return
        self._last = progress
        given = given.detach().to(self.network.begin.dtype).reshape(())
        if self.network.begin.device != given.device:
            self.network.to(given.device)
        memory = Memory(*(one.to(given.device) for one in self._memory))
        at, adaptive = torch.full_like(given, min(progress, 1.0)), torch.full_like(given, self._adaptive)
        with torch.autocast(given.device.type, enabled=False):
            self._memory = self.network(given, at, adaptive, memory)
        held = self._memory.level.exp()
        self._held = held if isinstance(loss, Tensor) else float(held)

    def state_dict(self) -> dict[str, Any]:
        return {**self._memory._asdict(), "adaptive": self._adaptive, "held": self._held, "last": self._last}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._memory = Memory(*(state[name] for name in Memory._fields))
        self._adaptive, self._held, self._last = state["adaptive"], state["held"], state["last"]
        self._loaded = True

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
        """
        alone = LearnedSchedule(copy.deepcopy(self.network).cpu())
        alone._start(adaptive=float(adaptive))
        given = torch.as_tensor(losses).cpu().reshape(-1)
        factors = [alone.factors(Moment(k / len(given), loss=loss)) for k, loss in enumerate(given)]
        return torch.stack(factors) if factors else torch.empty(0)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the network to a safetensors file with a header."""
        write_weights(Path(path), self.network.state_dict(), {"kind": KIND, "about": self.header})

    @classmethod
    def load(cls, path: str | PathLike[str]) -> LearnedSchedule:
        """The schedule that `save` wrote, at its start.

        Args:
            path: of the file; nothing in it is run.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is no such thing, or damaged.
        """
        tensors, header = read_weights(Path(path), KIND)
        try:
            network = BudgetNetwork(tensors["leave.weight"].shape[-1])
            network.load_state_dict(tensors)
            return cls(network, header=header["about"])
        except (KeyError, IndexError, TypeError, RuntimeError, ValueError) as error:
            raise ValueError(f"{path} holds no learned schedule: {error}") from None

    @classmethod
    def pretrained(cls) -> LearnedSchedule:
        """The schedule that comes with lehr, meta-trained with SGD with momentum and with AdamW on small tasks.

        >>> LearnedSchedule.pretrained().header["optimizers"]
        ['SGD with momentum 0.9', 'AdamW']
        """
        return cls.load(PRETRAINED / "learned-schedule.safetensors")
