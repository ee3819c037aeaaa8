"""What the scheduler offers beyond the contract of its policies."""

from __future__ import annotations

import copy
import gc
import math
import warnings
import weakref
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import LRScheduler

import lehr
from lehr import Budget, BudgetWarning, Cosine, Linear, Scheduler
from lehr.scheduler.budget_warnings import RunsUnderWay


def sgd(lr: float = 0.1, **arguments: object) -> torch.optim.SGD:
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr, **arguments)  # type: ignore[arg-type]


def drive(scheduler: Scheduler, updates: int) -> list[float]:
    rates = []
    for _ in range(updates):
        rates.append(scheduler.optimizer.param_groups[0]["lr"])
        scheduler.optimizer.step()
        scheduler.step()
    return rates


def test_it_is_a_torch_scheduler() -> None:
    scheduler = Scheduler(sgd(), Linear(), Budget(steps=10))
    assert isinstance(scheduler, LRScheduler)
    drive(scheduler, 3)
    assert scheduler.last_epoch == 3
    assert scheduler._step_count == 4
    assert scheduler.get_last_lr() == scheduler._last_lr == scheduler.get_lr() == [0.1 * 0.7]
    assert scheduler.base_lrs == [0.1]


def test_update_k_uses_the_factor_at_k_over_total() -> None:
    scheduler = Scheduler(sgd(), Cosine(), Budget(steps=7))
    assert drive(scheduler, 7) == [0.1 * Cosine()(k / 7) for k in range(7)]
    assert (scheduler.spent, scheduler.progress, scheduler.remaining, scheduler.finished) == (7, 1.0, 0, True)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            (object(), Linear(), Budget(steps=1)),
            TypeError,
            "optimizer must be a lehr.Training, a torch.optim.Optimizer, or several; got object",
        ),
        ((sgd(), "linear", Budget(steps=1)), TypeError, "Scheduler: policy must be a schedule .parse_schedule reads"),
        ((sgd(), [], Budget(steps=1)), TypeError, "Scheduler: policy must be a schedule"),
        ((sgd(), Linear(), 100), TypeError, r"budget must be a lehr.Budget, such as Budget\(steps=1000\).*; got 100"),
        ((sgd(), [Linear(), Linear()], Budget(steps=1)), ValueError, "2 schedules for 1 parameter groups"),
    ],
)
def test_bad_arguments(arguments: tuple[object, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Scheduler(*arguments)  # type: ignore[arg-type]


def test_bad_names() -> None:
    with pytest.raises(ValueError, match="count must be 'updates' or 'calls'; got 'epochs'"):
        Scheduler(sgd(), Linear(), Budget(steps=1), count="epochs")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="parameter group 0 has no 'betas' to schedule|betas is"):
        Scheduler(torch.optim.Adam([torch.zeros(1)]), Linear(), Budget(steps=1), also={"betas": Linear()})
    with pytest.raises(ValueError, match="parameter group 0 has no 'wd' to schedule; it has dampening, .*weight_decay"):
        Scheduler(sgd(), Linear(), Budget(steps=1), also={"wd": Linear()})
    with pytest.raises(ValueError, match="nesterov is False, which is no number"):
        Scheduler(sgd(), Linear(), Budget(steps=1), also={"nesterov": Linear()})
    with pytest.raises(ValueError, match="also cannot hold lr"):
        Scheduler(sgd(), Linear(), Budget(steps=1), also={"lr": Linear()})
    with pytest.raises(TypeError, match=r"also\['momentum'\] must be a schedule"):
        Scheduler(sgd(), Linear(), Budget(steps=1), also={"momentum": "linear"})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match="takes no epoch"):
        Scheduler(sgd(), Linear(), Budget(steps=1)).step(3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Scheduler(sgd(), Linear(), STEP, also=[("momentum", Linear())]), TypeError, "also must be a dict"),
        (lambda: Scheduler(sgd(), Linear(), STEP, now=3.0), TypeError, "now must be a function that gives seconds"),
        (lambda: Scheduler(sgd(), Linear(), STEP, accept=3), TypeError, "accept must be a list of names"),
        (lambda: Scheduler(sgd(), Linear(), STEP).load_state_dict({}, accept=3), ValueError, "no clock, policy"),
        (lambda: Scheduler(sgd(), Linear(), STEP).rebudget("9ep", how="jump"), TypeError, "rebudget: budget must be a"),
        (lambda: Scheduler(sgd(), Linear(), STEP).finish_by("9ep"), TypeError, "finish_by: left must be a lehr.Budget"),
        (lambda: Scheduler(sgd(), Linear(), STEP).finish_by(STEP, "Linear()"), TypeError, "shape must be a schedule"),
        (lambda: Scheduler(sgd(), Linear(), Budget(samples=1)).observe(samples=1e31), ValueError, "at most 1e.30"),
        (lambda: look("far"), ValueError, "loss_at must give one real number; at the factor 0 it gave 'far'"),
        (lambda: look(torch.zeros(2)), ValueError, "loss_at must give one real number"),
    ],
)  # fmt: skip
def test_arguments_of_another_kind(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


STEP = Budget(steps=1)


def look(answer: object) -> None:
    Scheduler(sgd(), lehr.LRTuner(), STEP).observe(loss=1.0, loss_at=lambda factor: answer)  # type: ignore[arg-type, return-value]


def test_losses_along_the_step_may_have_a_graph() -> None:
    weight = torch.tensor(0.1, requires_grad=True)
    scheduler = Scheduler(sgd(), lehr.LRTuner(), STEP)
    scheduler.observe(loss=1.0, loss_at=lambda factor: (1.0 - factor * weight) ** 2)
    assert scheduler.get_last_lr()[0] > 0.0


@pytest.mark.filterwarnings("ignore:the budget of 9:lehr.BudgetWarning")
@pytest.mark.parametrize("budget", [Budget(samples=9), Budget(seconds=9), Budget.every(seconds=9)])
def test_however_far_a_run_has_come_its_checkpoint_loads(budget: Budget) -> None:
    time = [0.0]
    scheduler = Scheduler(sgd(), lehr.WarmRestarts(), budget, now=lambda: time[0])

    def update(amount: float) -> None:
        scheduler.observe(samples=amount)
        scheduler.optimizer.step()
        time[0] += amount
        scheduler.step()

    for _ in range(2):
        update(1e12)
    state = scheduler.state_dict()
    scheduler.load_state_dict(state)
    with pytest.raises(ValueError, match="times the budget of"):
        update(1e29)
    assert 1e11 < scheduler.progress < 1e12
    scheduler.load_state_dict(state)


class TestCounting:
    """Updates, not calls."""

    def test_calling_too_often_spends_nothing_and_alarms_nobody(self) -> None:
        scheduler = Scheduler(sgd(), Linear(), Budget(steps=10))
        for _ in range(4):
            scheduler.optimizer.step()
            for _ in range(3):  # as a framework on three processes does
                scheduler.step()
        assert scheduler.spent == 4

    def test_updates_that_never_come_are_spoken_of_once(self) -> None:
        scheduler = Scheduler(sgd(), Linear(), Budget(steps=10))
        with pytest.warns(BudgetWarning, match=r'scheduler.preview\(\).*count="calls"') as said:
            for _ in range(300):
                scheduler.step()
        assert len(said) == 1

    def test_calling_once_an_epoch_spends_the_epoch(self) -> None:
        scheduler = Scheduler(sgd(), Linear(), Budget(epochs=2, steps_per_epoch=5))
        for _ in range(5):
            scheduler.optimizer.step()
        scheduler.step()
        assert scheduler.progress == 0.5

    def test_calls_count_where_updates_cannot_be_seen(self) -> None:
        scheduler = Scheduler(sgd(), Linear(), Budget(steps=10), count="calls")
        for _ in range(4):
            scheduler.step()
        assert scheduler.spent == 4

    def test_a_step_that_calls_its_parents_is_one_update(self) -> None:
        sgd().step()  # so that the parent's own step carries hooks too

        class Mine(torch.optim.SGD):
            def step(self, closure=None):
                return super().step(closure)

        scheduler = Scheduler(Mine([torch.zeros(1, requires_grad=True)], lr=0.1), Linear(), Budget(steps=10))
        drive(scheduler, 4)
        assert scheduler.spent == 4

    def test_an_update_that_raised_does_not_count(self) -> None:
        scheduler = Scheduler(sgd(), Linear(), Budget(steps=10))

        def closure() -> float:
            raise RuntimeError

        with pytest.raises(RuntimeError):
            scheduler.optimizer.step(closure)
        drive(scheduler, 2)
        assert scheduler.spent == 2

    def test_accumulation_counts_updates(self) -> None:
        scheduler = Scheduler(sgd(), Linear(), Budget(steps=10))
        for batch in range(12):
            if batch % 4 == 3:
                scheduler.optimizer.step()
                scheduler.step()
        assert scheduler.spent == 3

    def test_what_accelerate_counts_while_accumulating_changes_nothing(self) -> None:
        scheduler = Scheduler(sgd(), Linear(), Budget(steps=10))
        scheduler._step_count += 1
        drive(scheduler, 2)
        assert (scheduler.spent, scheduler._step_count) == (2, 3)

    def test_fused_optimizers_are_not_counted_when_amp_skips(self) -> None:
        parameter = torch.ones(2, requires_grad=True)
        scheduler = Scheduler(torch.optim.SGD([parameter], lr=0.1, fused=True), Linear(), Budget(steps=10))
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
        for scale in (1.0, math.inf, 1.0):
            scheduler.optimizer.zero_grad()
            scaler.scale((parameter * scale).sum()).backward()
            scaler.step(scheduler.optimizer)
            scaler.update()
            scheduler.step()
        assert scheduler.spent == 2

    def test_samples_observed_over_micro_batches_add_up(self) -> None:
        scheduler = Scheduler(sgd(), Linear(), Budget(samples=100))
        for _ in range(2):
            scheduler.observe(samples=10)
            scheduler.observe(samples=15)
            scheduler.optimizer.step()
            scheduler.step()
        assert scheduler.spent == 50

    def test_samples_of_batches_whose_step_came_too_early_are_kept(self) -> None:
        scheduler = Scheduler(sgd(), Linear(), Budget(samples=100))
        for batch in range(4):
            scheduler.observe(samples=10)
            if batch == 3:
                scheduler.optimizer.step()
            scheduler.step()
        assert scheduler.spent == 40

    def test_what_was_observed_beats_what_was_expected(self) -> None:
        scheduler = Scheduler(sgd(), Linear(), Budget(tokens=1000, tokens_per_step=100))
        scheduler.observe(tokens=torch.tensor(37))
        drive(scheduler, 1)
        assert scheduler.spent == 37
        drive(scheduler, 1)
        assert scheduler.spent == 137

    @pytest.mark.parametrize("amount", [math.nan, math.inf, -5])
    def test_amounts_that_are_none_are_refused(self, amount: float) -> None:
        scheduler = Scheduler(sgd(), Linear(), Budget(tokens=1000))
        with pytest.raises(ValueError, match="observe: tokens must be a finite number, at least 0"):
            scheduler.observe(tokens=amount)

    @pytest.mark.parametrize("tensor", [False, True])
    def test_a_step_that_only_sets_up_the_optimizers_state_does_not_count(self, tensor: bool) -> None:
        from torch.distributed.checkpoint.state_dict import get_state_dict, set_optimizer_state_dict

        model = torch.nn.Linear(2, 2)
        rate = torch.tensor(0.1) if tensor else 0.1
        optimizer = torch.optim.AdamW(model.parameters(), lr=rate, foreach=False)
        scheduler = Scheduler(optimizer, Linear(), Budget(steps=10))
        _, state = get_state_dict(model, optimizer)
        model(torch.ones(1, 2)).sum().backward()
        drive(scheduler, 1)
        set_optimizer_state_dict(model, optimizer, optim_state_dict=state)
        drive(scheduler, 1)
        assert scheduler.spent == 2

    def test_updates_at_a_rate_of_zero_count(self) -> None:
        scheduler = Scheduler(sgd(), Linear().after_warmup(0.5), Budget(steps=10))
        assert drive(scheduler, 1) == [0.0]
        assert scheduler.spent == 1

    def test_samples_nobody_told_are_asked_for(self) -> None:
        scheduler = Scheduler(sgd(), Linear(), Budget(tokens=100))
        scheduler.optimizer.step()
        with pytest.raises(ValueError, match="give tokens_per_step to Budget, or call scheduler.observe"):
            scheduler.step()


class TestOtherHyperparameters:
    def test_momentum_and_weight_decay(self) -> None:
        optimizer = sgd(momentum=0.9, weight_decay=0.01)
        also = {"momentum": Linear(1.0, 0.5), "weight_decay": Cosine()}
        scheduler = Scheduler(optimizer, Linear(), Budget(steps=4), also=also)
        drive(scheduler, 2)
        group = optimizer.param_groups[0]
        assert group["momentum"] == pytest.approx(0.9 * 0.75)
        assert group["weight_decay"] == pytest.approx(0.01 * 0.5)
        assert group["lr"] == pytest.approx(0.05)

    def test_momentum_stands_for_the_first_beta(self) -> None:
        optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=0.1, betas=(0.9, 0.99))
        scheduler = Scheduler(optimizer, Linear(), Budget(steps=4), also={"momentum": Linear(1.0, 0.5)})
        drive(scheduler, 2)
        assert optimizer.param_groups[0]["betas"] == (pytest.approx(0.9 * 0.75), 0.99)

    def test_they_resume(self) -> None:
        def build() -> Scheduler:
            return Scheduler(sgd(momentum=0.9), Linear(), Budget(steps=10), also={"momentum": Linear(1.0, 0.5)})

        first = build()
        drive(first, 4)
        second = build()
        second.optimizer.load_state_dict(first.optimizer.state_dict())
        second.load_state_dict(first.state_dict())
        drive(first, 1), drive(second, 1)
        assert first.optimizer.param_groups[0]["momentum"] == second.optimizer.param_groups[0]["momentum"]

    def test_any_key_of_a_group(self) -> None:
        optimizer = torch.optim.SGD([{"params": [torch.zeros(1)], "clip": 5.0}], lr=0.1)
        scheduler = Scheduler(optimizer, Linear(), Budget(steps=2), also={"clip": [Linear()]})
        drive(scheduler, 1)
        assert optimizer.param_groups[0]["clip"] == 2.5


