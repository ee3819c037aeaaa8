"""What makes an update, and what all that do so share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor
from torch.optim import Optimizer

from lehr.policy import Look
from lehr.scheduler import Scheduler
from lehr.state.nested import Restore

MakeLook = Callable[[], Look]


class OutOfData(Exception):  # noqa: N818 - the end of the data is no error
    """The batches have come to their end."""


class Update(Protocol):
    """One way to make an update."""

    metrics: Mapping[str, Any]
    """Of the last update, by name."""

    cannot_look: str | None
    """Why the loss cannot be had without an update; None if it can."""

    def step(self, scheduler: Scheduler | None, look: MakeLook) -> Tensor:
        """Make one, tell the scheduler what it needs to know, and return the loss."""

    def count(self, unit: str) -> None:
        """Count samples or tokens also where there is no scheduler."""

    @property
    def counted(self) -> float:
        """Samples or tokens of the last update on this rank, where they were counted."""

    def backward_micro_batch(self) -> Tensor:
        """Add the gradients of one batch, and return its loss."""

    def backward(self) -> Tensor:
        """The gradients of an update; returns the loss."""

    def apply(self) -> None:
        """Step every optimizer with these gradients."""

    def loss_ahead(self) -> Tensor:
        """The loss of the next batch, without gradients."""

    def state_dict(self) -> dict[str, Any]:
        """How far an update has come."""

    def read(self, state: Any) -> Restore:
        """What goes on with an update that was begun, once its state is checked.

        Raises:
            ValueError: if it is of another kind of update, or no state at all.
        """

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with an update that was begun."""


def parameters_of(optimizers: Sequence[Optimizer]) -> list[Tensor]:
    """All parameters that the optimizers update, in order, each once."""
    return list({id(p): p for one in optimizers for group in one.param_groups for p in group["params"]}.values())


def loss_and_metrics(returned: Any) -> tuple[Any, Mapping[str, Any]]:
    """A loss, and metrics by name if there are any; a single metric is called that.

    >>> loss_and_metrics((0.5, {"accuracy": 0.9}))
    (0.5, {'accuracy': 0.9})
    """
    if isinstance(returned, tuple) and len(returned) == 2:
        loss, metrics = returned
        return loss, metrics if isinstance(metrics, Mapping) else {"metric": metrics}
    return returned, {}


def advice(returned: Any) -> str:
    """What to look at where no loss came back."""
    return ". Does it end with `return loss`?" if returned is None else ""
