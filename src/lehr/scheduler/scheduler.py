"""The scheduler: a policy drives an optimizer under a budget."""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from copy import deepcopy
from typing import Any, Literal

from torch import Tensor
from torch.distributed import ProcessGroup
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lehr.budget import Budget, Clock
from lehr.policy import Follow, Look, Moment, Policy, as_look
from lehr.scheduler import finishing, last_words, ranks, trainers
from lehr.scheduler.budget_warnings import (
    FAR_FROM_THE_END,
    RunsUnderWay,
    idle,
    meddled,
    overspent,
    retired,
    strange,
    uninformed,
)
from lehr.scheduler.checkpoint import Fingerprint, SchedulerState, accepted, load_policy
from lehr.scheduler.drivers import take_over
from lehr.scheduler.history import History
from lehr.scheduler.inputs import (
    Drives,
    amount_of,
    as_factors,
    check_arguments,
    drivers_of,
    loss_of,
    policy_for,
)
from lehr.scheduler.notices import Notices
from lehr.scheduler.param_groups import (
    Factors,
    Hyperparameters,
    numbers,
    rates_of,
    set_base_rates,
)
from lehr.scheduler.preview import Preview, look_ahead
from lehr.scheduler.recovery import recover
from lehr.schedules import Linear, Schedule
from lehr.state.fallback import Fallback
from lehr.state.optimizers import OptimizerSet
from lehr.state.update_counter import UpdateCounter

IDLE_CALLS = 100
"""After how many calls of `step()` in a row without an update to say so; fewer are accumulation, or AMP."""