class TestTensorRates:
    def test_groups_that_share_one_tensor_get_one_each(self) -> None:
        shared = torch.tensor(0.1)
        optimizer = torch.optim.SGD([{"params": [torch.zeros(1)]}, {"params": [torch.zeros(1)]}], lr=shared)
        scheduler = Scheduler(optimizer, [Linear(), lehr.Constant()], Budget(steps=4))
        drive(scheduler, 2)
        assert [float(group["lr"]) for group in optimizer.param_groups] == pytest.approx([0.05, 0.1])

    def test_a_group_added_later_starts_from_the_default_not_from_todays_rate(self) -> None:
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=torch.tensor(0.1))
        scheduler = Scheduler(optimizer, Linear(), Budget(steps=10))
        drive(scheduler, 5)
        optimizer.add_param_group({"params": [torch.ones(1)]})
        drive(scheduler, 1)
        assert scheduler.base_lrs == pytest.approx([0.1, 0.1])
        assert [float(group["lr"]) for group in optimizer.param_groups] == pytest.approx([0.04, 0.04])

    def test_a_tensor_put_in_by_somebody_else_is_taken_over(self) -> None:
        groups = [{"params": [torch.zeros(1)], "lr": torch.tensor(0.1)} for _ in range(2)]
        optimizer = torch.optim.SGD(groups)
        scheduler = Scheduler(optimizer, Linear(), Budget(steps=10))
        optimizer.param_groups[1]["lr"] = torch.tensor(7.0)
        drive(scheduler, 5)
        assert [float(group["lr"]) for group in optimizer.param_groups] == pytest.approx([0.05, 0.05])

    def test_double_precision_is_exact(self) -> None:
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=torch.tensor(0.1, dtype=torch.float64))
        scheduler = Scheduler(optimizer, Cosine(), Budget(steps=10))
        for k in range(10):
            assert float(optimizer.param_groups[0]["lr"]) == 0.1 * Cosine()(k / 10)
            drive(scheduler, 1)

    def test_vectors_are_refused(self) -> None:
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
        optimizer.param_groups[0]["lr"] = torch.ones(3)
        with pytest.raises(ValueError, match="parameter group 0: lr must hold one floating-point number"):
            Scheduler(optimizer, Linear(), Budget(steps=10))

    def test_optimizers_that_share_a_tensor_do_not_share_a_schedule(self) -> None:
        shared = torch.tensor(0.1)
        optimizers = [torch.optim.SGD([torch.zeros(1)], lr=shared) for _ in range(2)]
        warm = Scheduler(optimizers[0], Linear().after_warmup(0.5), Budget(steps=10))
        flat = Scheduler(optimizers[1], lehr.Constant(), Budget(steps=10))
        drive(warm, 5)
        drive(flat, 5)
        assert flat.base_lrs == pytest.approx([0.1])
        assert [float(o.param_groups[0]["lr"]) for o in optimizers] == pytest.approx([0.1, 0.1])
        drive(warm, 2)
        assert [float(o.param_groups[0]["lr"]) for o in optimizers] == pytest.approx([0.06, 0.1])

    def test_the_default_of_a_later_group_is_the_optimizers_own(self) -> None:
        groups = [{"params": [torch.zeros(1)], "lr": torch.tensor(0.5)}, {"params": [torch.zeros(1)]}]
        optimizer = torch.optim.SGD(groups, lr=torch.tensor(0.1))
        scheduler = Scheduler(optimizer, Linear(), Budget(steps=10))
        drive(scheduler, 5)
        optimizer.add_param_group({"params": [torch.ones(1)]})
        drive(scheduler, 1)
        assert scheduler.base_lrs == pytest.approx([0.5, 0.1, 0.1])

    def test_whole_numbers_are_refused(self) -> None:
        with pytest.raises(ValueError, match="lr must hold one floating-point number; got a tensor of torch.int64"):
            Scheduler(torch.optim.SGD([torch.zeros(1)], lr=torch.tensor(1)), Linear(), Budget(steps=10))


