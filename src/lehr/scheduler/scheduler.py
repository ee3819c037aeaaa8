"""The scheduler: a policy drives an optimizer under a budget."""

from __future__ import annotations

import math
import time
import warnings
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy
from typing import Any, Literal

from torch import Tensor
from torch.distributed import ProcessGroup
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lehr.budget import Budget, Clock
from lehr.policy import Follow, Moment, Policy, as_policy
from lehr.scheduler import finishing, ranks
from lehr.scheduler.budget_warnings import FAR_FROM_THE_END, IDLE, BudgetWarning, overspent, report_early_end
from lehr.scheduler.checkpoint import Fingerprint, SchedulerState, load_policy
from lehr.scheduler.history import History
from lehr.scheduler.hyperparameters import Hyperparameters
from lehr.scheduler.inputs import amount_of, as_factors, check_arguments
from lehr.scheduler.param_groups import Factors, numbers
from lehr.scheduler.preview import Preview, look_ahead
from lehr.schedules import Linear, Schedule
from lehr.state.update_counter import UpdateCounter


class Scheduler(LRScheduler):
    """Drives an optimizer's learning rate (and other hyperparameters) along a schedule or policy, under a budget.

        lr of update k = base lr * factor(progress), progress = spent / total

    A torch `LRScheduler`: call `step()` after each update. It counts the updates the optimizer really made, so updates
    that AMP skipped, gradient accumulation and frameworks that step several times do not distort the curve.

    Args:
        optimizer: a torch optimizer; its groups keep their base rates, and so their ratios.
        policy: a schedule, a list of schedules (one for each parameter group) or a policy.
        budget: what there is to spend.
        also: other hyperparameters to schedule, as key -> schedule or list of schedules; `momentum` stands for
            `betas[0]` where a group has betas. Factors again: the base is the group's own value.
        count: "updates" watches the optimizer; "calls" takes each `step()` as one update, for loops whose updates
            cannot be seen, such as replayed CUDA graphs.
        now: the clock of a budget in seconds.
        agree_every: with seconds and several processes, after how many updates to ask rank 0 for the time, at least 1.
            In between it stands still, so the run may end that many updates late.
        data_parallel: with several processes, those that see different data, if not all do: observed losses are
            averaged and observed samples and tokens added up over them.

    Raises:
        TypeError: if an argument is of the wrong kind.
        ValueError: if the schedules do not match the parameter groups.

    >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    >>> scheduler = Scheduler(optimizer, Linear(), Budget(steps=4))
    >>> for _ in range(4):
    ...     print(scheduler.get_last_lr())
    ...     optimizer.step()
    ...     scheduler.step()
    [0.1]
    [0.07500000000000001]
    [0.05]
    [0.025]
    >>> scheduler.finished
    True
    """

    def __init__(
        self,
        optimizer: Optimizer,
        policy: Policy | Schedule | Sequence[Schedule],
        budget: Budget,
        *,
        also: Mapping[str, Schedule | Sequence[Schedule]] | None = None,
        count: Literal["updates", "calls"] = "updates",
        now: Callable[[], float] = time.monotonic,
        agree_every: int = 1,
        data_parallel: ProcessGroup | None = None,
    ) -> None:
        check_arguments(optimizer, budget, count, agree_every)
        self.optimizer = optimizer
        self.policy = as_policy(policy)
        self.clock = Clock(budget, now, ranks.of_first, agree_every)
        self.history = History()
        self._written = Hyperparameters(optimizer, also or {})
        self.policy.bind(optimizer)
        self._finish_along(None)
        self._built_with = budget
        self._data_parallel = data_parallel
        self._observed: float | None = None
        self._said: set[str] = set()
        self._updates_beyond = 0
        self._factors: Factors = 1.0
        self._count = count
        self._written.check_widths(self._follow)
        self._apply_here()
        self._watch()

    # -- where the run is -------------------------------------------------------------------------------------------

    @property
    def budget(self) -> Budget:
        """What there is to spend."""
        return self.clock.budget

    @property
    def progress(self) -> float:
        """The share of the budget that is spent; above 1 once it is overspent."""
        return self.clock.progress

    @property
    def spent(self) -> float:
        """How much is spent, in updates under a budget of steps or epochs and else in the budget's unit."""
        return self.clock.spent

    @property
    def finished(self) -> bool:
        """Whether the budget is spent; the same on all ranks."""
        return self.clock.finished

    def remaining(self) -> float:
        """How much is left, in updates under a budget of steps or epochs and else in the budget's unit."""
        return self.clock.remaining

    def paused(self) -> AbstractContextManager[None]:
        """A context in which seconds are not spent, for evaluation and checkpointing."""
        return self.clock.paused()

    @property
    def last_epoch(self) -> int:
        """How many updates there were."""
        return self.clock.updates

    @last_epoch.setter
    def last_epoch(self, value: int) -> None:
        raise AttributeError(
            "lehr.Scheduler counts updates itself: call step() after each instead of setting last_epoch"
        )

    # -- the two events ---------------------------------------------------------------------------------------------

    def step(self, epoch: int | None = None) -> None:
        """Time has passed: spend what the updates since the last call cost, and set the rates of the next one.

        Without an update behind it, as when AMP skipped one, nothing is spent; the first time, a warning says so. A
        compiled optimizer step counts as one, so call this after each.
        """
        if epoch is not None:
            raise TypeError("Scheduler.step takes no epoch: it counts the optimizer's updates itself")
        if self._counter.suspended:
            return
        clock = self.clock
        updates = self._counter.take() if self._count == "updates" else 1
        if not updates:  # what was observed stays, for the update that these batches lead to
            self._say("idle", IDLE)
            return
        if self._observed is None and not clock.asks:
            clock.tick(updates)
        else:
            clock.tick(updates, self._amount())
        progress = clock.progress
        if progress > 1.0 + FAR_FROM_THE_END and not clock.budget.endless:
            self._beyond()
        if self._follow is None:
            self._apply(Moment(progress))
        else:
            self._write(progress, self._follow.at(progress))

    def observe(
        self,
        loss: Any = None,
        loss_at: Callable[[float], float] | None = None,
        samples: float | None = None,
        tokens: float | None = None,
    ) -> None:
        """Signals have arrived: call before the update that they belong to.

        Args:
            loss: this rank's training loss, a number or a tensor of one; policies see the mean over ranks.
            loss_at: factor -> loss after a trial step with that factor, such as a `Probe`; averaged over ranks too.
            samples: examples this rank has used since the last update, at least 0; adds up over calls and ranks. Used
                if the budget counts samples without saying how many an update uses.
            tokens: tokens likewise.

        Raises:
            ValueError: if the policy needs a signal that is missing, or an amount is no number.
        """
        if self._counter.suspended:
            return
        for unit, amount in (("samples", samples), ("tokens", tokens)):
            if amount is not None and unit == self.budget.unit:
                self._observed = (self._observed or 0.0) + amount_of(unit, amount)
        if self._follow is not None:
            return
        given = {"loss": loss, "loss_at": loss_at}
        if loss is None and loss_at is None and (samples is not None or tokens is not None):
            return
        for name in self.policy.needs:
            if given[name] is None:
                raise ValueError(f"{self.policy!r} needs {name}: call scheduler.observe({name}=...) before the update")
        if loss is not None:
            loss = ranks.mean(loss.detach() if isinstance(loss, Tensor) else loss, self._data_parallel)
        self._apply(Moment(self.clock.progress, loss, loss_at and ranks.mean_along(loss_at, self._data_parallel)))

    # -- before and beyond the run ----------------------------------------------------------------------------------

    def preview(self) -> Preview:
        """The learning rates from here to the end of the budget, without training.

        Raises:
            TypeError: if the policy looks at training and cannot be known beforehand.
        """
        if self._follow is None:
            raise TypeError(f"{self.policy!r} looks at training, so there is nothing to preview; see scheduler.history")
        return look_ahead(self.clock, self._follow, self._written.lr.values)

    def rebudget(self, budget: Budget, *, how: Literal["continue", "jump"]) -> None:
        """Change the budget in the middle of the run.

        Args:
            budget: the new one, in the same unit; what is spent stays spent.
            how: "continue" goes on from today's factor and stretches the rest of the curve over what is left now;
                "jump" puts the factor at once where it would be had the new budget been known from the start, which
                also undoes `finish_by`.

        Raises:
            ValueError: if the new budget counts something else, or nothing is left to continue.
        """
        self.clock.rebudget(budget, how)
        if how == "jump":
            self._finish_along(None)
        self._apply_here()

    def finish_by(self, left: Budget, shape: Schedule | None = None) -> None:
        """Anneal from today's rates to zero over what is left from here, whatever the curve was to be.

        For the machine that is taken away in ten minutes: `scheduler.finish_by(Budget(seconds=600))`. Checkpoints
        remember it. Other hyperparameters go through the rest of their curves. With several processes, call it on all.

        Args:
            left: what there still is to spend, from now on, in any unit.
            shape: of the way down; `Linear()` if not given.

        Raises:
            ValueError: if the budget is spent already, or `shape` is not made of lehr's own schedules or does not
                start at 1.
        """
        factors, shape = numbers(self._factors), Linear() if shape is None else shape
        if not any([factors] if isinstance(factors, float) else factors):
            self._say("nothing", "finish_by: today's rate is 0, as before a warm-up, and so it will stay")
        finishing.tail(factors, 0.0, shape)  # before anything has changed
        counted = self.clock.budget.counted
        self.clock.finish(left)
        if self.clock.budget.counted != counted:
            self._observed = None
        self._finish_along(finishing.tail(factors, self.clock.progress, shape))
        self._apply_here()

    # -- what torch's schedulers offer ------------------------------------------------------------------------------

    @property
    def base_lrs(self) -> list[float]:  # type: ignore[override]
        """Each group's learning rate at factor 1."""
        return self._written.lr.bases

    def get_last_lr(self) -> list[float]:  # type: ignore[override]
        """The learning rates that are set now, one for each group, as numbers."""
        if self._written.lr.stale:
            self._meet_new_groups()
        return self._written.lr.values(self._factors)

    def get_lr(self) -> list[float]:  # type: ignore[override]
        """The same as `get_last_lr`."""
        return self.get_last_lr()

    @property
    def _last_lr(self) -> list[float | Tensor]:  # frameworks read it
        return list(self.get_last_lr())

    @_last_lr.setter
    def _last_lr(self, value: list[float | Tensor]) -> None:
        raise AttributeError("lehr.Scheduler cannot be put inside torch's schedulers: compose schedules, as with .then")

    @property
    def _step_count(self) -> int:  # torch's convention: the constructor counts as a step
        return self.clock.updates + 1

    @_step_count.setter
    def _step_count(self, value: int) -> None:
        pass  # accelerate counts its own calls here while it accumulates gradients

    def state_dict(self) -> dict[str, Any]:
        """What is spent, what the policy remembers, and what this run is; loads with `weights_only=True`."""
        factors = numbers(self._factors)
        return SchedulerState(
            clock=self.clock.state,
            policy=self.policy.state_dict(),
            factors=factors if isinstance(factors, float) else tuple(map(float, factors)),
            finishing=self._finishing,
            updates=self._counter.count if self._count == "updates" else 0,
            observed=self._observed,
            run=self._fingerprint(),
        ).as_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any], accept: str | Collection[str] = ()) -> None:
        """Go on from a checkpoint.

        Args:
            state_dict: what `state_dict()` returned; left as it is.
            accept: which of "curve", "budget", "groups" and "base_lrs" may differ from the checkpoint's; what this
                scheduler was built with then holds.

        Raises:
            ValueError: if the checkpoint comes from another run than `accept` allows, saying how they differ.
        """
        if self._written.lr.stale:
            self._meet_new_groups()
        saved = SchedulerState.read(state_dict)
        different = saved.check(self._fingerprint(), accept)
        with self._all_or_nothing():
            self.clock.load(saved.clock)
            if "budget" in different:
                self.clock.rebudget(self._built_with, "jump")
            self._finish_along(None if "budget" in different else saved.finishing)
            if "curve" not in different:
                load_policy(self.policy, saved.policy, self.clock.progress, self.base_lrs)
            self._counter.restore(saved.updates)
            self._observed = saved.observed
            self._loaded_at[0] = self.clock.updates
            if different - {"base_lrs"} or self._follow is not None:
                self._apply_here()
            else:  # the very factors, which for a policy may come from a loss already observed
                self._write(self.clock.progress, saved.factors)

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """A context that, if it fails, leaves the scheduler as it was before."""
        policy, factors, tail = deepcopy(self.policy.state_dict()), self._factors, self._finishing
        count, observed, loaded_at = self._counter.count, self._observed, self._loaded_at[0]
        put_clock_back = self.clock.keep()
        try:
            yield
        except BaseException:
            put_clock_back()
            self._finish_along(tail)
            self.policy.load_state_dict(policy)
            self._counter.restore(count)
            self._observed, self._loaded_at[0] = observed, loaded_at
            self._write(self.clock.progress, factors)
            raise

    def _fingerprint(self) -> Fingerprint:
        return Fingerprint.of(f"{self.policy!r}{self._written!r}", self._built_with, self.base_lrs)

    def __getstate__(self) -> dict[str, Any]:
        """For copying and pickling, with the optimizer: hooks do not travel and are made anew."""
        return {**self.__dict__, "_counter": self._counter.count}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        count = state["_counter"]
        self._watch()
        self._counter.restore(count)
        self.policy.bind(self.optimizer)
        self._tell_policy(self.progress)

    # -- inside -----------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        self._counter = UpdateCounter(self.optimizer, self._before_update, self.paused)
        self._loaded_at = [self.clock.updates]
        weakref.finalize(self, self._counter.detach).atexit = False
        weakref.finalize(self, report_early_end, self.clock, self._loaded_at, self._follow)

    def _before_update(self) -> bool:
        """Called by the optimizer: give groups that have just come their rates; whether the update counts."""
        if self._written.lr.stale:
            self._meet_new_groups()
        if self._written.lr.silenced:
            return False
        self.clock.start()
        return True

    def _amount(self) -> float | None:
        """Samples or tokens of all ranks; all of them learn if one has not said."""
        amount = ranks.total(math.nan if self._observed is None else self._observed, self._data_parallel)
        self._observed = None
        return None if math.isnan(amount) else amount

    def _finish_along(self, tail: Follow | None) -> None:
        """Follow the tail instead of the policy; None goes back to the policy."""
        self._finishing = tail
        self._follow = tail or self.policy.follow

    def _apply_here(self) -> None:
        """Set the rates that belong to where the run is, without news of how training goes."""
        if self._finishing is None:
            self._apply(Moment(self.clock.progress))
        else:
            self._write(self.clock.progress, self._finishing.at(self.clock.progress))

    def _apply(self, moment: Moment) -> None:
        given = self.policy.factors(moment)
        self._write(moment.progress, as_factors(given, self.policy, tensors=self._written.lr.fills))

    def _write(self, progress: float, factors: Factors) -> None:
        self._factors = factors
        self._written.write(progress, factors)
        self.history.add(self.clock.updates, progress, factors)
        self._tell_policy(progress)

    def _tell_policy(self, progress: float) -> None:
        self.policy.arrive(progress, self._factors if isinstance(self._factors, Sequence) else (self._factors,))

    def _meet_new_groups(self) -> None:
        """Groups were added or replaced: note their base values and give them their rates."""
        self._written.adopt()
        self.policy.bind(self.optimizer)
        self._finish_along(self._finishing)
        self._written.check_widths(self._follow)
        if not isinstance(self._factors, Sequence) or len(self._factors) == len(self.base_lrs):
            self._write(self.clock.progress, self._factors)
        else:
            self._apply_here()

    def _beyond(self) -> None:
        self._updates_beyond += 1
        if self._updates_beyond > 1:  # a single large update may carry a run far past its end
            self._say("overspent", overspent(self.budget), stacklevel=4)

    def _say(self, what: str, message: str, stacklevel: int = 3) -> None:
        if what not in self._said:
            self._said.add(what)
            warnings.warn(message, BudgetWarning, stacklevel=stacklevel)
