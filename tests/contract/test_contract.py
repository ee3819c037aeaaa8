"""What every policy does, without exceptions, through `lehr.Training`."""

from __future__ import annotations

import gc
import io
import math
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import lehr
from contract.policies import POLICIES, Maker
from contract.training import DEVICE, GROUPS, OPTIMIZERS, STEPS, MakeOptimizer, Run

every_policy = pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())
every_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
both_kinds_of_rate = pytest.mark.parametrize("tensor", [False, True], ids=["float", "tensor"])


def through_a_file(state: dict[str, object]) -> dict[str, object]:
    """As a checkpoint that a careful reader loads."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    loaded: dict[str, object] = torch.load(file, weights_only=True)
    return loaded


@every_policy
@every_optimizer
@both_kinds_of_rate
@pytest.mark.parametrize("stop", [1, 7, STEPS - 1])
@pytest.mark.parametrize("training_first", [True, False], ids=["training loaded first", "scheduler loaded first"])
def test_resume_is_exact(
    policy: Maker, optimizer: MakeOptimizer, tensor: bool, stop: int, training_first: bool
) -> None:
    whole = Run(policy, optimizer, tensor).run(STEPS)
    first = Run(policy, optimizer, tensor).run(stop)
    training, scheduler = (through_a_file(part.state_dict()) for part in (first.training, first.scheduler))
    before = repr((training, scheduler))

    second = Run(policy, optimizer, tensor)
    for part, state in ((second.training, training), (second.scheduler, scheduler))[:: 1 if training_first else -1]:
        part.load_state_dict(state)
    assert repr((training, scheduler)) == before  # what was handed in is left alone
    second.run(STEPS - stop)
    assert second.rates == whole.rates[stop:]
    assert torch.equal(second.weights(), whole.weights())
    assert second.scheduler.finished


@every_policy
@both_kinds_of_rate
def test_optimizer_loaded_before_the_scheduler_is_built(policy: Maker, tensor: bool) -> None:
    whole = Run(policy, tensor=tensor).run(STEPS)
    first = Run(policy, tensor=tensor).run(9)
    second = Run(policy, tensor=tensor)
    second.training.load_state_dict(through_a_file(first.training.state_dict()))
    second.scheduler = lehr.Scheduler(second.training, policy(second.model), second.budget)
    second.scheduler.load_state_dict(through_a_file(first.scheduler.state_dict()))
    second.run(STEPS - 9)
    assert second.rates == whole.rates[9:]
    assert torch.equal(second.weights(), whole.weights())


@every_policy
@pytest.mark.parametrize("batches", [1, 2])
def test_resume_is_exact_in_the_middle_of_an_accumulation(policy: Maker, batches: int, tmp_path: Path) -> None:
    whole = Run(policy, accumulate=3).run(12)
    first = Run(policy, accumulate=3).run(5)
    for _ in range(batches):
        first.training.backward_micro_batch()
    lehr.Checkpoints(tmp_path, training=first.training, scheduler=first.scheduler).save(5)

    second = Run(policy, accumulate=3)
    assert lehr.Checkpoints(tmp_path, training=second.training, scheduler=second.scheduler).resume() == 5
    second.run(7)
    assert second.rates == whole.rates[5:]
    assert torch.equal(second.weights(), whole.weights())


@every_policy
def test_several_optimizers_are_driven_as_one(policy: Maker) -> None:
    one, several = Run(policy).run(STEPS), Run(policy, parts=True).run(STEPS)
    assert several.rates == one.rates
    assert torch.equal(several.weights(), one.weights())
    assert several.scheduler.updates == STEPS


@every_policy
def test_several_optimizers_resume_exactly(policy: Maker) -> None:
    whole = Run(policy, parts=True).run(STEPS)
    first = Run(policy, parts=True).run(7)
    second = Run(policy, parts=True)
    second.training.load_state_dict(through_a_file(first.training.state_dict()))
    second.scheduler.load_state_dict(through_a_file(first.scheduler.state_dict()))
    second.run(STEPS - 7)
    assert second.rates == whole.rates[7:]
    assert torch.equal(second.weights(), whole.weights())


@every_policy
def test_a_training_runs_by_itself(policy: Maker) -> None:
    run = Run(policy)
    losses = [float(loss) for loss in run.training.run(run.scheduler)]
    assert len(losses) == STEPS
    assert all(map(math.isfinite, losses))
    assert run.scheduler.finished


@every_policy
def test_a_trial_leaves_no_trace(policy: Maker) -> None:
    whole = Run(policy).run(STEPS)
    run = Run(policy).run(7)
    with run.training.untouched():
        for _ in range(5):
            run.training.step()
    lehr.range_test(run.training, low=1e-4, high=0.1, steps=12)
    run.run(STEPS - 7)
    assert run.rates == whole.rates
    assert torch.equal(run.weights(), whole.weights())


@every_policy
def test_groups_keep_their_ratios(policy: Maker) -> None:
    run = Run(policy).run(STEPS)
    for (_, _, factors), rates in zip(run.scheduler.history, run.rates, strict=False):
        wide = factors * GROUPS if len(factors) == 1 else factors
        assert rates == [0.1 / (1 + i) * factor for i, factor in enumerate(wide)]


@every_policy
@both_kinds_of_rate
def test_another_peak_keeps_ratios_and_curve(policy: Maker, tensor: bool) -> None:
    run = Run(policy, tensor=tensor).run(3)
    before = run.scheduler.get_last_lr()
    run.training.set_peak(0.2)
    assert run.training.peak == pytest.approx(0.2)
    assert run.scheduler.get_last_lr() == pytest.approx([2.0 * rate for rate in before])
    assert [float(group["lr"]) for group in run.optimizer.param_groups] == pytest.approx(run.scheduler.get_last_lr())


@every_policy
def test_tensor_and_float_rates_agree(policy: Maker) -> None:
    floats, tensors = Run(policy).run(STEPS), Run(policy, tensor=True).run(STEPS)
    assert torch.allclose(torch.tensor(floats.rates), torch.tensor(tensors.rates), rtol=1e-3, atol=1e-9)


@every_policy
def test_tensor_rates_are_filled_in_place(policy: Maker) -> None:
    run = Run(policy, tensor=True)
    tensors = [group["lr"] for group in run.optimizer.param_groups]
    places = [tensor.data_ptr() for tensor in tensors]  # from which a graph reads that was captured before
    run.run(STEPS)
    assert [tensor.data_ptr() for tensor in tensors] == places
    assert all(group["lr"] is tensor for group, tensor in zip(run.optimizer.param_groups, tensors, strict=True))
    for index, group in enumerate(run.optimizer.param_groups):
        assert group["initial_lr"] == pytest.approx(0.1 / (1 + index))


@every_policy
def test_skipped_updates_spend_nothing(policy: Maker) -> None:
    """GradScaler's skips, by its own hand: the third and fourth gradients are infinite."""
    run = Run(policy, scaler=torch.amp.GradScaler(DEVICE, init_scale=2.0))
    plain, count = run.training._update.loss, 0

    def loss(model: torch.nn.Module, inputs: torch.Tensor) -> torch.Tensor:
        nonlocal count
        count += 1
        return plain(model, inputs) * (math.inf if count in (3, 4) else 1.0)

    run.training._update.loss = loss
    spent = []
    for _ in range(6):
        run.training.backward()
        run.scheduler.observe(loss=0.5, loss_at=lambda factor: (1.0 - factor / 8.0) ** 2)
        run.training.update()
        run.scheduler.step()
        spent.append(run.scheduler.spent)
    assert spent == [1, 2, 2, 2, 3, 4]


