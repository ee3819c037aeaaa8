"""The start of a run: every random number from its seed, and weights that no run has had."""

from __future__ import annotations

import random
import weakref
from typing import Final

import numpy as np
import torch
from torch import nn

LAST_SEED: Final = 2**32 - 1
"""The largest seed that NumPy takes."""


def seed_everything(seed: int) -> None:
    """Seed torch, Python and NumPy: initial weights may come from any of them."""
    for seeded in (torch.manual_seed, random.seed, np.random.seed):
        seeded(seed)


def check_new(model: nn.Module, who: str) -> None:
    """Note a network's weights as those that a run has had.

    Frozen ones may be shared between runs, which do not change them.

    Args:
        model: the network.
        who: makes it, for the message.

    Raises:
        ValueError: if a run of this process had any of them before.
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    if any(_TRAINED.get(id(weight)) is weight for weight in weights):
        raise ValueError(f"{who} must make a new network at each call; it returned one that was trained before")
    _TRAINED.update({id(weight): weight for weight in weights})


_TRAINED: Final[weakref.WeakValueDictionary[int, nn.Parameter]] = weakref.WeakValueDictionary()
"""Weights that a run of this process has had."""
