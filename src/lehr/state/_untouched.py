"""A trial that leaves no trace."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Any, final

from torch import nn
from torch.optim import Optimizer

from lehr.state.optimizers import inside
from lehr.state.random_state import RandomNumbers
from lehr.state.snapshots import snapshot
from lehr.state.update_counter import unseen


def untouched(*parts: Any) -> AbstractContextManager[None]:
    """A context that puts everything back as it was, bit for bit, also if it is left by an error or by Ctrl-C.

    The random numbers of Python, NumPy and torch are put back in any case. A `lehr.Scheduler` that drives one of the
    optimizers neither counts nor looks at what happens inside, and its time stands still, so a loop inside must not
    wait for it to finish; other schedulers that are stepped inside must be named. Tensors are put back in place, so
    that whatever refers to them (an optimizer, a compiled graph, DDP) still does; do not enter between a forward and
    its backward pass, whose tensors would count as changed.

    Args:
        parts: what is to be put back: models (layers, weights, buffers, gradients, modes), optimizers (with the
            parameters they update), gradient scalers, schedulers, generators, `Batches`, and anything else with
            `state_dict` and `load_state_dict`.

    Raises:
        TypeError: if a part is of a kind that cannot be put back, before anything has run.

    >>> model = torch.nn.Linear(1, 1)
    >>> before = model.weight.item()
    >>> with untouched(model):
    ...     torch.nn.init.zeros_(model.weight).sum().item()
    0.0
    >>> model.weight.item() == before
    True
    """
    return _Untouched(parts)


def parts_of(restore: Any) -> list[Any]:
    """What a caller gave as `restore`: several parts, or a single one."""
    several = isinstance(restore, Iterable) and not isinstance(restore, nn.Module) and not hasattr(restore, "__next__")
    return list(restore) if several else [restore]


@final
class _Untouched(AbstractContextManager[None]):
    def __init__(self, parts: Iterable[Any]) -> None:
        self._parts = list({id(part): part for part in parts}.values())
        self._stack = ExitStack()

    def __enter__(self) -> None:
        with ExitStack() as stack:
            stack.callback(RandomNumbers.now().go_on)
            for part in self._parts:
                for optimizer in [part, *inside(part)] if isinstance(part, Optimizer) else []:
                    stack.enter_context(unseen(optimizer))
            known = {id(p) for part in self._parts if isinstance(part, nn.Module) for p in part.parameters()}
            for part in self._parts:  # every one is put back even if putting back another fails
                stack.callback(snapshot(part, known))
            self._stack = stack.pop_all()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, traceback)
