"""The loss after a trial step along the optimizers' own update, and everything as it was before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final, Protocol

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import OptState
from torch.optim import Optimizer

from lehr._arguments import number_argument, whole_argument
from lehr._numbers import LARGEST
from lehr.state.nested import Restore, copy_state
from lehr.state.optimizers import inside
from lehr.state.random_state import RandomNumbers
from lehr.state.sharding import copy_onto, is_joined, reshard, whole_number
from lehr.state.snapshots import snapshot

NOT_PROPORTIONAL: Final = ("Adafactor", "ASGD", "LBFGS", "Rprop")
"""torch's optimizers whose update is not proportional to the learning rate."""

CHUNKS: Final = 8
"""Into how many parts the parameters are cut, so that the optimizer's state is copied for one part at a time only."""


class Steps(Protocol):
    """What a probe must know of a training."""

    as_given: Sequence[Optimizer]
    modules: Sequence[nn.Module]
    scaler: torch.amp.GradScaler | None

    def loss_ahead(self) -> Tensor:
        """The loss of the next batch, without gradients."""

    def mark_data(self) -> Restore:
        """Note all but weights and optimizer state that `loss_ahead` changes; what is returned puts it back."""

    @property
    def cannot_look(self) -> str | None:
        """Why its loss cannot be had without an update; None if it can."""


class Probe:
    """factor -> the loss after a trial step of `factor` times the optimizers' real update.

        phi(r) = L(theta + r Delta),    Delta what the optimizers would add now

    Call it when there are gradients: between `training.backward()` and `training.update()`. `probe(1.0)` is exactly the
    loss after the step, `probe(0.0)` the loss now. Afterwards parameters, buffers, gradients, optimizer state, modes,
    random numbers and the data are bit for bit as before, also after an error. Every factor sees the same batches and
    the same random numbers. While probing there is one copy more of the parameters; in between there is none.

    Losses on the batch that the gradient comes from fall 2 to 10 times further than on others, so a probe looks at the
    batches that come next, which are trained on afterwards.

    Args:
        training: whose step to look along.
        batches: how many batches to look at for each factor, at least 1.

    Raises:
        ValueError: if an optimizer's update is not proportional to its rate, the training gives no loss without an
            update, or its model is in a `FullyShardedDataParallel`.

    >>> weight = torch.nn.Linear(1, 1, bias=False)
    >>> _ = torch.nn.init.constant_(weight.weight, 3.0)
    >>> optimizer = torch.optim.SGD(weight.parameters(), lr=0.25)
    >>> training = Training(weight, optimizer, [torch.ones(1, 1)], lambda model, batch: (model(batch) ** 2).sum())
    >>> _ = training.backward()
    >>> probe = Probe(training)
    >>> probe(0.0), probe(1.0), probe(2.0), weight.weight.item()
    (9.0, 2.25, 0.0, 3.0)
    """

    def __init__(self, training: Steps, *, batches: int = 1) -> None:
        _check(training)
        self.training = training
        self.batches = whole_argument("Probe: batches", batches)
        self.forward_passes = 0

    def __call__(self, factor: float) -> float:
        """The mean loss over the batches after a trial step with that factor.

        Raises:
            ValueError: if the loss is no number.
        """
        losses = self.losses(factor)
        return sum(losses) / len(losses)

    def losses(self, factor: float, batches: int | None = None) -> list[float]:
        """The loss of each batch after a trial step with that factor.

        Args:
            factor: how much of the step.
            batches: how many to look at; the probe's own number if not given.

        Raises:
            ValueError: if `factor` is not finite, `batches` is no whole number above 0, or the loss is no number.
        """
        factor = number_argument("Probe.losses: factor", factor, -LARGEST, LARGEST)
        count = self.batches if batches is None else whole_argument("Probe.losses: batches", batches)
        with torch.no_grad(), self._undone(), self._stepped(factor):
            losses = [self._loss() for _ in range(count)]
        return torch.stack(losses).tolist()

    def slope(self) -> float:
        """By how much the loss behind the gradient falls at first for a whole step; needs no forward pass.

        a = -<gradient, Delta>
        """
        pairs = [(one, parameter) for one in self.training.as_given for parameter in _moving(one)]
        gradients = [self._unscaling(one) * _gradient(parameter) for one, parameter in pairs]
        before = [parameter.detach().clone() for _, parameter in pairs]
        with torch.no_grad(), self._stepped(1.0):
            along = [(g * (p - b)).sum() for g, (_, p), b in zip(gradients, pairs, before, strict=True)]
            return -whole_number(torch.stack([part.double() for part in along]).sum())

    def _loss(self) -> Tensor:
        loss = self.training.loss_ahead()
        self.forward_passes += 1
        return loss.detach().reshape(()).double()

    @contextmanager
    def _undone(self) -> Iterator[None]:
        """Buffers, modes, random numbers and the data are put back, and whole parameters given up again."""
        random = RandomNumbers.now()
        with ExitStack() as stack:
            for module in self.training.modules:
                stack.callback(reshard, module)
            stack.callback(random.go_on)
            stack.callback(self.training.mark_data())
            yield

    @contextmanager
    def _stepped(self, factor: float) -> Iterator[None]:
        """The parameters moved by `factor` times the update."""
        if factor == 0.0:
            yield
            return
        parameters = [parameter for one in self.training.as_given for parameter in _moving(one)]
        if not parameters:
            raise ValueError("Probe: no parameter has a gradient; call it between backward() and update()")
        before = [parameter.detach().clone() for parameter in parameters]
        try:
            for optimizer in self.training.as_given:
                self._move(optimizer, factor)
            yield
        finally:
            copy_onto(parameters, before)

    def _unscaling(self, optimizer: Optimizer) -> float:
        """What gradients must be multiplied by; after `scaler.unscale_` nothing."""
        scaler = self.training.scaler
        if scaler is None or not scaler.is_enabled():
            return 1.0
        stage = scaler._per_optimizer_states[id(optimizer)]["stage"]
        return 1.0 / scaler.get_scale() if stage is OptState.READY else 1.0

    def _move(self, optimizer: Optimizer, factor: float) -> None:
        """One real step at `factor` times the rate, after which only the parameters have changed."""
        scale = self._unscaling(optimizer)
        held = inside(optimizer)
        with _without_hooks([optimizer, *held]):
            if held:
                _step_whole(optimizer, held, factor, scale)
            else:
                _step_in_chunks(optimizer, factor, scale)


