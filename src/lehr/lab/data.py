"""Data in memory: a training set, a validation set that chooses, and a test set that is looked at once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from lehr._arguments import whole_argument
from lehr._numbers import MOST_SEEDS, shown

Pairs = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Data:
    """Inputs and targets, three times.

    Args:
        train: inputs and targets to train on, examples along the first dimension.
        validation: inputs and targets that choose between learning rates.
        test: inputs and targets for the final figure.

    Raises:
        ValueError: if a part is empty, or its inputs and targets differ in number.

    >>> pairs = torch.zeros(4, 2), torch.zeros(4)
    >>> len(Data(train=pairs, validation=pairs, test=pairs).train[0])
    4
    """

    train: Pairs
    validation: Pairs
    test: Pairs

    def __post_init__(self) -> None:
        for name in ("train", "validation", "test"):
            inputs, targets = getattr(self, name)
            if not len(inputs):
                raise ValueError(f"Data: {name} is empty")
            if len(inputs) != len(targets):
                raise ValueError(f"Data: {name} has {len(inputs)} inputs, but {len(targets)} targets")


def fingerprint(data: Data) -> str:
    """A hash of every number in the data, since runs on other data cannot be compared."""
    digest = hashlib.sha256()
    for part in (*data.train, *data.validation, *data.test):
        digest.update(f"{part.dtype} {tuple(part.shape)}".encode())
        digest.update(part.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def split(inputs: Tensor, targets: Tensor, *, validation: int, test: int, seed: int = 0) -> Data:
    """The examples in a random but fixed order, divided into training, validation and test sets.

    Args:
        inputs: examples along the first dimension.
        targets: as many.
        validation: how many examples to hold out for validation, at least 1.
        test: how many to hold out for the test, at least 1.
        seed: of the order.

    Raises:
        TypeError: if inputs or targets are no tensor.
        ValueError: if a number is out of range, inputs and targets differ in number, or nothing would be left to train
            on.

    >>> data = split(torch.arange(10), torch.arange(10), validation=2, test=3)
    >>> len(data.train[0]), len(data.validation[0]), len(data.test[0])
    (5, 2, 3)
    """
    for name, given in (("inputs", inputs), ("targets", targets)):
        if not isinstance(given, Tensor):
            raise TypeError(f"split: {name} must be a tensor; got {shown(given)}")
    if len(inputs) != len(targets):
        raise ValueError(f"split: there are {len(inputs)} inputs, but {len(targets)} targets")
    validation, test = whole_argument("split: validation", validation), whole_argument("split: test", test)
    if validation + test >= len(inputs):
        raise ValueError(
            f"split: validation={validation} and test={test} leave nothing of {len(inputs)} examples to train on"
        )
    seed = whole_argument("split: seed", seed, 0, MOST_SEEDS)
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(seed))
    ends = (test, test + validation)
    parts = (order[: ends[0]], order[ends[0] : ends[1]], order[ends[1] :])
    held_out, chooses, trains = ((inputs[part], targets[part]) for part in parts)
    return Data(train=trains, validation=chooses, test=held_out)