@every_policy
@both_kinds_of_rate
def test_nothing_raises_past_the_end(policy: Maker, tensor: bool) -> None:
    run = Run(policy, tensor=tensor).run(STEPS)
    with pytest.warns(lehr.BudgetWarning, match="the budget of 24 steps is spent"):
        run.run(2 * STEPS)
    assert run.scheduler.finished
    assert run.scheduler.remaining == 0
    assert all(math.isfinite(rate) and rate >= 0 for rates in run.rates for rate in rates)


@every_policy
@both_kinds_of_rate
def test_groups_added_in_the_middle_join_in(policy: Maker, tensor: bool) -> None:
    if policy in (POLICIES[name] for name in ("one schedule a group", "layers and a policy", "tuner and layers")):
        with pytest.raises(ValueError, match=r"3 (schedules|factors) for 4 parameter groups"):
            _with_a_new_group(policy, tensor)
        return
    run, rates = _with_a_new_group(policy, tensor)
    for new, old in rates:
        assert new == pytest.approx(old * 0.5 / (0.1 / GROUPS))
    assert run.scheduler.base_lrs[-1] == pytest.approx(0.5)


def _with_a_new_group(policy: Maker, tensor: bool) -> tuple[Run, list[tuple[float, float]]]:
    run = Run(policy, tensor=tensor).run(8)
    head = torch.nn.Linear(6, 6).to(DEVICE)
    run.model.append(head)
    lr = torch.tensor(0.5, device=DEVICE) if tensor else 0.5
    run.optimizer.add_param_group({"params": list(head.parameters()), "lr": lr})
    rates = []
    run.optimizer.register_step_pre_hook(
        lambda optimizer, *_: rates.append(tuple(float(optimizer.param_groups[i]["lr"]) for i in (GROUPS, GROUPS - 1)))
    )
    run.run(8)
    return run, rates  # the very first update already uses the scheduled rate


@every_policy
def test_the_state_is_small_and_plain(policy: Maker) -> None:
    run = Run(policy).run(5)
    state = run.scheduler.state_dict()
    tensors = [value for value in _leaves(state) if isinstance(value, torch.Tensor) and value.numel() > 1]
    others = [value for value in _leaves(state) if not isinstance(value, torch.Tensor)]
    assert sum(tensor.numel() for tensor in tensors) <= 2 * run.weights().numel()  # weights and momentum to go back to
    assert len(repr(others)) < 3_000
    assert through_a_file(state).keys() == state.keys()


@every_policy
def test_two_identical_runs_write_the_same_checkpoint(policy: Maker) -> None:
    first, second = Run(policy).run(5), Run(policy).run(5)
    assert repr(first.scheduler.state_dict()) == repr(second.scheduler.state_dict())


def _leaves(value: object) -> Iterator[object]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else None
    if inner is None:
        yield value
    else:
        for one in inner:
            yield from _leaves(one)


@every_policy
def test_no_cycles_keep_the_optimizer_alive(policy: Maker) -> None:
    gc.collect()
    gc.disable()
    try:
        run = Run(policy).run(3)
        optimizer, scheduler = weakref.ref(run.optimizer), weakref.ref(run.scheduler)
        del run.scheduler
        assert scheduler() is None
        assert not run.optimizer._optimizer_step_post_hooks
        del run.training, run.optimizers
        assert optimizer() is None
    finally:
        gc.enable()