class TestGroupsThatChange:
    def test_a_group_replaced_by_another_joins_in(self) -> None:
        groups = [{"params": [torch.zeros(1)]}, {"params": [torch.zeros(1)]}]
        scheduler = Scheduler(torch.optim.SGD(groups, lr=0.1), Linear(), Budget(steps=10))
        drive(scheduler, 3)
        scheduler.optimizer.param_groups.pop(0)
        scheduler.optimizer.add_param_group({"params": [torch.zeros(1)], "lr": 0.2})
        drive(scheduler, 3)
        assert [group["lr"] for group in scheduler.optimizer.param_groups] == pytest.approx([0.04, 0.08])
        assert scheduler.get_last_lr() == pytest.approx([0.04, 0.08])

    def test_rates_are_known_at_once(self) -> None:
        scheduler = Scheduler(sgd(), Linear(), Budget(steps=10), count="calls")
        for _ in range(5):
            scheduler.step()
        scheduler.optimizer.add_param_group({"params": [torch.zeros(1)], "lr": 0.4})
        assert scheduler.get_last_lr() == pytest.approx([0.05, 0.2])
        assert scheduler.optimizer.param_groups[1]["lr"] == pytest.approx(0.2)

    @pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
    @pytest.mark.parametrize("lose", [lambda groups: groups[0].pop("lr"), lambda groups: groups.clear()])
    def test_what_is_lost_is_named(self, kind: Any, lose: Callable[[list[dict[str, Any]]], object]) -> None:
        optimizer = kind([torch.zeros(1, requires_grad=True)], lr=0.1)
        scheduler = Scheduler(optimizer, Linear(), Budget(steps=10))
        optimizer.step()
        betas = [group.get("betas") for group in optimizer.param_groups]
        lose(optimizer.param_groups)
        with pytest.raises(ValueError, match="has lost its .* which the scheduler sets: put"):
            scheduler.step()
        assert [group.get("betas") for group in optimizer.param_groups] in (betas, [])

    def test_momentum_in_some_groups_and_betas_in_others(self) -> None:
        class Hybrid(torch.optim.Optimizer):
            def step(self, closure=None):
                return None

        groups = [{"params": [torch.zeros(1)], "momentum": 0.95}, {"params": [torch.zeros(1)], "betas": (0.9, 0.99)}]
        optimizer = Hybrid(groups, {"lr": 0.1})
        scheduler = Scheduler(optimizer, Linear(), Budget(steps=4), also={"momentum": Linear(1, 0.5)})
        drive(scheduler, 2)
        assert optimizer.param_groups[0]["momentum"] == pytest.approx(0.95 * 0.75)
        assert optimizer.param_groups[1]["betas"] == (pytest.approx(0.9 * 0.75), 0.99)
        assert "momentum" not in optimizer.param_groups[1]


