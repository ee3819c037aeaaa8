"""The start of a run: every random number from its seed, and a network that no run has had."""

from __future__ import annotations

import random
import weakref
from typing import Final

import numpy as np
import torch
from torch import nn


def seed_everything(seed: int) -> None:
    """Seed torch, Python and NumPy: initial weights may come from any of them."""
    for seeded in (torch.manual_seed, random.seed, np.random.seed):
        seeded(seed)


def check_new(model: nn.Module, who: str) -> None:
    """Note a network as one that a run has had.

    Args:
        model: the network.
        who: makes it, for the message.

    Raises:
        ValueError: if a run of this process had it before.
    """
    if id(model) in (id(known) for known in _TRAINED):
        raise ValueError(f"{who} must make a new network at each call; it returned one that was trained before")
    _TRAINED.add(model)


_TRAINED: Final[weakref.WeakSet[nn.Module]] = weakref.WeakSet()
"""Networks that a run of this process has had."""
