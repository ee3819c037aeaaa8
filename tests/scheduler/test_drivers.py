"""Who drives which optimizer: wrappers, several optimizers, several schedulers, and rates that others set."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import lehr


def parameter() -> nn.Parameter:
    return nn.Parameter(torch.ones(3))


def sgd(*rates: float) -> torch.optim.SGD:
    return torch.optim.SGD([{"params": [parameter()], "lr": rate} for rate in rates])


def update(optimizer: torch.optim.Optimizer) -> None:
    for group in optimizer.param_groups:
        for one in group["params"]:
            one.grad = torch.ones_like(one)
    optimizer.step()


# -- a rate of zero ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rates", "policy"),
    [
        ((0.0,), lehr.Linear()),
        ((0.0, 0.0), lehr.Linear()),
        ((0.0, 0.1), [lehr.Constant(), lehr.Linear().after_warmup(0.2)]),
        ((0.1,), lehr.Constant(0.0)),
    ],
)
def test_updates_at_rate_zero_count(rates: tuple[float, ...], policy: Any) -> None:
    optimizer = sgd(*rates)
    scheduler = lehr.Scheduler(optimizer, policy, lehr.Budget(steps=10))
    for _ in range(10):
        update(optimizer)
        scheduler.step()
    assert scheduler.finished


def test_a_rate_set_to_zero_by_hand_for_an_update_counts() -> None:
    optimizer = sgd(0.1)
    scheduler = lehr.Scheduler(optimizer, lehr.Linear(), lehr.Budget(steps=10))
    update(optimizer)
    scheduler.step()
    optimizer.param_groups[0]["lr"] = 0.0
    update(optimizer)
    with pytest.warns(lehr.BudgetWarning, match=r"somebody else has set the learning rate to 0.*\.then"):
        scheduler.step()
    assert scheduler.updates == 2
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.08)


def test_a_step_that_only_sets_up_state_does_not_count() -> None:
    """torch.distributed.checkpoint makes one before it loads."""
    from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict

    model = nn.Linear(2, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    scheduler = lehr.Scheduler(optimizer, lehr.Linear(), lehr.Budget(steps=10))
    get_optimizer_state_dict(model, optimizer)
    assert optimizer.state
    scheduler.step()
    assert scheduler.updates == 0


# -- called less often than there are updates -------------------------------------------------------------------------


@pytest.mark.parametrize("every", [2, 5, 10])
@pytest.mark.parametrize("curve", [lehr.Linear(), lehr.Cosine().after_warmup(0.3)])
def test_rates_are_right_at_every_update_however_seldom_step_is_called(every: int, curve: lehr.Schedule) -> None:
    optimizer = sgd(0.1)
    scheduler = lehr.Scheduler(optimizer, curve, lehr.Budget(steps=20))
    rates = []
    optimizer.register_step_pre_hook(lambda one, *_: rates.append(one.param_groups[0]["lr"]))
    for index in range(20):
        update(optimizer)
        if (index + 1) % every == 0:
            scheduler.step()
    assert rates == pytest.approx([0.1 * curve(k / 20) for k in range(20)])
    assert scheduler.finished


def test_calls_without_updates_are_accumulation_until_there_are_very_many() -> None:
    optimizer = sgd(0.1)
    scheduler = lehr.Scheduler(optimizer, lehr.Linear(), lehr.Budget(steps=10))
    for _ in range(99):
        scheduler.step()
    with pytest.warns(lehr.BudgetWarning, match="100 times in a row"):
        scheduler.step()
    assert scheduler.spent == 0


# -- wrappers ---------------------------------------------------------------------------------------------------------


class Passes(torch.optim.Optimizer):
    """As Accelerate's: passes calls on, without calling its parent."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer

    @property
    def param_groups(self) -> Any:
        return self.optimizer.param_groups

    @property
    def state(self) -> Any:
        return self.optimizer.state

    @property
    def defaults(self) -> Any:
        return self.optimizer.defaults

    def step(self, closure: Any = None) -> None:
        self.optimizer.step()


class Copies:
    """As Lightning's: takes over the attributes of the one inside, and is of its class as well."""

    def __new__(cls, optimizer: torch.optim.Optimizer) -> Any:
        made = object.__new__(type("Copies", (_Copies, type(optimizer)), {}))
        made.__dict__ = {**{k: v for k, v in optimizer.__dict__.items() if k != "step"}, "_optimizer": optimizer}
        return made


class _Copies:
    def step(self, closure: Any = None) -> None:
        self._optimizer.step()  # type: ignore[attr-defined]