class TestPreview:
    def test_it_is_what_training_does(self) -> None:
        scheduler = Scheduler(sgd(), lehr.one_cycle(), Budget(steps=20))
        table = scheduler.preview()
        assert [rates[0] for _, _, rates in table] == drive(scheduler, 20)
        assert len(table) == 20

    def test_it_starts_from_here(self) -> None:
        scheduler = Scheduler(sgd(), Linear(), Budget(steps=20))
        drive(scheduler, 15)
        assert scheduler.preview().spent == (15, 16, 17, 18, 19)
        drive(scheduler, 5)
        assert len(scheduler.preview()) == 0

    @pytest.mark.parametrize(
        "budget", [Budget(samples=100, samples_per_step=32), Budget(epochs=0.5, steps_per_epoch=7)]
    )
    def test_incomplete_last_updates_are_listed(self, budget: Budget) -> None:
        scheduler = Scheduler(sgd(), Linear(), budget)
        table = scheduler.preview()
        assert len(table) == budget.updates == 4
        assert [rates[0] for _, _, rates in table] == drive(scheduler, 4)
        assert scheduler.finished

    @pytest.mark.parametrize(
        ("budget", "longer"),
        [
            (Budget(steps=150_000), Budget(steps=170_000)),
            (Budget(samples=70.5, samples_per_step=0.5), Budget(samples=99, samples_per_step=0.5)),
            (Budget(seconds=60), Budget(seconds=90)),
        ],
    )
    def test_columns_are_the_rows(self, budget: Budget, longer: Budget) -> None:
        groups = [{"params": [torch.zeros(1)]}, {"params": [torch.zeros(1)], "lr": 0.7}]
        schedules = [lehr.one_cycle(), lehr.parse_schedule("Steps(at=(0.3, 0.6))")]
        scheduler = Scheduler(torch.optim.SGD(groups, lr=0.1), schedules, budget)
        drive(scheduler, 3)
        scheduler.rebudget(longer, how="continue")
        table = scheduler.preview()
        spent, progress, rates = zip(*table, strict=True)
        assert table.spent == spent
        assert table.progress == progress
        assert set(map(type, table.spent)) == set(map(type, spent))
        np.testing.assert_allclose(table.rates, rates, rtol=1e-12)

    def test_seconds_are_listed_by_share(self) -> None:
        table = Scheduler(sgd(), Linear(), Budget(seconds=60)).preview()
        assert (table.unit, len(table), table.spent[-1], table.rates[-1]) == ("seconds", 101, 60, (0.0,))

    def test_it_prints(self) -> None:
        text = str(Scheduler(sgd(), Linear(), Budget(steps=1000)).preview())
        assert text.splitlines()[0].split() == ["steps", "progress", "learning", "rate"]
        assert len(text.splitlines()) == 12

    def test_policies_that_look_have_none(self) -> None:
        from contract.policies import Plateau

        with pytest.raises(TypeError, match=r"Plateau\(\) looks at training, so there is nothing to preview"):
            Scheduler(sgd(), Plateau(), Budget(steps=2)).preview()


