"""An update made by somebody's own function, in a loop that lehr does not own."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor
from torch.optim import Optimizer

from lehr._numbers import shown
from lehr.scheduler import Scheduler
from lehr.state.nested import Restore
from lehr.state.random_state import RandomNumbers
from lehr.state.reading import Fields
from lehr.training.update import MakeLook, advice, loss_and_metrics, parameters_of

NO_BACKWARD = (
    "looking along the step needs the loss without an update; give Training.of a function backward that leaves the "
    "gradients of the next update and returns its loss"
)


@final
class StepUpdate:
    """Updates by a function of your own.

    Args:
        function: makes one update and returns the loss, or a pair of the loss and metrics.
        gradients: leaves the gradients of the next update, without making it; returns the loss. None if there is none.
        optimizers: whose gradients these are.
        mark: a method of the training that this update belongs to, which notes all but weights and optimizer state that
            an update changes; what it returns puts it back.
    """

    def __init__(
        self,
        function: Callable[[], Any],
        gradients: Callable[[], Any] | None,
        optimizers: Sequence[Optimizer],
        mark: Callable[[], Restore],
    ) -> None:
        self.function = function
        self.gradients = gradients
        self.optimizers = optimizers
        self._mark = weakref.WeakMethod(mark)
        self.metrics: Mapping[str, Any] = {}
        self.cannot_look = None if gradients is not None else NO_BACKWARD

    def step(self, scheduler: Scheduler | None, look: MakeLook) -> Tensor:
        """The function's update; policies see its loss afterwards, and its gradients before where they look."""
        if scheduler is None:
            return self._loss_of(self.function())
        looks = scheduler.wants_look
        if looks:
            self._show(scheduler, look)
        loss = self._loss_of(self.function())
        if scheduler.wants_loss and not looks:
            scheduler.observe(loss=loss)
        scheduler.step()
        return loss

    def _show(self, scheduler: Scheduler, look: MakeLook) -> None:
        """Compute the gradients of the update to come, have the policy look along it, and put back all but weights."""
        if self.gradients is None:
            raise ValueError(f"{scheduler.policy!r}: {NO_BACKWARD}")
        before = RandomNumbers.now()
        parameters = parameters_of(self.optimizers)
        kept = [parameter.grad for parameter in parameters]
        mark = self._mark()
        assert mark is not None  # whoever makes an update holds the training
        put_back = mark()
        try:
            loss = self._loss_of(self.gradients())
        finally:
            put_back()
            before.go_on()
        try:
            scheduler.observe(loss=loss, loss_at=look())
        finally:
            for parameter, gradient in zip(parameters, kept, strict=True):
                parameter.grad = gradient

    def count(self, unit: str) -> None:
        """Not to be had: only the function knows.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            f"Training.of: a search for the rate must know how many {unit} an update uses; give a budget that says so, "
            f"such as lehr.Budget({unit}=..., {unit}_per_step=...), or one in steps"
        )

    @property
    def counted(self) -> float:
        """Nothing is."""
        return 0.0

    def loss_ahead(self) -> Tensor:
        """The loss that comes with the gradients of the next update, which are forgotten."""
        assert self.gradients is not None
        parameters = parameters_of(self.optimizers)
        kept, metrics = [parameter.grad for parameter in parameters], self.metrics
        try:
            for parameter in parameters:
                parameter.grad = None
            with torch.enable_grad():
                return self._loss_of(self.gradients())
        finally:
            self.metrics = metrics
            for parameter, gradient in zip(parameters, kept, strict=True):
                parameter.grad = gradient

    def backward_micro_batch(self) -> Tensor:
        """Not to be had: the function accumulates by itself."""
        raise ValueError("Training.backward_micro_batch: a training made by Training.of accumulates by itself")

    def backward(self) -> Tensor:
        """The gradients of the next update, by the function that was given for it."""
        if self.gradients is None:
            raise ValueError(
                "Training.backward: give Training.of a function backward to have gradients without an update"
            )
        return self._loss_of(self.gradients())

    def apply(self) -> None:
        """Not to be had: the function makes whole updates."""
        raise ValueError("Training.update: a training made by Training.of makes whole updates; call step()")

    def _loss_of(self, returned: Any) -> Tensor:
        loss, self.metrics = loss_and_metrics(returned)
        if isinstance(loss, Tensor) and loss.numel() == 1:
            return loss.detach().reshape(())
        try:
            return torch.tensor(float(loss))
        except (TypeError, ValueError, RuntimeError):
            raise ValueError(
                f"Training: step must return the loss, one number; got {shown(returned)}{advice(returned)}"
            ) from None

    def state_dict(self) -> dict[str, Any]:
        """Nothing: updates are whole."""
        return {}

    def read(self, state: Any) -> Restore:
        """Nothing to go on with, of which there may be any amount.

        Raises:
            ValueError: if `state` is no state.
        """
        Fields("the checkpoint's update", state)
        return lambda: None

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to go on with."""
        self.read(state)()