class Averages(torch.optim.Optimizer):
    """As timm's Lookahead: has hooks of its own, and steps the one inside."""

    def __init__(self, base: torch.optim.Optimizer) -> None:
        self._optimizer_step_pre_hooks, self._optimizer_step_post_hooks = OrderedDict(), OrderedDict()
        self._base_optimizer = base
        self.param_groups, self.state, self.defaults = base.param_groups, base.state, base.defaults

    def step(self, closure: Any = None) -> None:
        self._base_optimizer.step()


@pytest.mark.parametrize("wrap", [Passes, Copies, Averages, lambda one: Passes(Averages(one))])
@pytest.mark.parametrize("cleared", [False, True], ids=["new", "after zero_grad"])
def test_wrapped_optimizers_are_driven_and_counted_once(wrap: Callable[[Any], Any], cleared: bool) -> None:
    inner = sgd(0.1)
    outer = wrap(inner)
    if cleared and not isinstance(outer, Passes):
        outer.zero_grad()
    scheduler = lehr.Scheduler(outer, lehr.Linear(), lehr.Budget(steps=4))
    rates = []
    for _ in range(4):
        rates.append(inner.param_groups[0]["lr"])
        for one in inner.param_groups[0]["params"]:
            one.grad = torch.ones_like(one)
        outer.step()
        scheduler.step()
    assert rates == pytest.approx([0.1, 0.075, 0.05, 0.025])
    assert scheduler.updates == 4


def test_groups_with_an_lr_scale_are_scaled() -> None:
    groups = [{"params": [parameter()], "lr_scale": 0.5**depth} for depth in range(3)]
    optimizer = torch.optim.AdamW(groups, lr=1e-3)
    scheduler = lehr.Scheduler(optimizer, lehr.Linear(), lehr.Budget(steps=10))
    assert scheduler.get_last_lr() == pytest.approx([1e-3, 5e-4, 2.5e-4])
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([1e-3, 5e-4, 2.5e-4])
    update(optimizer)
    scheduler.step()
    state = scheduler.state_dict()
    again = torch.optim.AdamW([{"params": [parameter()], "lr_scale": 0.5**depth} for depth in range(3)], lr=1e-3)
    resumed = lehr.Scheduler(again, lehr.Linear(), lehr.Budget(steps=10))
    again.load_state_dict(optimizer.state_dict())
    resumed.load_state_dict(state)
    assert resumed.get_last_lr() == scheduler.get_last_lr()


def test_rates_may_be_numbers_of_any_kind() -> None:
    numpy = pytest.importorskip("numpy")
    optimizer = torch.optim.SGD([parameter()], lr=numpy.float32(0.1))
    scheduler = lehr.Scheduler(optimizer, lehr.Linear(), lehr.Budget(steps=10))
    assert scheduler.get_last_lr() == pytest.approx([0.1])


# -- several ----------------------------------------------------------------------------------------------------------


def test_the_second_scheduler_retires_the_first() -> None:
    optimizer = sgd(1.0)
    warm = lehr.Scheduler(optimizer, lehr.Constant().after_warmup(0.5), lehr.Budget(steps=10))
    main = lehr.Scheduler(optimizer, lehr.Linear(), lehr.Budget(steps=10))
    update(optimizer)
    with pytest.raises(RuntimeError, match=r"another lehr\.Scheduler was built on it.*\*.*\.then"):
        warm.step()
    with pytest.raises(RuntimeError, match=r"another lehr\.Scheduler was built on it"):
        warm.observe(loss=1.0)
    main.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.9)
    while not main.finished:
        update(optimizer)
        main.step()


def test_a_plateau_scheduler_beside_ours_is_told() -> None:
    optimizer = sgd(1.0)
    scheduler = lehr.Scheduler(optimizer, lehr.Linear(), lehr.Budget(steps=10))
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
    plateau.step(1.0)
    plateau.step(2.0)
    update(optimizer)
    with pytest.warns(lehr.BudgetWarning, match=r"somebody else has set the learning rate to 0\.1"):
        scheduler.step()


def test_several_optimizers_have_one_clock_and_one_checkpoint() -> None:
    parts = [sgd(0.1, 0.2), sgd(0.4)]
    scheduler = lehr.Scheduler(parts, [lehr.Linear(), lehr.Constant()], lehr.Budget(steps=4))
    for _ in range(2):
        for one in parts:
            update(one)
        scheduler.step()
    assert scheduler.updates == 2
    assert scheduler.get_last_lr() == pytest.approx([0.05, 0.1, 0.4])
    again = [sgd(0.1, 0.2), sgd(0.4)]
    resumed = lehr.Scheduler(again, [lehr.Linear(), lehr.Constant()], lehr.Budget(steps=4))
    resumed.load_state_dict(scheduler.state_dict())
    assert resumed.get_last_lr() == scheduler.get_last_lr()
    resumed.finish_by(lehr.Budget(steps=2))
    for one in again:
        update(one)
    resumed.step()
    assert resumed.get_last_lr() == pytest.approx([0.025, 0.05, 0.2])


