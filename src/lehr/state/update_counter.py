"""How the scheduler knows that the optimizer has made an update: it watches the optimizer, not its own callers."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch.optim import Optimizer


class UpdateCounter:
    """Counts the updates that an optimizer makes, through its own step hooks.

    An update that gradient scaling skips is not counted. Inside a compiled step hooks are traced, not run: there the
    only thing that neither breaks the graph nor makes it recompile is storing a constant, so a compiled step says
    that an update happened, not how many.

    Args:
        optimizer: whom to watch; it must not be kept alive from here, since it holds these hooks.
        before: asked before each update whether it is one that counts; a method, which is not kept alive either.
        pause: a context in which time does not count, for when updates do not either; a method likewise.
    """

    def __init__(
        self, optimizer: Optimizer, before: Callable[[], bool], pause: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self.suspended = False
        self._count = 0
        self._entered = False
        self._compiled = False
        self._before = weakref.WeakMethod(before)
        self._pause = weakref.WeakMethod(pause)
        self._handles = (
            optimizer.register_step_pre_hook(self._enter),
            optimizer.register_step_post_hook(self._leave),
        )

    @property
    def count(self) -> int:
        """How many updates there were since `take`."""
        return self._count + self._compiled

    def take(self) -> int:
        """How many updates there were since the last call."""
        count = self._count + self._compiled
        self._count = 0
        self._compiled = False
        return count

    def restore(self, count: int) -> None:
        """Go on from a checkpoint that was written between an update and the step after it."""
        self._count = count
        self._compiled = False

    @contextmanager
    def suspend(self) -> Iterator[None]:
        """A context in which neither updates nor time are the run's."""
        kept = self.suspended, self._count, self._compiled, self._entered
        pause = self._pause()
        self.suspended = True
        try:
            with pause() if pause is not None else nullcontext():
                yield
        finally:
            self.suspended, self._count, self._compiled, self._entered = kept

    def detach(self) -> None:
        """Stop watching."""
        for handle in self._handles:
            handle.remove()

    def _enter(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if not torch.compiler.is_compiling() and not self.suspended:
            before = self._before()
            self._entered = before is not None and before()

    def _leave(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if torch.compiler.is_compiling():
            self._compiled = True
            return
        # a step() that calls its parent's enters and leaves twice for one update; one that raised never left
        if self._entered:
            self._entered = False
            # fused optimizers are called even for an update to skip, and told so here by the GradScaler
            found_inf = getattr(optimizer, "found_inf", None)
            self._count += found_inf is None or not bool(found_inf)


@contextmanager
def unseen(optimizer: Optimizer) -> Iterator[None]:
    """A context in which an optimizer's updates are hidden from the schedulers that drive it."""
    hooks = getattr(optimizer, "_optimizer_step_post_hooks", None) or {}  # wrappers may have none
    counters = [getattr(hook, "__self__", None) for hook in hooks.values()]
    with ExitStack() as stack:
        for counter in counters:
            if isinstance(counter, UpdateCounter):
                stack.enter_context(counter.suspend())
        yield
