"""A model whose parameters are no longer those that `layers_of` saw."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import lehr


class Adapted(nn.Module):
    """A linear layer with a low-rank addition, as LoRA puts in its place."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down, self.up = nn.Linear(4, 2, bias=False), nn.Linear(2, 4, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.base(x) + self.up(self.down(x))
        return out


def chain() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*(nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(3)), nn.Linear(4, 4))


def adapt(model: nn.Sequential) -> None:
    for block in model[:3]:
        block[0] = Adapted(block[0])


def another_head(model: nn.Sequential) -> None:
    model[3] = nn.Linear(4, 4)


def one_more(model: nn.Sequential) -> None:
    model.append(nn.Linear(4, 4))


def one_less(model: nn.Sequential) -> None:
    del model[0]


def tie(model: nn.Sequential) -> None:
    model[3].weight = model[0][0].weight


def assign(model: nn.Sequential) -> None:
    model.load_state_dict(copy.deepcopy(model.state_dict()), assign=True)


def from_meta(model: nn.Sequential) -> None:
    model.to("meta").to_empty(device="cpu")


def parametrize(model: nn.Sequential) -> None:
    parametrizations.weight_norm(model[0][0])


REPLACEMENTS = [adapt, another_head, one_more, one_less, tie, assign, from_meta, parametrize]
SAYS = "layers are from a model that has other parameters by now"


def optimizer_of(plan: lehr.FreezeOut, model: nn.Module) -> torch.optim.Optimizer:
    groups = plan.param_groups(lr=0.1)
    known = {id(p) for group in groups for p in group["params"]}
    rest = [p for p in model.parameters() if id(p) not in known]
    return torch.optim.SGD([*groups, {"params": rest}] if rest else groups, lr=0.1)


@pytest.mark.parametrize("replace", REPLACEMENTS)
def test_before_the_scheduler(replace: Callable[[nn.Sequential], None]) -> None:
    model = chain()
    plan = lehr.FreezeOut(lehr.layers_of(model))
    replace(model)
    with pytest.raises(ValueError, match=SAYS):
        lehr.Scheduler(optimizer_of(plan, model), plan, lehr.Budget(steps=4))
    with pytest.raises(ValueError, match=SAYS):
        lehr.freeze_savings(plan.layers.model, torch.zeros(1, 4), plan)


@pytest.mark.parametrize("replace", REPLACEMENTS)
def test_after_the_scheduler(replace: Callable[[nn.Sequential], None]) -> None:
    """Before anything trains."""
    model = chain()
    plan = lehr.FreezeOut(lehr.layers_of(model))
    scheduler = lehr.Scheduler(optimizer_of(plan, model), plan, lehr.Budget(steps=4))
    replace(model)
    with pytest.raises(ValueError, match=SAYS):
        model(torch.zeros(2, 4))
    assert scheduler.spent == 0


@pytest.mark.parametrize("replace", REPLACEMENTS)
def test_layers_of_afterwards_is_right(replace: Callable[[nn.Sequential], None]) -> None:
    model = chain()
    replace(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    plan = lehr.FreezeOut(lehr.layers_of(model, torch.zeros(2, 4)), t0=0.5, how="linear")
    optimizer = torch.optim.SGD(plan.param_groups(lr=1e-3))
    scheduler = lehr.Scheduler(optimizer, plan, lehr.Budget(steps=8))
    while not scheduler.finished:
        optimizer.zero_grad()
        model(torch.randn(2, 4)).square().mean().backward()
        optimizer.step()
        scheduler.step()
    assert plan.frozen == len(plan.layers) - 1


def test_what_joins_in_with_its_group_trains_to_the_end() -> None:
    model = chain()
    plan = lehr.FreezeOut(lehr.layers_of(model), t0=0.5, how="linear")
    scheduler = lehr.Scheduler(optimizer_of(plan, model), plan, lehr.Budget(steps=8))
    for index in range(8):
        if index == 2:
            one_more(model)
            scheduler.optimizer.add_param_group({"params": list(model[4].parameters()), "lr": 0.1})
        scheduler.optimizer.zero_grad()
        model(torch.randn(2, 4)).square().mean().backward()
        scheduler.optimizer.step()
        scheduler.step()
        if index in (2, 7):
            of_copy = copy.deepcopy((model, scheduler))[1]
            assert isinstance(of_copy.policy, lehr.FreezeOut)
            assert of_copy.policy.frozen == plan.frozen
    assert plan.frozen == 3
    assert model[4].weight.grad is not None


def test_what_keeps_the_parameters_is_no_matter() -> None:
    model = chain()
    model[0].requires_grad_(False)
    plan = lehr.FreezeOut(lehr.layers_of(model))
    model.to(torch.float64)
    model.load_state_dict(copy.deepcopy(model.state_dict()))
    scheduler = lehr.Scheduler(optimizer_of(plan, model), plan, lehr.Budget(steps=4))
    model.half().float()
    model(torch.zeros(2, 4)).sum().backward()
    scheduler.optimizer.step()
    scheduler.step()
    assert scheduler.spent == 1