class TestObserving:
    def test_a_missing_loss_is_asked_for(self) -> None:
        from contract.policies import Plateau

        scheduler = Scheduler(sgd(), Plateau(), Budget(steps=2))
        with pytest.raises(ValueError, match=r"Plateau\(\) needs loss: call scheduler.observe\(loss=loss\)"):
            scheduler.observe()

    def test_schedules_take_no_notice(self) -> None:
        scheduler = Scheduler(sgd(), Linear(), Budget(steps=2))
        scheduler.observe(loss=3.0, loss_at=lambda factor: 0.0)
        assert scheduler.get_last_lr() == [0.1]

    def test_a_policy_acts_before_the_update_it_observed(self) -> None:
        from contract.policies import Plateau

        scheduler = Scheduler(sgd(), Plateau(), Budget(steps=5))
        scheduler.observe(loss=1.0)
        scheduler.observe(loss=2.0)
        assert scheduler.get_last_lr() == [0.05]


class TestResume:
    def test_a_changed_curve_budget_or_rate_is_reported(self) -> None:
        first = Scheduler(sgd(), Linear(), Budget(steps=10))
        drive(first, 3)
        state = first.state_dict()
        for other, name in (
            (Scheduler(sgd(), Cosine(), Budget(steps=10)), "curve"),
            (Scheduler(sgd(), Linear(), Budget(steps=20)), "budget"),
            (Scheduler(sgd(lr=0.2), Linear(), Budget(steps=10)), "base_lrs"),
        ):
            before = other.get_last_lr()
            with pytest.raises(ValueError, match=rf"{name}: checkpoint .* here .*(.|\n)*accept=\['{name}'\]"):
                other.load_state_dict(state)
            assert (other.spent, other.get_last_lr()) == (0, before)
            other.load_state_dict(state, accept=name)
            assert other.spent == 3
        assert other.get_last_lr() == [pytest.approx(0.2 * 0.7)]

    def test_a_longer_budget_when_accepted_jumps(self) -> None:
        first = Scheduler(sgd(), Linear(), Budget(steps=10))
        drive(first, 5)
        second = Scheduler(sgd(), Linear(), Budget(steps=20))
        second.load_state_dict(first.state_dict(), accept=["budget"])
        assert second.progress == 0.25

    def test_a_rebudgeted_run_resumes(self) -> None:
        first = Scheduler(sgd(), Linear(), Budget(steps=10))
        drive(first, 5)
        first.rebudget(Budget(steps=20), how="continue")
        state = first.state_dict()
        second = Scheduler(sgd(), Linear(), Budget(steps=20))
        second.load_state_dict(state)
        assert drive(second, 15) == drive(first, 15)

    def test_a_new_number_of_groups_is_reported(self) -> None:
        state = Scheduler(sgd(), Linear(), Budget(steps=10)).state_dict()
        two = torch.optim.SGD([{"params": [torch.zeros(1)]}, {"params": [torch.zeros(1)]}], lr=0.1)
        with pytest.raises(ValueError, match=r"groups: checkpoint 1, here 2"):
            Scheduler(two, Linear(), Budget(steps=10)).load_state_dict(state)

    def test_what_is_no_checkpoint_is_refused(self) -> None:
        scheduler = Scheduler(sgd(), Linear(), Budget(steps=10))
        with pytest.raises(ValueError, match=r"no checkpoint of a lehr.Scheduler: it has no clock, policy"):
            scheduler.load_state_dict({"last_epoch": 3})
        with pytest.raises(ValueError, match="accept takes curve, budget, groups, base_lrs; got 'horizon'"):
            scheduler.load_state_dict(scheduler.state_dict(), accept="horizon")

    def test_between_an_update_and_its_step(self) -> None:
        """Frameworks that step once an epoch save in the middle of one."""
        first = Scheduler(sgd(), Linear(), Budget(epochs=2, steps_per_epoch=8))
        for _ in range(5):
            first.optimizer.step()
        second = Scheduler(sgd(), Linear(), Budget(epochs=2, steps_per_epoch=8))
        second.load_state_dict(first.state_dict())
        for _ in range(3):
            second.optimizer.step()
        second.step()
        assert second.spent == 8

    def test_between_the_loss_and_its_update(self) -> None:
        from contract.policies import Plateau

        first = Scheduler(sgd(), Plateau(), Budget(steps=8))
        first.observe(loss=1.0)
        first.observe(loss=2.0)
        second = Scheduler(sgd(), Plateau(), Budget(steps=8))
        second.load_state_dict(first.state_dict())
        assert second.get_last_lr() == first.get_last_lr() == [0.05]

    def test_seconds_do_not_become_steps(self) -> None:
        first = Scheduler(sgd(), Linear(), Budget(steps=1000))
        drive(first, 5)
        second = Scheduler(sgd(), Linear(), Budget(seconds=3600))
        with pytest.raises(ValueError, match=r"counts updates \(Budget\(steps=1000\)\), but .* counts seconds"):
            second.load_state_dict(first.state_dict(), accept="budget")
        assert second.spent == 0

    def test_the_same_budget_in_other_words_is_the_same(self) -> None:
        first = Scheduler(sgd(), Linear(1, 0), Budget(steps=100))
        drive(first, 5)
        second = Scheduler(sgd(), Linear(1.0, 0.0), Budget(epochs=10, steps_per_epoch=10, samples_per_step=32))
        second.load_state_dict(first.state_dict())
        assert second.spent == 5

    def test_a_turn_survives_another_batch_size(self) -> None:
        first = Scheduler(sgd(), Linear(), Budget(tokens=1000, tokens_per_step=10))
        drive(first, 50)
        first.rebudget(Budget(tokens=2000, tokens_per_step=10), how="continue")
        second = Scheduler(sgd(), Linear(), Budget(tokens=2000, tokens_per_step=20))
        second.load_state_dict(first.state_dict())
        assert second.progress == first.progress == 0.5