def _moving(optimizer: Optimizer) -> list[Tensor]:
    """The parameters that the step would move, each once."""
    every = {id(p): p for group in optimizer.param_groups for p in group["params"] if p.grad is not None}
    return list(every.values())


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def _step_whole(optimizer: Optimizer, held: Sequence[Optimizer], factor: float, scale: float) -> None:
    """For an optimizer that steps others: all of its state and theirs is noted and put back."""
    parameters = _moving(optimizer)
    gradients = [_gradient(parameter) for parameter in parameters]
    put_back = snapshot(optimizer, {id(p) for one in (optimizer, *held) for g in one.param_groups for p in g["params"]})
    try:
        groups = {id(group): group for one in (optimizer, *held) for group in one.param_groups}
        for group in groups.values():  # the same group may be the whole's and a part's
            group["lr"] = group["lr"] * factor
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.clone() if scale == 1.0 else gradient * scale  # some steps write into it
        type(optimizer).step(optimizer)  # not one that was compiled, or wrapped
    finally:
        put_back()
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient


def _step_in_chunks(optimizer: Optimizer, factor: float, scale: float) -> None:
    """Part after part, with copies of gradients and state of that part only."""
    moving = {id(parameter) for parameter in _moving(optimizer)}
    groups, marks = optimizer.param_groups, dict(vars(optimizer))
    most = max(1, sum(p.numel() for group in groups for p in group["params"] if id(p) in moving) // CHUNKS)
    try:
        for group in groups:
            rate = group["lr"] if factor == 1.0 else group["lr"] * factor
            for chunk in _chunks([p for p in group["params"] if id(p) in moving], most):
                _step_chunk(optimizer, {**group, "lr": rate}, chunk, scale)
    finally:
        vars(optimizer).update(marks)
        optimizer.param_groups = groups


def _step_chunk(optimizer: Optimizer, group: dict[str, Any], chunk: list[Tensor], scale: float) -> None:
    """One real step of these parameters; gradients and state are those of before."""
    gradients = [_gradient(parameter) for parameter in chunk]
    states = [optimizer.state.get(parameter) for parameter in chunk]
    try:
        for parameter, gradient, state in zip(chunk, gradients, states, strict=True):
            parameter.grad = gradient.clone() if scale == 1.0 else gradient * scale  # some steps write into it
            if state is not None:
                optimizer.state[parameter] = copy_state(dict(state))
        optimizer.param_groups = [{**group, "params": chunk}]
        type(optimizer).step(optimizer)  # not one that was compiled, or wrapped
    finally:
        for parameter, gradient, state in zip(chunk, gradients, states, strict=True):
            parameter.grad = gradient
            if state is None:
                optimizer.state.pop(parameter, None)
            else:
                optimizer.state[parameter] = state


@contextmanager
def _without_hooks(optimizers: Sequence[Optimizer]) -> Iterator[None]:
    """The optimizers without their hooks; schedulers and others see no step."""
    names = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")
    hooks = [(owner, dict(owner)) for one in optimizers for name in names if (owner := vars(one).get(name)) is not None]
    try:
        for owner, _ in hooks:
            owner.clear()
        yield
    finally:
        for owner, entries in hooks:
            owner.update(entries)


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


def _check(training: Any) -> None:
    if not hasattr(training, "loss_ahead"):
        raise TypeError(f"Probe: training must be a lehr.Training; got {type(training).__name__}")
    if (reason := training.cannot_look) is not None:
        raise ValueError(f"Probe: {reason}")
    if any(map(is_joined, training.modules)):
        raise ValueError(
            "Probe: the model is in a FullyShardedDataParallel, whose weights a trial step does not reach; shard it "
            "with torch.distributed.fsdp.fully_shard instead, or give it a schedule, or a policy that sees losses alone"
        )
    for optimizer in training.as_given:
        for one in (optimizer, *inside(optimizer)):
            if any(kind.__name__ in NOT_PROPORTIONAL for kind in type(one).__mro__):
                raise ValueError(
                    f"Probe: the training's optimizer is a {type(one).__name__}, whose update is not proportional to "
                    "its learning rate; use SGD, Adam, AdamW or one like them"
                )
