"""The random numbers of a run: those of Python, NumPy and torch together."""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import torch


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
        return {"python": random.getstate(), "numpy": _numpy(), "torch": torch.get_rng_state(), "devices": _devices()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        version, numbers, gauss = state["python"]
        random.setstate((version, tuple(numbers), gauss))
        if state["numpy"] is not None:
            import_module("numpy").random.set_state(tuple(state["numpy"]))
        torch.set_rng_state(state["torch"].cpu())
        if state["devices"]:
            module = _accelerator()
            if module is None or module.device_count() != len(state["devices"]):
                return  # another machine: there are no such devices, and so no such random numbers
            for index, numbers in enumerate(state["devices"]):
                module.set_rng_state(numbers.cpu(), index) if module is not torch.mps else module.set_rng_state(numbers)


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