class TestRebudget:
    def test_continue_keeps_the_factor_and_reaches_the_same_end(self) -> None:
        scheduler = Scheduler(sgd(), Cosine(), Budget(steps=10))
        drive(scheduler, 4)
        before = scheduler.get_last_lr()
        scheduler.rebudget(Budget(steps=34), how="continue")
        assert scheduler.get_last_lr() == before
        rates = drive(scheduler, 30)
        assert rates == pytest.approx([0.1 * Cosine()(0.4 + 0.6 * k / 30) for k in range(30)])
        assert scheduler.finished

    def test_jump_goes_where_it_would_have_been(self) -> None:
        scheduler = Scheduler(sgd(), Linear(), Budget(steps=10))
        drive(scheduler, 4)
        scheduler.rebudget(Budget(steps=40), how="jump")
        assert scheduler.get_last_lr() == [pytest.approx(0.09)]
        assert scheduler.preview().rates[0] == tuple(scheduler.get_last_lr())

    def test_nothing_is_left_to_continue_of_a_finished_run(self) -> None:
        scheduler = Scheduler(sgd(), Linear(), Budget(steps=4))
        drive(scheduler, 4)
        with pytest.raises(ValueError, match="nothing of the curve is left to continue; use how='jump'"):
            scheduler.rebudget(Budget(steps=8), how="continue")

    @pytest.mark.filterwarnings("ignore:the run ended in the middle of a cycle")
    def test_without_an_end_continuing_does_not_jump_either(self) -> None:
        scheduler = Scheduler(sgd(), lehr.Triangular(), Budget.every(steps=10))
        drive(scheduler, 43)
        before = scheduler.get_last_lr()
        scheduler.rebudget(Budget.every(steps=40), how="continue")
        assert scheduler.get_last_lr() == pytest.approx(before)
        assert scheduler.progress == pytest.approx(4.3)
        assert len(scheduler.preview()) == 40


class TestWarnings:
    def test_loading_only_to_evaluate_is_quiet(self) -> None:
        first = Scheduler(sgd(), Linear(), Budget(steps=100))
        drive(first, 10)
        second = Scheduler(sgd(), Linear(), Budget(steps=100))
        second.load_state_dict(first.state_dict())
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            del second
            gc.collect()

    def test_they_point_at_the_users_line(self) -> None:
        scheduler = Scheduler(sgd(), Linear(), Budget(steps=2))
        with pytest.warns(BudgetWarning) as said:
            for _ in range(100):
                scheduler.step()
        with pytest.warns(BudgetWarning) as beyond:
            for _ in range(6):
                scheduler.optimizer.step()
                scheduler.step()
        assert {said[0].filename, beyond[0].filename} == {__file__}

    def test_a_run_that_ends_early_says_so(self) -> None:
        scheduler = Scheduler(sgd(), Linear(), Budget(steps=1000))
        drive(scheduler, 400)
        with warnings.catch_warnings(record=True) as said:  # of the runs of other tests, perhaps, too
            warnings.simplefilter("always")
            RunsUnderWay.report()  # as when the program ends
        assert any("the run ended after 40% of its budget of 1,000 steps" in str(one.message) for one in said)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            run = weakref.ref(scheduler._run)
            del scheduler  # nobody is told in the middle of something else
            gc.collect()
        assert run() is None

    def test_a_run_that_was_dropped_is_quiet_though_it_refers_to_itself(self) -> None:
        """As that of a trial that was pruned, whose error holds on to it."""
        gc.disable()
        try:
            circle: list[object] = [Scheduler(sgd(), Linear(), Budget(steps=1000))]
            circle.append(circle)
            drive(circle[0], 400)
            run = weakref.ref(circle[0]._run)
            del circle
            assert run() is not None
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the runs of other tests
                RunsUnderWay.report()
            assert run() is None
        finally:
            gc.enable()

    @pytest.mark.parametrize(
        ("budget", "updates"), [(Budget(steps=100), 100), (Budget(steps=100), 0), (Budget.every(steps=100), 9)]
    )
    def test_a_run_that_ends_well_is_quiet(self, budget: Budget, updates: int) -> None:
        scheduler = Scheduler(sgd(), Linear(), budget)
        drive(scheduler, updates)
        assert scheduler._run.early is None


def test_two_schedulers_in_turn_start_from_the_same_base() -> None:
    optimizer = sgd()
    first = Scheduler(optimizer, Linear(), Budget(steps=4))
    drive(first, 4)
    del first
    second = Scheduler(optimizer, Linear(), Budget(steps=4))
    assert drive(second, 4) == pytest.approx([0.1, 0.075, 0.05, 0.025])


