"""Data-parallel training of a model whose layers freeze."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from lehr.freezing.watch import look_now

ADVICE = (
    "this model's layers freeze, and DistributedDataParallel would wait for their gradients for ever: "
    "wrap it as lehr.FreezableDataParallel(model), or pass find_unused_parameters=True"
)


class FreezableDataParallel(nn.Module):
    """`DistributedDataParallel` for a model whose layers freeze: wrapped anew whenever other parameters train.

    Between two freezes it is torch's own, with its speed; afterwards the frozen layers' gradients are neither waited
    for nor sent. All ranks freeze at the same update, since they agree on progress. Weights are stored under the names
    that torch's wrapper gives them.

    Args:
        module: the model.
        arguments: of `DistributedDataParallel`, such as `device_ids=[rank]`.

    Raises:
        ValueError: with `static_graph=True`, since the graph changes when a layer freezes.

    >>> store = torch.distributed.HashStore()
    >>> torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))
    >>> parallel = FreezableDataParallel(model)
    >>> _ = model[0].requires_grad_(False)
    >>> parallel(torch.ones(1, 2)).sum().backward()
    >>> del parallel  # before its group: what frees a group that has ended may wait for it for ever
    >>> torch.distributed.destroy_process_group()
    """

    rewraps = True

    def __init__(self, module: nn.Module, **arguments: Any) -> None:
        super().__init__()
        if arguments.get("static_graph"):
            raise ValueError(
                "FreezableDataParallel: static_graph cannot hold for a model whose layers freeze; leave it out"
            )
        self.module = module
        self._arguments = arguments
        self._wrapper: list[DistributedDataParallel] = []  # in a list, so that it is not a part of this module
        self._wrapped: tuple[bool, ...] = ()
        self._wrap()

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """The module's outputs; the gradients of its parameters will be averaged over the ranks."""
        look_now(self.module)  # what somebody let train again is frozen before anything waits for its gradient
        if not any(self._trained()):
            return self.module(*inputs, **named)
        return self._current()(*inputs, **named)

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """A context in which gradients add up on each rank alone, for accumulation."""
        with self._current().no_sync():
            yield

    def register_comm_hook(self, state: object, hook: Any) -> None:
        """Have `hook` send the gradients, now and after every freeze."""
        self._hook = (state, hook)
        self._current().register_comm_hook(state, hook)

    _hook: tuple[object, Any] | None = None

    def _current(self) -> DistributedDataParallel:
        trained = self._trained()
        if trained != self._wrapped and any(trained):  # where nothing trains there is nothing to send
            self._wrap()
        return self._wrapper[0]

    def _trained(self) -> tuple[bool, ...]:
        return tuple(parameter.requires_grad for parameter in self.module.parameters())

    def _wrap(self) -> None:
        if self._wrapper:  # the old one must let go of the parameters before the new one takes hold of them
            self._wrapper.clear()
            gc.collect()
        self._wrapped = self._trained()
        wrapper = DistributedDataParallel(self.module, **self._arguments)
        wrapper.rewraps = True  # type: ignore[assignment]
        if self._hook is not None:
            wrapper.register_comm_hook(*self._hook)
        self._wrapper.append(wrapper)


def check_for_plain_ddp() -> None:
    """See whether the data-parallel wrapper in which a model runs just now would come to a halt once layers freeze.

    Raises:
        ValueError: if it would.
    """
    if not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
        return
    wrapper = DistributedDataParallel._active_ddp_module
    if wrapper is None or getattr(wrapper, "rewraps", False):
        return
    if wrapper.static_graph:
        raise ValueError(f"FreezeOut: {ADVICE} without static_graph")
    if not wrapper.find_unused_parameters:
        raise ValueError(f"FreezeOut: {ADVICE}")