class Scheduler(LRScheduler):
    """Drives an optimizer's learning rate (and other hyperparameters) along a schedule or policy, under a budget.

        lr of update k = base lr * factor(progress), progress = spent / total

    A torch `LRScheduler`: call `step()` after each update. It counts the updates the optimizer really made, so updates
    that AMP skipped, gradient accumulation and frameworks that step several times do not distort the curve.

    Args:
        optimizer: a `lehr.Training`, a torch optimizer, or several that one run updates: one clock and one budget for
            all. Groups keep their base rates, and so their ratios. With several, the run has made as many updates as
            the optimizer that made the fewest, those that made none left out.
        policy: a schedule, a list of schedules (one for each parameter group, or for each optimizer) or a policy.
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
        accept: what `load_state_dict` accepts unless told otherwise, for frameworks that call it themselves.

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
        optimizer: Optimizer | Sequence[Optimizer] | Drives,
        policy: Policy | Schedule | Sequence[Schedule] | Sequence[Sequence[Schedule]],
        budget: Budget,
        *,
        also: Mapping[str, Schedule | Sequence[Schedule]] | None = None,
        count: Literal["updates", "calls"] = "updates",
        now: Callable[[], float] = time.monotonic,
        agree_every: int = 1,
        data_parallel: ProcessGroup | None = None,
        accept: str | Collection[str] = (),
    ) -> None:
        optimizers, self.modules = drivers_of(optimizer)
        check_arguments(budget, count, agree_every, now, {} if also is None else also)
        accepted(accept)
        ranks.check(data_parallel)
        last_words.arrive()
        self.optimizer = optimizers[0]
        self.optimizers = optimizers
        self.policy = policy_for(optimizers, policy)
        self.clock = Clock(budget, now, ranks.of_first, agree_every)
        self.history = History()
        self._written = Hyperparameters(optimizers, also or {})
        self._together: Any = optimizers[0] if len(optimizers) == 1 else OptimizerSet(optimizers)
        self.policy.bind(self._together)
        self._finish_along(None)
        self._built_with = budget
        self._own_bases = list(self.base_lrs)
        self._imposes = False
        self._data_parallel = data_parallel
        self._accept = accept
        self._fallback: Fallback | None = None
        self._observed: float | None = None
        self._informed = False
        self._notices = Notices()
        self._idle_calls = 0, 0
        self._updates_beyond = 0
        self._factors: Factors = 1.0
        self._count = count
        self._written.check_widths(self._follow)
        self._acts = True
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

    @property
    def updates(self) -> int:
        """How many updates there were."""
        return self.clock.updates

    @property
    def remaining(self) -> float:
        """How much is left, in updates under a budget of steps or epochs and else in the budget's unit."""
        return self.clock.remaining

    def paused(self) -> AbstractContextManager[None]:
        """A context in which seconds are not spent, for evaluation and checkpointing."""
        return self.clock.paused()

    @property
    def last_epoch(self) -> int:
        """The same as `updates`, under the name that torch's schedulers have for it."""
        return self.clock.updates

    @last_epoch.setter
    def last_epoch(self, value: int) -> None:
        raise AttributeError(
            f"lehr.Scheduler counts updates itself, so last_epoch cannot be set: {trainers.calling().compose}"
        )

    # -- the two events ---------------------------------------------------------------------------------------------

    def step(self, epoch: int | None = None) -> None:
        """Time has passed: spend what the updates since the last call cost, and set the rates of the next one.

        Without an update behind it, as when AMP skipped one, nothing is spent. Called less often than there are
        updates, as once an epoch, the rates of the updates in between are set all the same, as each begins. A compiled
        optimizer step counts as one, so call this after each.

        Raises:
            RuntimeError: if another scheduler drives an optimizer since, or the policy looks at training and nobody has
                called `observe`.
        """
        if epoch is not None:
            raise TypeError(
                "Scheduler.step takes no epoch, nor anything else, since it counts the optimizer's updates itself: "
                f"{trainers.calling().step}"
            )
        counter = self._counters[0]
        if counter.suspended:
            return
        updates = counter.take() if self._counts_alone else self._take()
        if not updates:  # what was observed stays, for the update that these batches lead to
            self._idle()
            return
        if self._follow is None and not self._informed and self.policy.needs:
            raise RuntimeError(uninformed(self.policy))
        clock = self.clock
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

    def _take(self) -> int:
        """Updates since the last call, of several optimizers or where calls are counted."""
        if self._count == "calls":
            return 0 if self._retired else 1
        return min((count for counter in self._counters if (count := counter.take())), default=0)

    def _idle(self) -> None:
        """A call without an update: accumulation, AMP, or a scheduler that is out of use."""
        self._must_drive()
        calls, updates = self._idle_calls
        calls = calls + 1 if updates == self.clock.updates else 1
        self._idle_calls = calls, self.clock.updates
        if calls == IDLE_CALLS:
            self._notices.say("idle", idle(IDLE_CALLS))

    @property
    def wants_loss(self) -> bool:
        """Whether the policy looks at training, so that each update must be observed."""
        return self._follow is None

    @property
    def wants_look(self) -> bool:
        """Whether the next update must be observed with a look along the step."""
        return self._follow is None and self.policy.wants_look(self.clock.progress)

    def observe(
        self,
        loss: Any = None,
        loss_at: Look | Callable[[float], float] | None = None,
        samples: float | None = None,
        tokens: float | None = None,
    ) -> None:
        """Signals have arrived: call before the update that they belong to.

        Args:
            loss: this rank's training loss, a number or a tensor of one; policies see the mean over ranks.
            loss_at: the loss along the step, a `Probe` or a function from factor to loss; averaged over ranks too. A
                policy needs it when `wants_look` says so.
            samples: examples this rank has used since the last update, at least 0; adds up over calls and ranks. Used
                if the budget counts samples without saying how many an update uses.
            tokens: tokens likewise.

        Raises:
            ValueError: if the policy needs a signal that is missing, or an amount is no number.
        """
        self._must_drive()
        if self._counters[0].suspended:
            return
        for unit, amount in (("samples", samples), ("tokens", tokens)):
            if amount is not None and unit == self.budget.unit:
                self._observed = (self._observed or 0.0) + amount_of(unit, amount)
        if self._follow is not None:
            return
        if loss is None and loss_at is None and (samples is not None or tokens is not None):
            return
        progress = self.clock.progress
        for name, given in (("loss", loss), ("loss_at", loss_at)):
            if name in self.policy.needs and given is None and (name == "loss" or self.policy.wants_look(progress)):
                what = "loss_at=lehr.Probe(training)" if name == "loss_at" else "loss=loss"
                raise ValueError(f"{self.policy!r} needs {name}: call scheduler.observe({what}) before the update")
        if loss is not None:
            with last_words.telling():
                loss = ranks.mean(loss_of(loss), self._data_parallel)
        look = as_look(loss_at)
        self._informed = True
        self._apply(Moment(progress, loss, look and ranks.mean_along(look, self._data_parallel)))
        if (asked := self.policy.recovery) is not None:
            self._fallback = recover(asked, self._fallback, self.optimizers, self.modules)

    def observe_amount(self, amount: float) -> None:
        """This rank has used so many samples or tokens, whichever the budget counts, since the last update."""
        self._observed = (self._observed or 0.0) + amount_of(self.budget.unit, amount)

    # -- before and beyond the run ----------------------------------------------------------------------------------

    def preview(self) -> Preview:
        """The learning rates from here to the end of the budget, without training.

        Raises:
            TypeError: if the policy looks at training and cannot be known beforehand.
        """
        if self._follow is None:
            raise TypeError(f"{self.policy!r} looks at training, so there is nothing to preview; see scheduler.history")
        return look_ahead(self.clock, self._follow, list(self.base_lrs))

    def rebudget(self, budget: Budget, *, how: Literal["continue", "jump"]) -> None:
        """Change the budget in the middle of the run.

        Args:
            budget: the new one, in the same unit; what is spent stays spent.
            how: "continue" goes on from today's factor and stretches the rest of the curve over what is left now;
                "jump" puts the factor at once where it would be had the new budget been known from the start, which
                also undoes `finish_by`.

        Raises:
            ValueError: if the new budget counts something else, or nothing is left to continue.
            RuntimeError: if another scheduler drives an optimizer since.
        """
        self._must_drive()
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
            RuntimeError: if another scheduler drives an optimizer since.
        """
        self._must_drive()
        factors, shape = numbers(self._factors), Linear() if shape is None else shape
        if not any([factors] if isinstance(factors, float) else factors):
            self._notices.say("nothing", "finish_by: today's rate is 0, as before a warm-up, and so it will stay")
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

    def rescale(self, rates: Sequence[float]) -> None:
        """Give each group another learning rate at factor 1; today's follow.

        Args:
            rates: one for each group, finite and at least 0.

        Raises:
            ValueError: if they are anything else; then nothing changes.
            RuntimeError: if another scheduler drives an optimizer since.
        """
        self._must_drive()
        set_base_rates(self.optimizers, rates_of(rates, len(self._written.lr.groups)))
        self._written.adopt()
        self._own_bases = list(self.base_lrs)
        self._write(self.clock.progress, self._factors)

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
            updates=self._pending if self._count == "updates" else 0,
            observed=self._observed,
            fallback=None if self._fallback is None else self._fallback.state_dict(),
            run=self._fingerprint(),
        ).as_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any], accept: str | Collection[str] | None = None) -> None:
        """Go on from a checkpoint.

        Args:
            state_dict: what `state_dict()` returned; left as it is.
            accept: which of "curve", "budget", "groups" and "base_lrs" may differ from the checkpoint's; what this
                scheduler was built with then holds. Those that the scheduler was built with, if not given.

        Raises:
            ValueError: if the checkpoint comes from another run than `accept` allows, saying how they differ.
            RuntimeError: if another scheduler drives an optimizer since.
        """
        self._must_drive()
        if self._written.lr.stale:
            self._meet_new_groups()
        saved = SchedulerState.read(state_dict)
        different = saved.check(self._fingerprint(), self._accept if accept is None else accept)
        given = saved.fallback
        fallback = None if given is None else Fallback.read(given, self.optimizers, self.modules)
        with self._all_or_nothing():
            self.clock.load(saved.clock)
            if "budget" in different:
                self.clock.rebudget(self._built_with, "jump")
            self._finish_along(None if "budget" in different else saved.finishing)
            self._imposes = "base_lrs" in different
            self._impose()
            if "curve" not in different:
                load_policy(self.policy, saved.policy, self.clock.progress, self.base_lrs)
            for counter in self._counters:
                counter.restore(saved.updates)
            self._observed = saved.observed
            if different - {"base_lrs"} or self._follow is not None:
                self._apply_here()
            else:  # the very factors, which for a policy may come from a loss already observed
                self._write(self.clock.progress, saved.factors)
        self._fallback = fallback
        self._run.begin(self.clock.updates)

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """A context that, if it fails, leaves the scheduler as it was before."""
        policy, factors, tail = deepcopy(self.policy.state_dict()), self._factors, self._finishing
        counts, observed = [counter.count for counter in self._counters], self._observed
        put_clock_back = self.clock.keep()
        try:
            yield
        except BaseException:
            put_clock_back()
            with suppress(Exception):  # a policy that refuses its own state too: the first error says more
                self.policy.load_state_dict(policy)
            self._finish_along(tail)
            for counter, count in zip(self._counters, counts, strict=True):
                counter.restore(count)
            self._observed = observed
            self._write(self.clock.progress, factors)
            raise

    def _fingerprint(self) -> Fingerprint:
        return Fingerprint.of(f"{self.policy!r}{self._written!r}", self._built_with, self._own_bases)

    def __getstate__(self) -> dict[str, Any]:
        """For copying and pickling, with the optimizer: hooks do not travel and are made anew."""
        return {**{k: v for k, v in self.__dict__.items() if k != "_run"}, "_counters": self._pending}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._watch()
        for counter in self._counters:
            counter.restore(state["_counters"])
        self.policy.bind(self._together)
        self._tell_policy(self.progress)

    # -- inside -----------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Count the optimizers' updates; whoever drove them before is retired."""
        self._retired = False
        self._acts = type(self.policy).arrive is not Policy.arrive  # most policies do not, and this runs once an update
        self._counts_alone = len(self.optimizers) == 1 and self._count == "updates"
        take_over(self)
        self._counters = [UpdateCounter(one, self._before_update, self._stand_still) for one in self.optimizers]
        for counter in self._counters:
            weakref.finalize(self, counter.detach).atexit = False
        self._run = RunsUnderWay.register(self.clock, self._follow)

    @contextmanager
    def _stand_still(self) -> Iterator[None]:
        """A context for a trial: time does not count, and base rates that it set are forgotten with it."""
        bases, own = list(self.base_lrs), list(self._own_bases)
        try:
            with self.paused():
                yield
        finally:
            if self.base_lrs != bases:
                self._written.adopt()
                self._own_bases = own
                self._write(self.clock.progress, self._factors)

    def retire(self) -> None:
        """Another scheduler drives an optimizer of this one from now on, which so counts no more."""
        self._retired = True
        for counter in self._counters:
            counter.detach()
        self._run.end()

    def _must_drive(self) -> None:
        """Refuse what only the scheduler that drives the optimizers may do."""
        if self._retired:
            raise RuntimeError(retired(self.policy))

    @property
    def _pending(self) -> int:
        """Updates since the last `step()`."""
        return min((counter.count for counter in self._counters if counter.count), default=0)

    def _before_update(self) -> bool:
        """Called by an optimizer before its update: give it its rates; whether the update counts."""
        if self._written.lr.stale:
            self._meet_new_groups()
        if self._written.lr.silenced:
            return False
        self.clock.start()
        pending = self._counters[0].count if self._counts_alone else 0
        if pending and (not self.clock.asks or self._observed is not None):
            # `step()` is called less often than there are updates: nobody has set this one's rate yet
            self.step()
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
        if self._written.lr.meddled is not None:
            self._notices.say("meddled", meddled(self._written.lr.meddled, self.policy))
            self._written.lr.meddled = None
        self.history.add(self.clock.updates, progress, factors)
        if self._acts:
            self._tell_policy(progress)

    def _tell_policy(self, progress: float) -> None:
        self.policy.arrive(progress, self._factors if isinstance(self._factors, Sequence) else (self._factors,))

    def _meet_new_groups(self) -> None:
        """Groups were added or replaced: note their base values and give them their rates."""
        self._written.adopt()
        for one in (self._written.lr, *(other for other, _ in self._written.others)):
            if one.strange is not None:
                self._notices.say(f"strange {one.key}", strange(one.key, one.strange))
                one.strange = None
        self._own_bases += self.base_lrs[len(self._own_bases) :]
        self._impose()
        self.policy.bind(self._together)
        self._finish_along(self._finishing)
        self._written.check_widths(self._follow)
        if not isinstance(self._factors, Sequence) or len(self._factors) == len(self.base_lrs):
            self._write(self.clock.progress, self._factors)
        else:
            self._apply_here()

    def _impose(self) -> None:
        """Where other base rates than a checkpoint's were accepted, what is loaded into the optimizer must not win."""
        if self._imposes and len(self._own_bases) == len(self.base_lrs):
            set_base_rates(self.optimizers, self._own_bases)
            self._written.adopt()

    def _beyond(self) -> None:
        self._updates_beyond += 1
        if self._updates_beyond > 1:  # a single large update may carry a run far past its end
            self._notices.say("overspent", overspent(self.budget))