def test_optimizers_can_still_be_copied_and_pickled() -> None:
    import pickle

    scheduler = Scheduler(sgd(), Linear(), Budget(steps=4))
    drive(scheduler, 1)
    assert copy.deepcopy(scheduler.optimizer).param_groups[0]["lr"] == pytest.approx(0.075)
    assert pickle.loads(pickle.dumps(scheduler.optimizer)).param_groups[0]["lr"] == pytest.approx(0.075)


def test_schedulers_can_be_copied_and_pickled_with_their_optimizer() -> None:
    import pickle

    for tensor in (False, True):
        groups = [{"params": [torch.zeros(1)], "lr": torch.tensor(0.1) if tensor else 0.1} for _ in range(2)]
        scheduler = Scheduler(torch.optim.SGD(groups), Linear(), Budget(steps=4))
        drive(scheduler, 1)
        for twin in (copy.deepcopy(scheduler), pickle.loads(pickle.dumps(scheduler))):
            drive(twin, 1)
            assert twin.spent == 2
            assert [float(group["lr"]) for group in twin.optimizer.param_groups] == pytest.approx([0.05, 0.05])
        assert scheduler.spent == 1
        assert [float(group["lr"]) for group in scheduler.optimizer.param_groups] == pytest.approx([0.075, 0.075])


@pytest.mark.parametrize("value", [Linear(), lehr.LRTuner(), Linear().after_warmup(0.1)])
def test_what_is_no_scheduler_says_so_where_it_is_used_as_one(value: object) -> None:
    for name in ("step", "get_last_lr", "optimizer"):
        assert not hasattr(value, name)
        with pytest.raises(AttributeError, match=r"write lehr.Scheduler\(optimizer, .*, budget\)"):
            getattr(value, name)
    with pytest.raises(AttributeError, match="has no attribute 'anything'$"):
        value.anything  # type: ignore[attr-defined] # noqa: B018


def test_torchs_own_compositions_are_refused_in_words() -> None:
    optimizer = sgd()
    inner = [torch.optim.lr_scheduler.ConstantLR(optimizer), Scheduler(optimizer, Linear(), Budget(steps=4))]
    with pytest.raises(AttributeError, match="lehr.Scheduler (counts updates itself|cannot be put inside)"):
        torch.optim.lr_scheduler.SequentialLR(optimizer, inner, [1])


@pytest.mark.parametrize("answer", [math.nan, -1.0, (1.0, math.inf)])
def test_answers_that_are_no_factors_are_refused(answer: object) -> None:
    class Wrong(lehr.Policy):
        def factors(self, moment):
            return answer

        def __repr__(self) -> str:
            return "Wrong()"

    optimizer = torch.optim.SGD([{"params": [torch.zeros(1)]}, {"params": [torch.zeros(1)]}], lr=0.1)
    with pytest.raises(ValueError, match=r"Wrong\(\) gave .*; a factor is a finite number, at least 0"):
        Scheduler(optimizer, Wrong(), Budget(steps=4))


@pytest.mark.parametrize("answer", [1, torch.tensor(0.5), (1, 0.5), torch.tensor([1.0, 0.5])])
def test_answers_may_be_any_kind_of_number(answer: object) -> None:
    class Right(lehr.Policy):
        def factors(self, moment):
            return answer

        def __repr__(self) -> str:
            return "Right()"

    optimizer = torch.optim.SGD([{"params": [torch.zeros(1)]}, {"params": [torch.zeros(1)]}], lr=0.1)
    assert all(type(rate) is float for rate in Scheduler(optimizer, Right(), Budget(steps=4)).get_last_lr())


def test_policies_see_a_loss_without_its_graph() -> None:
    seen = []

    class Watcher(lehr.Policy):
        def factors(self, moment):
            seen.append(moment.loss)
            return 1.0

        def __repr__(self) -> str:
            return "Watcher()"

    scheduler = Scheduler(sgd(), Watcher(), Budget(steps=4))
    scheduler.observe(loss=torch.ones(1, requires_grad=True).sum())
    assert seen[-1].grad_fn is None


def test_seconds_leave_out_pauses() -> None:
    time = [0.0]
    scheduler = Scheduler(sgd(), Linear(), Budget(seconds=10), now=lambda: time[0])
    scheduler.clock.start()
    time[0] += 4
    with scheduler.paused():
        time[0] += 100
    drive(scheduler, 1)
    assert scheduler.spent == 4
    assert scheduler.get_last_lr() == [pytest.approx(0.06)]


class Remembers(lehr.Policy):
    """Looks at the loss, and would remember one that it cannot read."""

    needs = ("loss",)

    def __init__(self) -> None:
        self.seen: list[float] = []

    def __repr__(self) -> str:
        return "Remembers()"

    def factors(self, moment: lehr.Moment) -> float:
        if moment.loss is not None:
            self.seen.append(1.0)
            self.seen[-1] = float(moment.loss)
        return 1.0

    def state_dict(self) -> dict[str, object]:
        return {"seen": list(self.seen)}


@pytest.mark.parametrize("loss", [torch.ones(2), [1.0], "1", torch.tensor(1j), np.array([1.0, 2.0]), object(), True])
def test_what_is_no_loss_is_refused_before_a_policy_sees_it(loss: object) -> None:
    scheduler = Scheduler(sgd(), Remembers(), Budget(steps=3))
    before = scheduler.state_dict()
    with pytest.raises(ValueError, match="observe: loss must be one real number"):
        scheduler.observe(loss=loss)
    assert scheduler.state_dict() == before


