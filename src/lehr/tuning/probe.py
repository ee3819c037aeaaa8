"""The loss after a trial step along the optimizer's own update, and everything as it was before."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import OptState
from torch.optim import Optimizer

from lehr.state import RandomState
from lehr.state.snapshots import keep

NOT_PROPORTIONAL: Final = ("Adafactor", "ASGD", "LBFGS", "Rprop")
"""torch's optimizers whose update is not proportional to the learning rate."""

CHUNKS: Final = 8
"""Into how many parts the parameters are cut, so that the optimizer's state is copied for one part at a time only."""


class Probe:
    """factor -> the loss after a trial step of `factor` times the optimizer's real update.

        phi(r) = L(theta + r Delta),    Delta what `optimizer.step()` would add now

    Call it between `backward()` and `optimizer.step()`. `probe(1.0)` is exactly the loss after the step, `probe(0.0)`
    the loss now. Afterwards parameters, buffers, gradients, optimizer state, modes, random numbers and what is named in
    `restore` are bit for bit as before, also after an error. Every factor sees the same batches and the same random
    numbers. While probing there is one copy more of the parameters; in between there is none.

    Losses on the batch that the gradient comes from fall 2 to 10 times further than on others, so let the closure look
    at fresh ones: draw them from `lehr.Batches` and name it in `restore`, and they are trained on afterwards.

    Args:
        model: whose parameters the optimizer updates.
        optimizer: any of torch's whose update is proportional to the learning rate, or one like them.
        closure: computes a loss, without `backward`; called without gradients.
        restore: what else the closure changes, such as the `Batches` that it draws from.
        batches: how many times to call the closure for each factor, at least 1.
        scaler: the gradient scaler, if there is one; whether gradients are still scaled, it knows itself.

    Raises:
        ValueError: if the optimizer's update is not proportional to its rate, or no parameter is the model's.

    >>> weight = torch.nn.Linear(1, 1, bias=False)
    >>> _ = torch.nn.init.constant_(weight.weight, 3.0)
    >>> optimizer = torch.optim.SGD(weight.parameters(), lr=0.25)
    >>> loss = lambda: (weight(torch.ones(1, 1)) ** 2).sum()
    >>> loss().backward()
    >>> probe = Probe(weight, optimizer, loss)
    >>> probe(0.0), probe(1.0), probe(2.0), weight.weight.item()
    (9.0, 2.25, 0.0, 3.0)
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        closure: Callable[[], Any],
        *,
        restore: Iterable[Any] = (),
        batches: int = 1,
        scaler: torch.amp.GradScaler | None = None,
    ) -> None:
        _check(model, optimizer, closure, batches)
        self.model = model
        self.optimizer = optimizer
        self.closure = closure
        self.restore = tuple(restore)
        self.batches = batches
        self.scaler = scaler
        self.forward_passes = 0

    def __call__(self, factor: float) -> float:
        """The mean loss over the batches after a trial step with that factor.

        Raises:
            ValueError: if the closure gives no number.
        """
        losses = self.losses(factor)
        return sum(losses) / len(losses)

    def losses(self, factor: float, batches: int | None = None) -> list[float]:
        """The loss of each batch after a trial step with that factor.

        Args:
            factor: how much of the step.
            batches: how many to look at; the probe's own number if not given.

        Raises:
            ValueError: if `factor` is not finite, or the closure gives no number.
        """
        if not math.isfinite(factor):
            raise ValueError(f"Probe: factor must be a finite number; got {factor!r}")
        with torch.no_grad(), self._looking(), self._stepped(factor):
            losses = [self._loss() for _ in range(self.batches if batches is None else batches)]
        return torch.stack(losses).tolist()

    def slope(self) -> float:
        """By how much the loss behind the gradient falls at first for a whole step; needs no forward pass.

        a = -<gradient, Delta>
        """
        parameters = self._trained()
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        before = [parameter.detach().clone() for parameter in parameters]
        scale = self._unscaling()
        with torch.no_grad(), self._stepped(1.0):
            along = [(g * (p - b)).sum() for g, p, b in zip(gradients, parameters, before, strict=True)]
            return -scale * float(torch.stack([part.double() for part in along]).sum())

    def _loss(self) -> Tensor:
        loss = self.closure()
        self.forward_passes += 1
        if not isinstance(loss, Tensor):
            loss = torch.tensor(float(loss), dtype=torch.float64)
        if loss.numel() != 1:
            raise ValueError(f"Probe: closure must return one loss; got a tensor of shape {tuple(loss.shape)}")
        return loss.detach().reshape(()).double()

    @contextmanager
    def _looking(self) -> Iterator[None]:
        """Buffers, modes, random numbers and what the closure changes are put back."""
        random = RandomState()
        state = random.state_dict()
        held = [(module._buffers, dict(module._buffers)) for module in self.model.modules()]
        buffers = [(buffer, buffer.clone()) for buffer in self.model.buffers()]
        modes = [(module, module.training) for module in self.model.modules()]
        others = [keep(part) for part in self.restore]
        try:
            yield
        finally:
            for put_back in others:
                put_back()
            for place, entries in held:
                place.update(entries)
            for buffer, copied in buffers:
                buffer.copy_(copied)
            for module, training in modes:
                module.training = training
            random.load_state_dict(state)

    @contextmanager
    def _stepped(self, factor: float) -> Iterator[None]:
        """The parameters moved by `factor` times the update."""
        if factor == 0.0:
            yield
            return
        parameters = self._trained()
        before = [parameter.detach().clone() for parameter in parameters]
        try:
            self._move(factor, {id(parameter) for parameter in parameters})
            yield
        finally:
            torch._foreach_copy_([parameter.detach() for parameter in parameters], before)

    def _trained(self) -> list[Tensor]:
        found = [p for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        if not found:
            raise ValueError("Probe: no parameter has a gradient; call it between backward() and optimizer.step()")
        return found

    def _unscaling(self) -> float:
        """What gradients must be multiplied by; after `scaler.unscale_` nothing."""
        if self.scaler is None or not self.scaler.is_enabled():
            return 1.0
        stage = self.scaler._per_optimizer_states[id(self.optimizer)]["stage"]
        return 1.0 / self.scaler.get_scale() if stage is OptState.READY else 1.0

    def _move(self, factor: float, moved: set[int]) -> None:
        """Step part after part with copies of gradients and state, at `factor` times the rate."""
        optimizer = self.optimizer
        with _bare(optimizer):
            groups = optimizer.param_groups
            most = max(1, sum(p.numel() for group in groups for p in group["params"] if id(p) in moved) // CHUNKS)
            for group in groups:
                rate = group["lr"] if factor == 1.0 else group["lr"] * factor
                for chunk in _chunks([p for p in group["params"] if id(p) in moved], most):
                    self._step({**group, "lr": rate}, chunk)

    def _step(self, group: dict[str, Any], chunk: list[Tensor]) -> None:
        """One real step of these parameters; gradients and state are those of before."""
        optimizer = self.optimizer
        gradients = [p.grad for p in chunk]
        states = [optimizer.state.get(p) for p in chunk]
        scale = self._unscaling()
        try:
            for p, gradient, state in zip(chunk, gradients, states, strict=True):
                assert gradient is not None
                p.grad = gradient.clone() if scale == 1.0 else gradient * scale  # some steps write into it
                if state is not None:
                    optimizer.state[p] = {
                        k: v.clone() if isinstance(v, Tensor) else copy.deepcopy(v) for k, v in state.items()
                    }
            optimizer.param_groups = [{**group, "params": chunk}]
            type(optimizer).step(optimizer)  # not one that was compiled, or wrapped by a scheduler
        finally:
            for p, gradient, state in zip(chunk, gradients, states, strict=True):
                p.grad = gradient
                if state is None:
                    optimizer.state.pop(p, None)
                else:
                    optimizer.state[p] = state


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else copy.deepcopy(value)


@contextmanager
def _bare(optimizer: Optimizer) -> Iterator[None]:
    """The optimizer without its hooks, and its groups put back; schedulers and others see no step."""
    groups, marks = optimizer.param_groups, dict(vars(optimizer))
    hooks = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")
    kept = {name: dict(getattr(optimizer, name, {})) for name in hooks}
    try:
        for name in hooks:
            getattr(optimizer, name, {}).clear()
        yield
    finally:
        for name, entries in kept.items():
            getattr(optimizer, name, {}).update(entries)
        vars(optimizer).update(marks)
        optimizer.param_groups = groups


def _chunks(parameters: list[Tensor], most: int) -> Iterator[list[Tensor]]:
    """Neighbours together, up to that many numbers."""
    chunk: list[Tensor] = []
    size = 0
    for parameter in parameters:
        if chunk and size + parameter.numel() > most:
            yield chunk
            chunk, size = [], 0
        chunk.append(parameter)
        size += parameter.numel()
    if chunk:
        yield chunk


def _check(model: Any, optimizer: Any, closure: Any, batches: Any) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"Probe: model must be a torch.nn.Module; got {type(model).__name__}")
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"Probe: optimizer must be a torch.optim.Optimizer; got {type(optimizer).__name__}")
    if any(kind.__name__ in NOT_PROPORTIONAL for kind in type(optimizer).__mro__):
        raise ValueError(
            f"Probe: optimizer is a {type(optimizer).__name__}, whose update is not proportional to its learning rate; "
            "use SGD, Adam, AdamW or one like them"
        )
    if not callable(closure):
        raise TypeError(f"Probe: closure must be a function that computes a loss; got {closure!r}")
    if isinstance(batches, bool) or not isinstance(batches, int) or batches < 1:
        raise ValueError(f"Probe: batches must be a whole number, at least 1; got {batches!r}")
    known = {id(parameter) for parameter in model.parameters()}
    if not any(id(p) in known for group in optimizer.param_groups for p in group["params"]):
        raise ValueError("Probe: optimizer updates no parameter of the model")
