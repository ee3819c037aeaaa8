"""A trial that leaves no trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn
from torch.optim import Optimizer

from lehr.scheduler.updates import unseen
from lehr.state.keep import keep
from lehr.state.random_state import RandomState


@contextmanager
def untouched(*parts: Any) -> Iterator[None]:
    """A context that leaves everything as it found it, bit for bit, also if it is left by an error or by Ctrl-C.

    The random numbers of Python, NumPy and torch are kept in any case. A `lehr.Scheduler` that drives one of the
    optimizers neither counts nor looks at what happens inside; other schedulers that are stepped inside must be named.
    Tensors are put back in place, so that whatever refers to them (an optimizer, a compiled graph, DDP) still does.

    Args:
        parts: what is to be put back: models (weights, buffers, gradients, modes), optimizers (with the parameters they
            update), gradient scalers, schedulers, generators, `Batches`, and anything else with `state_dict` and
            `load_state_dict`.

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
    unique = list({id(part): part for part in parts}.values())
    with ExitStack() as stack:
        generators = RandomState()
        stack.callback(generators.load_state_dict, generators.state_dict())
        for optimizer in unique:
            if isinstance(optimizer, Optimizer):
                stack.enter_context(unseen(optimizer))
        known = {id(p) for part in unique if isinstance(part, nn.Module) for p in part.parameters()}
        for part in unique:  # every one is put back even if putting back another fails
            stack.callback(keep(part, known))
        yield
