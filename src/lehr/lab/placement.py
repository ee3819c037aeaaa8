"""Where a run computes, and how: device, precision, compilation, the batches of an update, and processes."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, Literal, get_args

import torch

import lehr
from lehr._arguments import whole_argument
from lehr._numbers import shown
from lehr.lab.reader import Within

Precision = Literal["fp32", "bf16", "fp16"]

HALVES: Final = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""What mixed precision computes in."""


@dataclass(frozen=True)
class Placement:
    """Where a run computes, and how.

    Args:
        device: "cpu", or one of torch's accelerators, such as "cuda", "cuda:1", "mps" or "xpu"; "auto" for the
            accelerator of this machine, or the CPU where there is none. A `TrainingTask` stays where it was made under
            "auto", and is moved otherwise.
        precision: "fp32", or "bf16" or "fp16" for automatic mixed precision, the latter with a gradient scaler.
        compile: whether the network is compiled.
        accumulate: batches whose gradients make one update, at least 1.
        ranks: the processes that train a run together, at least 1.

    Raises:
        ValueError: if an argument makes no sense.

    >>> Placement("cpu", "fp16").scaler() is not None
    True
    """

    device: str = "auto"
    precision: Precision = "fp32"
    compile: bool = False
    accumulate: Annotated[int, Within(1)] = 1
    ranks: Annotated[int, Within(1)] = 1

    def __post_init__(self) -> None:
        if self.device != "auto":
            _device(self.device)
        if self.precision not in get_args(Precision):
            raise ValueError(f"precision must be fp32, bf16 or fp16; got {shown(self.precision)}")
        if not isinstance(self.compile, bool):
            raise ValueError(f"compile must be True or False; got {shown(self.compile)}")
        for name, value in (("accumulate", self.accumulate), ("ranks", self.ranks)):
            object.__setattr__(self, name, whole_argument(name, value))

    @property
    def at(self) -> torch.device:
        """The device."""
        return torch.device(accelerator() if self.device == "auto" else self.device)

    def on(self, device: str) -> Placement:
        """The same on another device."""
        return replace(self, device=device)

    @property
    def kind(self) -> Placement:
        """The same without the number of the device: runs on two of a kind may be compared."""
        return self.on(self.device.partition(":")[0])

    def check(self) -> Placement:
        """Itself, if this machine has the device.

        Raises:
            ValueError: if it does not.
        """
        at, has = self.at, accelerator()
        if at.type in ("cpu", "meta"):
            return self
        if at.type != has:
            raise ValueError(
                f"device {self.device!r} is not to be had here: torch {torch.__version__} finds {has} only"
            )
        if at.index is not None and at.index >= (count := torch.accelerator.device_count()):
            raise ValueError(f"device {self.device!r} is not to be had here: there are {count}, numbered from 0")
        return self

    def autocast(self) -> AbstractContextManager[Any]:
        """A context of mixed precision; of nothing under fp32."""
        return nullcontext() if self.half is None else torch.autocast(self.at.type, dtype=self.half)

    @property
    def half(self) -> torch.dtype | None:
        """What mixed precision computes in; None under fp32."""
        return HALVES.get(self.precision)

    def move(self, training: lehr.Training) -> None:
        """Bring a user's training that has not begun to the device, or leave it where it is under "auto"."""
        own = training.device
        place = own if self.device == "auto" else self.check().at
        elsewhere = place.type != own.type or (own.type != "cpu" and place.index not in (None, own.index))
        if elsewhere and self.ranks > 1:
            raise ValueError(
                f"device {self.device!r}: a training of several processes is not moved; have make_training make it on "
                "the accelerator, and leave device out"
            )
        if elsewhere or self.half is not None:
            scaler = torch.amp.GradScaler(place.type) if self.precision == "fp16" else None
            training.to(place, autocast=self.half, scaler=scaler)

    def scaler(self) -> torch.amp.GradScaler | None:
        """A gradient scaler for fp16; None otherwise."""
        return torch.amp.GradScaler(self.at.type) if self.precision == "fp16" else None


def accelerator() -> str:
    """The kind of accelerator that torch finds on this machine, else "cpu"."""
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return "cpu" if found is None else found.type


def devices(text: str) -> list[str]:
    """The devices in a comma-separated list.

    Raises:
        ValueError: if one is no device, they are of several kinds, or "auto" is one of several.

    >>> devices("cuda:0,cuda:1")
    ['cuda:0', 'cuda:1']
    """
    found = [part.strip() for part in text.split(",") if part.strip()]
    if not found:
        raise ValueError("device is empty; give auto, cpu or cuda, or several such as cuda:0,cuda:1")
    if len({Placement(one).kind for one in found}) > 1 or (len(found) > 1 and "auto" in found):
        raise ValueError(f"device must be one, or several of one kind, such as cuda:0,cuda:1; got {shown(text)}")
    return found


def _device(text: object) -> torch.device:
    try:
        if isinstance(text, str):
            return torch.device(text)
    except RuntimeError:
        pass
    raise ValueError(f"device must be auto, cpu, or an accelerator such as cuda:1; got {shown(text)}")


CPU: Final = Placement("cpu")
AUTO: Final = Placement()
