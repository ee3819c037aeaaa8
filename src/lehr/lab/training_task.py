"""The task for any training: a function of a seed that makes it, and functions that say how well it did."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from torch import Tensor

import lehr
from lehr.lab.metric import Criterion
from lehr.lab.training_loop import TrainingWorkload

Number = float | Tensor

ACCURACY: Final = Criterion("accuracy", percent=True)


@dataclass(frozen=True, kw_only=True)
class TrainingTask:
    """Any training, and how well it did: what `lehr compare` needs to know where a `Task` is too simple.

    Before `make_training(seed)` is called, torch, NumPy and Python's `random` are seeded with that seed, so that
    initial weights, data order and every other random number come from it. Whatever has random numbers of its own, such
    as a loader with a `generator`, must be made in there, and seeded with `seed`.

    `validate` and `test` are called with the training: without gradients, its modules in evaluation mode. Modes and
    random numbers are put back afterwards, and the time does not count.

    Args:
        make_training: seed -> a fresh `lehr.Training`, with a new network at each call.
        validate: training -> a number from data that choose, or numbers by name: the one that `criterion` names
            decides, "loss" is the mean loss, and others are kept with the runs.
        test: the same from data for the final figure; called once, at the end of each reported run.
        criterion: how the number that decides is called and reads.
        budget: what `lehr compare` spends on a run unless told otherwise, such as "3ep" or, for data whose length is
            not known, "500steps".
        example: what the model is called with, for `freezeout` and `lehr freeze`: a tensor, a tuple of arguments or a
            dict of named ones. A `Sequential` needs none.
        about: one line for reports.

    Raises:
        TypeError: if an argument is of the wrong kind.

    >>> def make_training(seed):
    ...     model = torch.nn.Linear(4, 1)
    ...     optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    ...     loader = torch.utils.data.DataLoader(torch.ones(64, 4), batch_size=16, shuffle=True)
    ...     return Training(model, optimizer, loader, lambda model, batch: (model(batch) - 1.0).square().mean())
    >>> def error(training):
    ...     return (training.modules[0](torch.ones(8, 4)) - 1.0).square().mean()
    >>> from lehr import lab
    >>> criterion = lab.Criterion("squared error", higher_is_better=False)
    >>> task = TrainingTask(make_training=make_training, validate=error, test=error, criterion=criterion, budget="3ep")
    >>> results = lab.compare(task, "linear,constant", seeds=2)
    >>> results.total.runs, results.total.updates
    (4, 48)
    """

    make_training: Callable[[int], lehr.Training]
    validate: Callable[[lehr.Training], Number | Mapping[str, Number]]
    test: Callable[[lehr.Training], Number | Mapping[str, Number]]
    criterion: Criterion = ACCURACY
    budget: str = "10ep"
    example: Any = None
    about: str = ""

    def __post_init__(self) -> None:
        for name in ("make_training", "validate", "test"):
            if not callable(getattr(self, name)):
                raise TypeError(f"TrainingTask: {name} must be a function; got {getattr(self, name)!r}")
        if not isinstance(self.criterion, Criterion):
            raise TypeError(
                "TrainingTask: criterion must be a lehr.lab.Criterion, such as lab.Criterion('F1'); got "
                f"{self.criterion!r}"
            )
        for name in ("budget", "about"):
            if not isinstance(getattr(self, name), str):
                raise TypeError(f"TrainingTask: {name} must be a text; got {getattr(self, name)!r}")

    def workload(self) -> TrainingWorkload:
        """The task, ready for runs."""
        return TrainingWorkload(self)
