"""An update made from a loss: batches are drawn, gradients added up and clipped, optimizers stepped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol, final, runtime_checkable

import torch
from torch import Tensor, nn

from lehr.scheduler import Scheduler
from lehr.state import Batches
from lehr.state.nested import Restore
from lehr.state.reading import Fields, shown
from lehr.training.placement import count_examples, placed
from lehr.training.update import MakeLook, OutOfData, advice, loss_and_metrics, parameters_of

NO_AMOUNT: Final = "Training: give amount, a function that says how many tokens a batch holds"


@runtime_checkable
class DefersSync(Protocol):
    """A data-parallel wrapper that can leave gradients on each rank for now."""

    def no_sync(self) -> AbstractContextManager[Any]:
        """A context in which gradients are not averaged over the ranks."""


@final
class LossUpdate:
    """Updates from a loss of model and batch.

    Args:
        model: what the loss is called with.
        optimizers: to step, as they were given.
        batches: to draw from.
        loss: model, batch -> loss, or a pair of the loss and metrics by name.
        device: where batches go; None leaves them where they are.
        autocast: device and type of automatic mixed precision; None for none.
        scaler: of the gradients, or None.
        accumulate: batches whose gradients make one update.
        clip_norm: largest norm of the gradient; None does not clip.
        amount: batch -> samples or tokens in it; None counts samples along its first tensor.
    """

    cannot_look: str | None = None

    def __init__(
        self,
        model: nn.Module,
        optimizers: Sequence[Any],
        batches: Batches[Any],
        loss: Callable[[Any, Any], Any],
        device: torch.device | None,
        autocast: tuple[str, torch.dtype] | None,
        scaler: torch.amp.GradScaler | None,
        accumulate: int,
        clip_norm: float | None,
        amount: Callable[[Any], float] | None,
    ) -> None:
        self.model = model
        self.optimizers = optimizers
        self.batches = batches
        self.loss = loss
        self.device = device
        self.autocast = autocast
        self.scaler = scaler
        self.accumulate = accumulate
        self.clip_norm = clip_norm
        self.amount = amount
        self.metrics: Mapping[str, Any] = {}
        self._parallel = model if isinstance(model, DefersSync) else None
        self._ready = 0
        self._complete = False
        self._sum: Tensor | None = None
        self._counts_alone = False
        self._counts = False
        self._counted = 0.0

    def step(self, scheduler: Scheduler | None, look: MakeLook) -> Tensor:
        """Gradients, a word to the scheduler, the update, and time has passed."""
        if scheduler is None:
            self._counts = self._counts_alone
            loss = self.backward()
            self.apply()
            return loss
        self._counts = scheduler.clock.asks
        if self._counts and self.amount is None and scheduler.budget.unit == "tokens":
            raise ValueError(NO_AMOUNT)
        loss = self.backward()
        if self._counts:
            scheduler.observe_amount(self._counted)
        if scheduler.wants_loss:
            scheduler.observe(loss=loss, loss_at=look() if scheduler.wants_look else None)
        self.apply()
        scheduler.step()
        return loss

    def count(self, unit: str) -> None:
        """Count samples or tokens also where there is no scheduler.

        Raises:
            ValueError: if tokens are to be counted, and nobody said how.
        """
        if self.amount is None and unit == "tokens":
            raise ValueError(NO_AMOUNT)
        self._counts_alone = True

    @property
    def counted(self) -> float:
        """Samples or tokens of the last update on this rank, where they were counted."""
        return self._counted

    def backward(self) -> Tensor:
        """Add up gradients until the update is complete, unscale and clip them, once."""
        while self._ready < self.accumulate:
            self.backward_micro_batch()
        assert self._sum is not None
        if self._complete:
            return self._sum
        if self.scaler is not None:
            for one in self.optimizers:
                if _has_gradients(one):
                    self.scaler.unscale_(one)
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(parameters_of(self.optimizers), self.clip_norm)
        self._complete = True
        return self._sum

    def backward_micro_batch(self) -> Tensor:
        """Add the gradients of the next batch."""
        if self._ready >= self.accumulate:
            raise ValueError("Training.backward_micro_batch: the update is complete; call update() first")
        if not self._ready:
            for one in self.optimizers:
                one.zero_grad()
            self._counted = 0.0
        batch = self._draw()
        if self._parallel is None or self._ready + 1 == self.accumulate:
            loss = self._backward(batch)
        else:
            with self._parallel.no_sync():
                loss = self._backward(batch)
        part = loss if self.accumulate == 1 else loss / self.accumulate
        self._sum = part if not self._ready or self._sum is None else self._sum + part
        self._ready += 1
        return loss

    def _backward(self, batch: Any) -> Tensor:
        """Add the gradients of this batch, as its share of the update's mean."""
        loss = self._forward(batch)
        part = loss if self.accumulate == 1 else loss / self.accumulate
        (part if self.scaler is None else self.scaler.scale(part)).backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def apply(self) -> None:
        """Step every optimizer; with a scaler, those whose gradients are finite."""
        if self._ready < self.accumulate:
            raise ValueError("Training.update: there are no gradients yet; call backward() first")
        if self.scaler is None:
            for one in self.optimizers:
                one.step()
        else:
            for one in self.optimizers:
                if _has_gradients(one):  # all may be frozen
                    self.scaler.step(one)
            self.scaler.update()
        self._ready, self._complete = 0, False

    def loss_ahead(self) -> Tensor:
        """The loss of the next batch; metrics and counts stay those of the update."""
        metrics, counted = self.metrics, self._counted
        with torch.no_grad():
            loss = self._forward(self._draw())
        self.metrics, self._counted = metrics, counted
        return loss.detach()

    def _draw(self) -> Any:
        try:
            batch = next(self.batches)
        except StopIteration:
            raise OutOfData("the batches have come to their end") from None
        if self._counts:
            count = count_examples(batch) if self.amount is None else self.amount(batch)
            if count is None:
                raise ValueError("Training: give amount, a function that says how many samples a batch holds")
            self._counted += float(count)
        return batch if self.device is None else placed(batch, self.device)

    def _forward(self, batch: Any) -> Tensor:
        if self.autocast is None:
            returned = self.loss(self.model, batch)
        else:
            with torch.autocast(*self.autocast):
                returned = self.loss(self.model, batch)
        if not isinstance(returned, Tensor):
            loss, self.metrics = loss_and_metrics(returned)
            if not isinstance(loss, Tensor):
                raise ValueError(
                    f"Training: loss must return a tensor, or a pair of a tensor and metrics by name; got "
                    f"{returned!r:.80}{advice(returned)}"
                )
            returned = loss
        if returned.ndim and returned.numel() != 1:
            raise ValueError(f"Training: loss must return one number; got a tensor of shape {tuple(returned.shape)}")
        return returned

    def to(self, device: torch.device, autocast: torch.dtype | None, scaler: torch.amp.GradScaler | None) -> None:
        """Send batches there from now on; precision and scaler stay as they were where none is given."""
        self.device = device
        if autocast is not None or self.autocast is not None:
            self.autocast = (device.type, autocast or self.autocast[1])  # type: ignore[index]
        self.scaler = scaler or self.scaler

    def state_dict(self) -> dict[str, Any]:
        """The batches accumulated so far, and their gradients."""
        if not self._ready:
            return {"ready": 0, "complete": False, "loss": None, "counted": 0.0, "gradients": None}
        if self._complete and self.scaler is not None:
            raise ValueError("Training: save before backward() or after update(), since gradients are unscaled between")
        gradients = [None if p.grad is None else p.grad.detach().clone() for p in parameters_of(self.optimizers)]
        return {
            "ready": self._ready, "complete": self._complete, "loss": self._sum, "counted": self._counted,
            "gradients": gradients,
        }  # fmt: skip

    def read(self, state: Any) -> Restore:
        """What goes on with an accumulation that was begun.

        Raises:
            ValueError: if `state` is of another training, or no state at all.
        """
        fields = Fields("the checkpoint's update", state)
        ready, complete = fields.whole("ready"), fields.flag("complete")
        counted = fields.number("counted", 0.0)
        if ready > self.accumulate:
            raise fields.error("ready", f"at most accumulate, {self.accumulate}", ready)
        if complete and ready < self.accumulate:
            raise fields.error("complete", f"False at {ready} batches of {self.accumulate}", complete)
        loss = _loss(fields) if ready else None
        parameters = parameters_of(self.optimizers)
        gradients = _gradients(fields, parameters) if ready else []

        def go_on() -> None:
            self._ready, self._complete, self._sum, self._counted = ready, complete, loss, counted
            for parameter, gradient in zip(parameters, gradients, strict=bool(ready)):
                parameter.grad = None if gradient is None else gradient.to(parameter.device, copy=True)

        return go_on

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with an accumulation that was begun."""
        self.read(state)()


def _loss(fields: Fields) -> Tensor:
    """The loss so far, which may be infinite where precision is mixed."""
    loss = fields.any("loss")
    if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.is_floating_point() or loss.is_meta:
        raise fields.error("loss", "a tensor of one number", loss)
    return loss


def _gradients(fields: Fields, parameters: Sequence[Tensor]) -> Sequence[Tensor | None]:
    """The gradients so far, one or none for each parameter."""
    given = fields.any("gradients")
    if not isinstance(given, list | tuple) or len(given) != len(parameters):
        raise fields.error("gradients", f"a list of {len(parameters)}, one for each parameter", given)
    for gradient, parameter in zip(given, parameters, strict=True):
        if gradient is not None and not _fits(gradient, parameter):
            what = f"for each parameter None, or a tensor like it, such as {shown(parameter)}"
            raise fields.error("gradients", what, gradient)
    return given


def _fits(gradient: Any, parameter: Tensor) -> bool:
    return (
        isinstance(gradient, Tensor)
        and gradient.shape == parameter.shape
        and gradient.dtype == parameter.dtype
        and gradient.is_meta == parameter.is_meta
    )


def _has_gradients(optimizer: Any) -> bool:
    return any(p.grad is not None for group in optimizer.param_groups for p in group["params"])
