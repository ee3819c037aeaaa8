"""What is frozen stays frozen, whatever the user switches on and off."""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch._dynamo
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.checkpoint import checkpoint

import lehr

BLOCKS, STEPS = 4, 20


def chain() -> nn.Sequential:
    torch.manual_seed(0)
    blocks = (nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.1)) for _ in range(BLOCKS))
    return nn.Sequential(*blocks, nn.Linear(4, 4))


def start(model: nn.Module, *, layers_of: Any = None) -> tuple[lehr.FreezeOut, lehr.Scheduler]:
    plan = lehr.FreezeOut(lehr.layers_of(layers_of if layers_of is not None else model), t0=0.19, how="linear")
    return plan, lehr.Scheduler(torch.optim.Adam(plan.param_groups(lr=0.01)), plan, lehr.Budget(steps=STEPS))


def critic_idiom(model: nn.Module) -> None:
    model.requires_grad_(False)
    model.requires_grad_(True)


def one_by_one(model: nn.Module) -> None:
    for parameter in model.parameters():
        parameter.requires_grad = True


def each_module_trains(model: nn.Module) -> None:
    for module in model.modules():
        module.train()


def norms_train(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.training = True


def evaluation_between(model: nn.Module) -> None:
    model.eval()
    with torch.no_grad():
        model(torch.randn(3, 4))
    model.train()


def all_of_it(model: nn.Module) -> None:
    for toggle in TOGGLES[:-1]:
        toggle(model)


TOGGLES: list[Callable[[nn.Module], None]] = [
    critic_idiom, one_by_one, each_module_trains, norms_train, evaluation_between, all_of_it,
]  # fmt: skip


@pytest.mark.parametrize("toggle", TOGGLES)
def test_frozen_layers_stay_out_of_the_backward_pass(toggle: Callable[[nn.Module], None]) -> None:
    model = chain()
    plan, scheduler = start(model)
    gradients, frozen = [], []
    for _ in range(STEPS):
        toggle(model)
        scheduler.optimizer.zero_grad()
        model(torch.randn(8, 4)).square().mean().backward()
        gradients.append(sum(all(p.grad is None for p in layer.parameters) for layer in plan.layers))
        frozen.append(plan.frozen)
        scheduler.optimizer.step()
        scheduler.step()
    assert gradients == frozen
    assert plan.frozen == BLOCKS


@settings(max_examples=25)
@given(st.lists(st.lists(st.sampled_from(TOGGLES), max_size=3), min_size=STEPS, max_size=STEPS))
def test_any_sequence_of_toggles(sequence: list[list[Callable[[nn.Module], None]]]) -> None:
    """Frozen weights and statistics are constant to the bit, and `frozen` counts the layers without gradients."""
    model = chain()
    plan, scheduler = start(model)
    before: list[dict[str, torch.Tensor]] = []
    for toggles in sequence:
        for toggle in toggles:
            toggle(model)
        scheduler.optimizer.zero_grad()
        model(torch.randn(8, 4)).square().mean().backward()
        without = [all(p.grad is None for p in layer.parameters) for layer in plan.layers]
        assert without == [index < plan.frozen for index in range(BLOCKS + 1)]
        scheduler.optimizer.step()
        for index, state in enumerate(before):
            assert all(torch.equal(value, state[key]) for key, value in model[index].state_dict().items())
        scheduler.step()
        before = [copy.deepcopy(model[index].state_dict()) for index in range(plan.frozen)]


@pytest.mark.parametrize("way", ["parts", "checkpointed", "in another model"])
def test_models_that_are_not_called_themselves(way: str) -> None:
    model = chain()
    plan, scheduler = start(model)
    whole = nn.ModuleDict({"critic": model, "generator": nn.Linear(4, 4)})
    for _ in range(STEPS):
        whole.requires_grad_(True)
        scheduler.optimizer.zero_grad()
        x = whole["generator"](torch.randn(8, 4)) if way == "in another model" else torch.randn(8, 4)
        for part in model:
            x = checkpoint(part, x, use_reentrant=False) if way == "checkpointed" else part(x)
        x.square().mean().backward()
        assert sum(all(p.grad is None for p in layer.parameters) for layer in plan.layers) == plan.frozen
        scheduler.optimizer.step()
        scheduler.step()
    assert plan.frozen == BLOCKS


def test_unfreeze_lets_go() -> None:
    model = chain()
    plan, scheduler = start(model)
    for _ in range(STEPS):
        scheduler.optimizer.zero_grad()
        model(torch.randn(8, 4)).square().mean().backward()
        scheduler.optimizer.step()
        scheduler.step()
    plan.unfreeze()
    model.train()
    model(torch.randn(8, 4)).square().mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert all(module.training for module in model.modules())
    assert not any(layer._forward_pre_hooks for layer in model)


def test_a_plan_that_is_gone_holds_no_gradients_back() -> None:
    model = chain()
    plan, scheduler = start(model)
    for _ in range(STEPS):
        scheduler.optimizer.zero_grad()
        model(torch.randn(8, 4)).square().mean().backward()
        scheduler.optimizer.step()
        scheduler.step()
    del plan, scheduler
    model.requires_grad_(True)
    model(torch.randn(8, 4)).square().mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_copies_are_not_watched() -> None:
    model = chain()
    _, scheduler = start(model)
    for _ in range(STEPS):
        model(torch.randn(8, 4)).square().mean().backward()
        scheduler.optimizer.step()
        scheduler.step()
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for copied in (copy.deepcopy(model), torch.load(file, weights_only=False)):
        copied.requires_grad_(True)
        copied.train()
        copied(torch.randn(8, 4)).square().mean().backward()
        assert all(parameter.grad is not None for parameter in copied.parameters())
        assert all(module.training for module in copied.modules())
    assert not model[0][0].weight.requires_grad


def test_savings_are_counted_in_the_middle_of_a_run() -> None:
    model = chain()
    plan, scheduler = start(model)
    fresh = lehr.freeze_savings(model, torch.randn(2, 4), plan).time
    for _ in range(STEPS):
        model(torch.randn(8, 4)).square().mean().backward()
        scheduler.optimizer.step()
        scheduler.step()
    assert lehr.freeze_savings(model, torch.randn(2, 4), plan).time == fresh > 0
    assert not model[0][0].weight.requires_grad


@pytest.fixture
def _fresh_compiler() -> Any:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.usefixtures("_fresh_compiler")
def test_a_compiled_model_is_watched_from_outside() -> None:
    model = chain()
    compilations = []

    def backend(graph: torch.fx.GraphModule, inputs: Any) -> Any:
        compilations.append(1)
        return graph.forward

    forward = torch.compile(model, backend=backend, fullgraph=True)
    plan, scheduler = start(model, layers_of=forward)
    for _ in range(STEPS):
        critic_idiom(model)
        scheduler.optimizer.zero_grad()
        forward(torch.randn(8, 4)).square().mean().backward()
        assert sum(all(p.grad is None for p in layer.parameters) for layer in plan.layers) == plan.frozen
        scheduler.optimizer.step()
        scheduler.step()
    assert plan.frozen == BLOCKS
    assert len(compilations) == 1 + BLOCKS


@pytest.mark.usefixtures("_fresh_compiler")
@pytest.mark.parametrize("in_place", [True, False])
def test_inside_a_graph_that_nobody_sees_one_warning_says_so(in_place: bool) -> None:
    model = chain()
    plan, scheduler = start(model)
    forward: Any = model
    if in_place:
        model.compile(backend="eager")
    else:
        forward = torch.compile(model, backend="eager")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(STEPS):
            critic_idiom(model)
            scheduler.optimizer.zero_grad()
            forward(torch.randn(8, 4)).square().mean().backward()
            scheduler.optimizer.step()
            scheduler.step()
    said = [str(one.message) for one in caught if issubclass(one.category, lehr.BudgetWarning)]
    assert len(said) == 1
    assert "frozen layers were let train again" in said[0]
    assert plan.frozen == BLOCKS
    assert not model[0][0].weight.requires_grad