@pytest.mark.parametrize(
    ("loss", "seen"), [(np.float32(0.5), 0.5), (np.array([2.0]), 2.0), (10**400, math.inf), (Fraction(1, 4), 0.25)]
)
def test_losses_are_numbers_of_any_kind(loss: object, seen: float) -> None:
    policy = Remembers()
    Scheduler(sgd(), policy, Budget(steps=3)).observe(loss=loss)
    assert policy.seen == [seen]


@pytest.mark.parametrize("amount", [10**400, torch.ones(2), "3", [3], math.nan, math.inf, -1])
def test_what_is_no_amount_is_refused(amount: object) -> None:
    scheduler = Scheduler(sgd(), Linear(), Budget(samples=100))
    with pytest.raises(ValueError, match="observe: samples must be a finite number, at least 0"):
        scheduler.observe(samples=amount)  # type: ignore[arg-type]


@pytest.mark.parametrize("rate", [math.nan, math.inf, -0.1, 10**400])
def test_rates_that_are_none_are_refused(rate: float) -> None:
    optimizer = sgd()
    scheduler = Scheduler(optimizer, Linear(), Budget(steps=4))
    for rates in ([rate], [0.1, 0.1], rate, "0"):
        with pytest.raises(ValueError, match="rates must be 1 numbers"):
            scheduler.rescale(rates)  # type: ignore[arg-type]
    assert scheduler.base_lrs == scheduler.get_last_lr() == [0.1]
    other = sgd()
    other.param_groups[0]["lr"] = rate
    with pytest.raises(ValueError, match="parameter group 0: lr must be finite and at least 0"):
        Scheduler(other, Linear(), Budget(steps=4))


@pytest.mark.parametrize("tensor", [False, True])
def test_an_optimizers_checkpoint_without_base_rates_does_not_set_them(tensor: bool) -> None:
    """It may stem from the middle of a run; a rate that is the base anyway needs no word."""
    saved = sgd(0.25).state_dict()
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=torch.tensor(0.5) if tensor else 0.5)
    scheduler = Scheduler(optimizer, Linear(), Budget(steps=4))
    optimizer.load_state_dict(copy.deepcopy(saved))
    with pytest.warns(
        BudgetWarning, match=r"says lr=0.25, but has no initial_lr .* base values that it was built with"
    ):
        assert scheduler.get_last_lr() == [0.5]
    assert float(optimizer.param_groups[0]["lr"]) == 0.5
    drive(scheduler, 1)
    assert scheduler.get_last_lr() == [0.375]
    saved["param_groups"][0]["lr"] = 0.5
    optimizer.load_state_dict(saved)
    assert scheduler.get_last_lr() == [0.375]
    optimizer.add_param_group({"params": [torch.zeros(1, requires_grad=True)], "lr": 0.1})
    assert scheduler.get_last_lr() == [0.375, pytest.approx(0.075)]


def test_a_group_that_is_added_to_the_first_of_two_optimizers_is_in_nobodys_place() -> None:
    first, second = sgd(0.1), sgd(0.2)
    scheduler = Scheduler([first, second], Linear(), Budget(steps=4))
    first.add_param_group({"params": [torch.zeros(1, requires_grad=True)], "lr": 0.3})
    with warnings.catch_warnings():
        warnings.simplefilter("error", BudgetWarning)
        assert scheduler.get_last_lr() == [0.1, 0.3, 0.2]
    second.add_param_group({"params": [torch.zeros(1, requires_grad=True)], "lr": 0.4})
    scheduler.rescale([1.0, 3.0, 2.0, 4.0])  # those of the new group, too
    assert scheduler.base_lrs == [1.0, 3.0, 2.0, 4.0]


class Verbose(lehr.Policy):
    """Refuses whatever it is given, at length."""

    def factors(self, moment: lehr.Moment) -> float:
        return 1.0

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        raise ValueError("x" * 10**6)

    def __repr__(self) -> str:
        return "Verbose()"


def test_what_somebody_else_says_is_passed_on_in_part() -> None:
    state = Scheduler(sgd(), Verbose(), STEP).state_dict()
    with pytest.raises(ValueError, match=r"^Verbose\(\) refuses its part of the checkpoint: ValueError: x{900,1000}$"):
        Scheduler(sgd(), Verbose(), STEP).load_state_dict(state)


def test_what_was_observed_belongs_to_a_budget_that_counts_it() -> None:
    scheduler = Scheduler(sgd(), Linear(), Budget(steps=4))
    state = scheduler.state_dict()
    state["pending"]["observed"] = 3.0
    with pytest.raises(ValueError, match="observed must be None, since steps are the budget; got 3.0"):
        scheduler.load_state_dict(state)


def test_a_data_parallel_of_another_type_is_refused_on_one_process_too() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    with pytest.raises(TypeError, match="data_parallel must be a torch.distributed.ProcessGroup"):
        lehr.Scheduler(optimizer, lehr.Linear(), lehr.Budget(steps=2), data_parallel=[0, 1])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "use",
    [
        lambda old: old.load_state_dict(old.state_dict()),
        lambda old: old.rebudget(Budget(steps=20), how="jump"),
        lambda old: old.finish_by(Budget(steps=2)),
        lambda old: old.rescale([0.5]),
        lambda old: old.observe(loss=1.0),
        lambda old: old.step(),
    ],
)
def test_one_that_drives_no_more_leaves_the_rates_alone(use: Callable[[Scheduler], None]) -> None:
    optimizer = sgd()
    old = Scheduler(optimizer, Linear(), Budget(steps=10))
    drive(old, 3)
    new = Scheduler(optimizer, Cosine(), Budget(steps=10))
    drive(new, 1)
    with pytest.raises(RuntimeError, match="no longer drives its optimizer"):
        use(old)
    assert optimizer.param_groups[0]["lr"] == new.get_last_lr()[0]
    assert new.base_lrs == [0.1]