def test_a_schedule_for_each_group_of_each_optimizer() -> None:
    parts = [sgd(1.0, 1.0), sgd(1.0)]
    scheduler = lehr.Scheduler(
        parts, [[lehr.Constant(0.1), lehr.Constant(0.2)], lehr.Constant(0.3)], lehr.Budget(steps=4)
    )
    assert scheduler.get_last_lr() == pytest.approx([0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="2 schedules for 3 parameter groups"):
        lehr.Scheduler(sgd(1.0, 1.0, 1.0), [lehr.Linear(), lehr.Linear()], lehr.Budget(steps=4))


@pytest.mark.parametrize("wrong", [3, [], [3], "adam"])
def test_what_is_no_optimizer_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="Scheduler: optimizer"):
        lehr.Scheduler(wrong, lehr.Linear(), lehr.Budget(steps=4))


# -- policies that look -----------------------------------------------------------------------------------------------


def test_a_policy_that_is_never_told_says_so_at_the_first_step() -> None:
    for policy in (lehr.LRTuner(), lehr.LearnedSchedule.pretrained(), lehr.LRTuner() * lehr.Linear()):
        optimizer = sgd(1e-6)
        scheduler = lehr.Scheduler(optimizer, policy, lehr.Budget(steps=10))
        update(optimizer)
        with pytest.raises(RuntimeError, match=r"never called: .*training\.run\(scheduler\)"):
            scheduler.step()


# -- checkpoints ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer_first", [True, False])
def test_another_base_rate_than_the_checkpoints_is_reported_in_any_order(optimizer_first: bool) -> None:
    first = sgd(0.1)
    scheduler = lehr.Scheduler(first, lehr.Linear(), lehr.Budget(steps=10))
    states = first.state_dict(), scheduler.state_dict()

    def load(**accept: Any) -> lehr.Scheduler:
        second = sgd(0.2)
        resumed = lehr.Scheduler(second, lehr.Linear(), lehr.Budget(steps=10), **accept)
        if optimizer_first:
            second.load_state_dict(states[0])
            resumed.load_state_dict(states[1])
        else:
            resumed.load_state_dict(states[1])
            second.load_state_dict(states[0])
            update(second)
        return resumed

    with pytest.raises(ValueError, match="the base learning rates changed"):
        load()
    assert load(accept=("base_lrs",)).get_last_lr() == [0.2]


def test_what_a_checkpoint_may_change_can_be_said_beforehand() -> None:
    scheduler = lehr.Scheduler(sgd(0.1), lehr.Linear(), lehr.Budget(steps=10))
    state = scheduler.state_dict()
    longer = lehr.Scheduler(sgd(0.1), lehr.Linear(), lehr.Budget(steps=20), accept="budget")
    longer.load_state_dict(state)
    assert longer.budget == lehr.Budget(steps=20)
    with pytest.raises(ValueError, match="accept takes curve, budget, groups, base_lrs"):
        lehr.Scheduler(sgd(0.1), lehr.Linear(), lehr.Budget(steps=20), accept="everything")


# -- the table --------------------------------------------------------------------------------------------------------


def test_a_preview_of_a_long_run_costs_nothing_until_it_is_asked() -> None:
    scheduler = lehr.Scheduler(sgd(0.1), lehr.Linear(), lehr.Budget(steps=10**12))
    preview = scheduler.preview()
    assert len(str(preview).splitlines()) == 12
    assert len(preview) == 10**12
    assert preview._repr_html_().count("<polyline") == 1
    assert "over 1e+12 steps" in preview._repr_html_()
    assert preview[10**11] == (10**11, 0.1, pytest.approx((0.09,)))
    assert preview[-1][0] == 10**12 - 1
    with pytest.raises(IndexError, match="there is no row"):
        preview[10**12]


def test_a_preview_stays_as_it_was() -> None:
    scheduler = lehr.Scheduler(sgd(0.1), lehr.Linear(), lehr.Budget(steps=10))
    preview = scheduler.preview()
    rates = preview.rates
    scheduler.rebudget(lehr.Budget(steps=20), how="jump")
    scheduler.rescale([0.7])
    assert preview.rates == rates
