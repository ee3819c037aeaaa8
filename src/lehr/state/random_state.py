"""The random numbers of a run: those of Python, NumPy and torch together."""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch

from lehr.state.generators import try_numbers
from lehr.state.reading import Fields


class RandomState:
    """The global random number generators of Python, NumPy (if it is loaded) and torch, on all devices, as one state.

    For a checkpoint, beside the model and the optimizer. With several processes, the one that saves saves its own:
    ranks whose random numbers must differ reseed after loading, and then differ from a run that was never stopped.

    >>> state = RandomState().state_dict()
    >>> first = torch.rand(2)
    >>> RandomState().load_state_dict(state)
    >>> torch.equal(torch.rand(2), first)
    True
    """

    def state_dict(self) -> dict[str, Any]:
        """All of them as numbers and tensors; loads with `weights_only=True`."""
        return RandomNumbers.now().as_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned.

        Raises:
            ValueError: if it is anything else; nothing has changed then.
        """
        RandomNumbers.read("the checkpoint's random numbers", state).go_on()


@dataclass(frozen=True)
class RandomNumbers:
    """All random numbers of a moment.

    Args:
        python: as `random.getstate` gives them.
        numpy: as NumPy's `get_state` gives them; None if it was not loaded, or is not there now.
        processor: as `torch.get_rng_state` gives them.
        devices: of each device.
    """

    python: tuple[Any, ...]
    numpy: tuple[Any, ...] | None
    processor: torch.Tensor
    devices: tuple[torch.Tensor, ...]

    @classmethod
    def now(cls) -> RandomNumbers:
        """Those of this moment."""
        return cls(random.getstate(), _numpy(), torch.get_rng_state(), tuple(_devices()))

    @classmethod
    def read(cls, where: str, state: Any) -> RandomNumbers:
        """The numbers that `RandomState` gave, once generators of their kinds have tried them.

        Raises:
            ValueError: if `state` is anything else.
        """
        fields = Fields(where, state)
        python, numpy, numbers = fields.any("python"), fields.any("numpy"), fields.any("torch")
        try_numbers(fields, "python", python, random.Random(0))  # noqa: S311 - no secret
        version, values, gauss = python
        numpy = numpy if find_spec("numpy") is not None else None
        if numpy is not None:
            try_numbers(fields, "numpy", numpy, import_module("numpy").random.RandomState(0))
        try_numbers(fields, "torch", numbers, torch.Generator())
        return cls((version, tuple(values), gauss), numpy and tuple(numpy), numbers.cpu(), _of_devices(fields))

    def as_dict(self) -> dict[str, Any]:
        """The numbers as plain data."""
        return {"python": self.python, "numpy": self.numpy, "torch": self.processor, "devices": list(self.devices)}

    def go_on(self) -> None:
        """Set all generators."""
        random.setstate(self.python)
        if self.numpy is not None:
            import_module("numpy").random.set_state(self.numpy)
        torch.set_rng_state(self.processor)
        for index, numbers in enumerate(self.devices):
            module = _accelerator()
            module.set_rng_state(numbers, index) if module is not torch.mps else module.set_rng_state(numbers)


def _of_devices(fields: Fields) -> tuple[torch.Tensor, ...]:
    """The numbers of each device; none on another machine, where there are no such devices and so no such numbers."""
    given, module = fields.any("devices"), _accelerator()
    if not isinstance(given, list | tuple) or not all(isinstance(numbers, torch.Tensor) for numbers in given):
        raise fields.error("devices", "a list of tensors", given)
    if module is None or module.device_count() != len(given):
        return ()
    device = torch.accelerator.current_accelerator()
    for index, numbers in enumerate(given):
        try_numbers(fields, "devices", numbers, torch.Generator(torch.device(str(device).split(":")[0], index)))
    return tuple(numbers.cpu() for numbers in given)


def _numpy() -> tuple[Any, ...] | None:
    """Its state with the key as a list, since arrays do not load with `weights_only=True`."""
    if "numpy" not in sys.modules:
        return None
    kind, keys, *rest = sys.modules["numpy"].random.get_state()
    return (kind, keys.tolist(), *rest)


def _devices() -> list[torch.Tensor]:
    module = _accelerator()
    if module is None or (hasattr(module, "is_initialized") and not module.is_initialized()):
        return []
    if module is torch.mps:
        return [torch.mps.get_rng_state()]
    return [module.get_rng_state(index) for index in range(module.device_count())]


def _accelerator() -> Any:
    """Torch's module for the machine's accelerator, such as `torch.cuda`; None if there is none."""
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return None if device is None else getattr(torch, device.type, None)
