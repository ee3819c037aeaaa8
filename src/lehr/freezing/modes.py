"""The mode of a frozen module: evaluation, whatever `model.train()` says, save for parts that need the other one."""

from __future__ import annotations

from types import MethodType
from typing import Any, Final, Self

from torch import nn

IN_TRAINING: Final = (nn.RNNBase, nn.TransformerEncoderLayer)
"""Modules that a frozen layer leaves in training mode, without dropout.

cuDNN hands no gradients through a recurrent network in evaluation mode, and the first block of a `TransformerEncoder`
that is in evaluation mode makes nested tensors of the inputs, which blocks that still train do not take.
"""


class NoDropout(float):
    """The rate 0 in the place of a module's own dropout rate; copies of the module have the own rate again."""

    own: float

    def __new__(cls, own: float) -> Self:
        rate = super().__new__(cls, 0.0)
        rate.own = own
        return rate

    def __deepcopy__(self, memo: dict[int, Any]) -> float:
        return self.own

    def __reduce__(self) -> Any:
        return float, (self.own,)


class Hold:
    """In the place of a frozen module's `train`, which `model.train()` calls on every part of the model.

    It remembers what was there. Copies of the module, as for averaged weights, are not held: nobody would let them go.
    """

    def __init__(self, module: nn.Module, model: nn.Module) -> None:
        self.module = module
        self.own = vars(module).get("train")
        # parts that somebody put into evaluation mode while the rest trained are to stay there
        self.resting = [part for part in module.modules() if not part.training] if model.training else []
        asleep = set(map(id, self.resting))
        self.awake = [part for part in module.modules() if isinstance(part, IN_TRAINING) and id(part) not in asleep]
        awake = set(map(id, self.awake))
        self.quiet = [part for part in module.modules() if id(part) not in awake]
        module.eval()
        for part in self.awake:
            part.training = model.training
            if isinstance(part, nn.RNNBase):
                part.dropout = NoDropout(part.dropout)
        module.train = self  # type: ignore[method-assign]

    def __call__(self, mode: bool = True) -> nn.Module:  # noqa: FBT001, FBT002 - as nn.Module has it
        for part in self.awake:
            part.training = mode
        return self.module

    @property
    def has_slipped(self) -> bool:
        """Whether somebody has put a part into training mode, as by calling `train` on each of the model's modules."""
        return any(part.training for part in self.quiet)

    def renew(self) -> None:
        """Put all parts back into the mode of a frozen module."""
        for part in self.quiet:
            part.training = False

    def release(self, *, training: bool) -> None:
        """Let the module follow its model again, which is in that mode."""
        if self.own is None:
            del self.module.train
        else:
            self.module.train = self.own  # type: ignore[method-assign]
        self.module.train(training)
        for part in self.resting:
            part.training = False
        for part in self.awake:
            if isinstance(part, nn.RNNBase) and isinstance(part.dropout, NoDropout):
                part.dropout = part.dropout.own

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        copied = memo.get(id(self.module), self.module)
        return MethodType(type(copied).train, copied)

    def __reduce__(self) -> Any:
        return getattr, (self.module, "train")  # which on loading is that of the class


def hold_of(module: nn.Module) -> Hold | None:
    """What holds the module in the mode of a frozen one, if anything does."""
    hold = vars(module).get("train")
    return hold if isinstance(hold, Hold) else None


def is_still(module: nn.Module) -> bool:
    """Whether a module learns no statistics and drops nothing out, as one that is frozen or in evaluation mode."""
    return all(
        not part.training
        or isinstance(part, nn.TransformerEncoderLayer)
        or (isinstance(part, nn.RNNBase) and isinstance(part.dropout, NoDropout))
        for part in module.modules()
    )
