"""The meta-loss of a learned schedule: that of a batch held out, after some updates at its rates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from lehr.mlrsnet.inner import Inner, Tensors
from lehr.mlrsnet.network import MLRSNetwork, State

Order = Literal["first", "second"]
Pair = tuple[Tensor, Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Student:
    """What is trained under a learned schedule, at one moment: all of it plain tensors."""

    params: Tensors
    buffers: Tensors
    optimizer: Tensors
    lstm: State
    gamma: float
    skeleton: nn.Module = field(compare=False)
    loss: Loss = field(compare=False)
    inner: Inner = field(compare=False)
    loss_scale: float = 1.0
    clip_norm: float | None = None

    def loss_on(self, batch: Pair, order: Order = "first") -> Tensor:
        """The loss of a batch; running statistics of norms move on.

        With order "second" attention is computed by plain products, since fused ones have no second derivative.
        """
        inputs, targets = batch
        with sdpa_kernel(SDPBackend.MATH) if order == "second" else nullcontext():
            return self.loss(functional_call(self.skeleton, (self.params, self.buffers), (inputs,)), targets)

    def settled(self) -> Student:
        """The same without history, ready for the next update."""
        return replace(
            self,
            params={name: value.detach().requires_grad_() for name, value in self.params.items()},
            optimizer={name: value.detach() for name, value in self.optimizer.items()},
            lstm=(self.lstm[0].detach(), self.lstm[1].detach()),
        )

    def apart(self) -> Student:
        """The same with buffers of its own, to look ahead with."""
        return replace(self.settled(), buffers={name: value.clone() for name, value in self.buffers.items()})


def update(student: Student, network: MLRSNetwork, batch: Pair, order: Order) -> tuple[Student, Tensor, Tensor]:
    """One update at the network's rate; also the loss before it, and the share of gamma that was used.

        w' = w - gamma network(loss) direction(w)

    With order "first" loss and direction are constants to whom differentiates, as in the authors' code.
    """
    loss = student.loss_on(batch, order)
    grads = dict(
        zip(
            student.params,
            torch.autograd.grad(
                loss, list(student.params.values()), create_graph=order == "second", materialize_grads=True
            ),
            strict=True,
        )
    )
    if order == "first":
        loss = loss.detach()
    if student.clip_norm is not None:
        norm = torch.stack([grad.norm() for grad in grads.values()]).norm()
        grads = {name: grad * (student.clip_norm / (norm + 1e-6)).clamp(max=1.0) for name, grad in grads.items()}
    share, lstm = network(loss.to(student.lstm[0].dtype) / student.loss_scale, student.lstm)
    direction, optimizer = student.inner.direction(student.params, grads, student.optimizer)
    params = {
        name: value - (student.gamma * share).to(value.dtype) * direction[name]
        for name, value in student.params.items()
    }
    return replace(student, params=params, optimizer=optimizer, lstm=lstm), loss.detach(), share.detach()


def meta_loss(
    student: Student, network: MLRSNetwork, batches: Sequence[Pair], held_out: Pair, order: Order = "first"
) -> Tensor:
    """The loss on a batch held out, after one virtual update for each of `batches`; the student stays where it is.

    Args:
        student: what is trained.
        network: the schedule, to whose weights the result can be differentiated.
        batches: of training data.
        held_out: a batch of other data.
        order: "second" differentiates through the gradients and losses as well, which is exact; with a single update
            both are the same.
    """
    ahead = student.apart()
    for batch in batches:
        ahead, _, _ = update(ahead, network, batch, order)
    return ahead.loss_on(held_out, order)
