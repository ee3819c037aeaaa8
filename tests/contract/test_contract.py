"""What every policy does, without exceptions."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator

import pytest
import torch

import lehr
from contract.policies import POLICIES, Maker
from contract.training import GROUPS, OPTIMIZERS, STEPS, MakeOptimizer, Training

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
@pytest.mark.parametrize("optimizer_first", [True, False], ids=["optimizer loaded first", "scheduler loaded first"])
def test_resume_is_exact(
    policy: Maker, optimizer: MakeOptimizer, tensor: bool, stop: int, optimizer_first: bool
) -> None:
    whole = Training(policy, optimizer, tensor).run(0, STEPS)
    first = Training(policy, optimizer, tensor).run(0, stop)
    states = [through_a_file(thing.state_dict()) for thing in (first.model, first.optimizer, first.scheduler)]
    before = repr(states)

    second = Training(policy, optimizer, tensor)
    second.model.load_state_dict(states[0])
    if optimizer_first:
        second.optimizer.load_state_dict(states[1])
        second.scheduler.load_state_dict(states[2])
    else:
        second.scheduler.load_state_dict(states[2])
        second.optimizer.load_state_dict(states[1])
    assert repr(states) == before  # what was handed in is left alone
    second.run(stop, STEPS)
    assert second.rates == whole.rates[stop:]
    assert torch.equal(second.weights(), whole.weights())
    assert second.scheduler.finished


@every_policy
@both_kinds_of_rate
def test_optimizer_loaded_before_the_scheduler_is_built(policy: Maker, tensor: bool) -> None:
    whole = Training(policy, tensor=tensor).run(0, STEPS)
    first = Training(policy, tensor=tensor).run(0, 9)
    second = Training(policy, tensor=tensor)
    second.model.load_state_dict(first.model.state_dict())
    second.optimizer.load_state_dict(through_a_file(first.optimizer.state_dict()))
    second.scheduler = lehr.Scheduler(second.optimizer, policy(second.model), second.budget)
    second.scheduler.load_state_dict(through_a_file(first.scheduler.state_dict()))
    second.run(9, STEPS)
    assert second.rates == whole.rates[9:]
    assert torch.equal(second.weights(), whole.weights())


@every_policy
def test_groups_keep_their_ratios(policy: Maker) -> None:
    training = Training(policy).run(0, STEPS)
    for (_, _, factors), rates in zip(training.scheduler.history, training.rates, strict=False):
        wide = factors * GROUPS if len(factors) == 1 else factors
        assert rates == [0.1 / (1 + i) * factor for i, factor in enumerate(wide)]


@every_policy
def test_tensor_and_float_rates_agree(policy: Maker) -> None:
    floats, tensors = Training(policy).run(0, STEPS), Training(policy, tensor=True).run(0, STEPS)
    assert torch.allclose(torch.tensor(floats.rates), torch.tensor(tensors.rates), rtol=1e-3, atol=1e-9)


@every_policy
def test_tensor_rates_are_filled_in_place(policy: Maker) -> None:
    training = Training(policy, tensor=True)
    held = [group["lr"] for group in training.optimizer.param_groups]
    training.run(0, STEPS)
    assert all(group["lr"] is tensor for group, tensor in zip(training.optimizer.param_groups, held, strict=True))
    for index, group in enumerate(training.optimizer.param_groups):
        assert group["initial_lr"] == pytest.approx(0.1 / (1 + index))


@every_policy
def test_skipped_updates_spend_nothing(policy: Maker) -> None:
    """GradScaler's skips, by its own hand: the third and fourth gradients are infinite."""
    training = Training(policy)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    spent = []
    with pytest.warns(lehr.BudgetWarning, match="AMP"):
        for index in range(6):
            inputs = torch.randn(8, 6)
            training.optimizer.zero_grad()
            loss = training.model(inputs).square().mean() * (math.inf if index in (2, 3) else 1.0)
            training.scheduler.observe(loss=0.5, loss_at=lambda factor: (1.0 - factor / 8.0) ** 2)
            scaler.scale(loss).backward()
            scaler.step(training.optimizer)
            scaler.update()
            training.scheduler.step()
            spent.append(training.scheduler.spent)
    assert spent == [1, 2, 2, 2, 3, 4]


@every_policy
@both_kinds_of_rate
def test_nothing_raises_past_the_end(policy: Maker, tensor: bool) -> None:
    training = Training(policy, tensor=tensor).run(0, STEPS)
    with pytest.warns(lehr.BudgetWarning, match="the budget of 24 steps is spent"):
        training.run(STEPS, 3 * STEPS)
    assert training.scheduler.finished
    assert training.scheduler.remaining() == 0
    assert all(math.isfinite(rate) and rate >= 0 for rates in training.rates for rate in rates)


@every_policy
@both_kinds_of_rate
def test_groups_added_in_the_middle_join_in(policy: Maker, tensor: bool) -> None:
    if policy in (POLICIES[name] for name in ("one schedule a group", "layers and a policy", "tuner and layers")):
        with pytest.raises(ValueError, match=r"3 (schedules|factors) for 4 parameter groups"):
            _with_a_new_group(policy, tensor)
        return
    training, rates = _with_a_new_group(policy, tensor)
    for new, old in rates:
        assert new == pytest.approx(old * 0.5 / (0.1 / GROUPS))
    assert training.scheduler.base_lrs[-1] == pytest.approx(0.5)


def _with_a_new_group(policy: Maker, tensor: bool) -> tuple[Training, list[tuple[float, float]]]:
    training = Training(policy, tensor=tensor).run(0, 8)
    head = torch.nn.Linear(6, 6)
    training.model.append(head)
    lr = torch.tensor(0.5) if tensor else 0.5
    training.optimizer.add_param_group({"params": list(head.parameters()), "lr": lr})
    rates = []
    training.optimizer.register_step_pre_hook(
        lambda optimizer, *_: rates.append(tuple(float(optimizer.param_groups[i]["lr"]) for i in (GROUPS, GROUPS - 1)))
    )
    training.run(8, 16)
    return training, rates  # the very first update already uses the scheduled rate


@every_policy
def test_the_state_is_small_and_plain(policy: Maker) -> None:
    training = Training(policy).run(0, 5)
    state = training.scheduler.state_dict()
    held = [value for value in _leaves(state) if isinstance(value, torch.Tensor) and value.numel() > 1]
    others = [value for value in _leaves(state) if not isinstance(value, torch.Tensor)]
    assert (
        sum(tensor.numel() for tensor in held) <= 2 * training.weights().numel()
    )  # weights and momentum to go back to
    assert len(repr(others)) < 3_000
    assert through_a_file(state).keys() == state.keys()


def _leaves(value: object) -> Iterator[object]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else None
    if inner is None:
        yield value
    else:
        for one in inner:
            yield from _leaves(one)


@every_policy
def test_no_cycles_keep_the_optimizer_alive(policy: Maker) -> None:
    import gc
    import weakref

    gc.collect()
    gc.disable()
    try:
        training = Training(policy).run(0, 3)
        optimizer, scheduler = weakref.ref(training.optimizer), weakref.ref(training.scheduler)
        del training.scheduler, training.probe
        assert scheduler() is None
        assert not training.optimizer._optimizer_step_post_hooks
        del training.optimizer
        assert optimizer() is None
    finally:
        gc.enable()
