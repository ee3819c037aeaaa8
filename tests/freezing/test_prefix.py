"""Frozen layers whose outputs are remembered."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import lehr

EXAMPLES, EPOCHS = 12, 8


def _model() -> nn.Sequential:
    torch.manual_seed(0)
    blocks = (nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Dropout(0.1)) for _ in range(3))
    return nn.Sequential(nn.Flatten(), *blocks, nn.Linear(4, 2))


def _train(*, remember: bool) -> tuple[nn.Sequential, int, list[int]]:
    model = _model()
    calls = []
    model[1][0].register_forward_hook(lambda *_: calls.append(1))
    plan = lehr.FreezeOut(lehr.layers_of(model), t0=0.24, how="linear")
    scheduler = lehr.Scheduler(torch.optim.SGD(plan.param_groups(lr=0.1)), plan, lehr.Budget(steps=EPOCHS * 3))
    forward = lehr.freezing.FrozenPrefix(model, EXAMPLES)
    inputs = torch.randn(EXAMPLES, 2, 2, generator=torch.Generator().manual_seed(1))
    each_epoch = []
    for epoch in range(EPOCHS):
        torch.manual_seed(epoch)
        order = torch.randperm(EXAMPLES)
        for numbers in order.split(4):
            scheduler.optimizer.zero_grad()
            outputs = forward(inputs[numbers], numbers if remember else None)
            outputs.square().mean().backward()
            scheduler.optimizer.step()
            scheduler.step()
        each_epoch.append(len(calls))
        calls.clear()
    return model, forward.reused, each_epoch


def test_the_same_weights_with_fewer_forward_passes() -> None:
    plain, none, calls = _train(remember=False)
    remembering, reused, fewer = _train(remember=True)
    assert none == 0
    assert calls == [3] * EPOCHS
    assert fewer == [3, 3, 3, 0, 3, 0, 3, 0]  # the epochs after a freeze fill the memory
    assert reused == 3 * EXAMPLES
    for key, value in plain.state_dict().items():
        assert torch.allclose(value, remembering.state_dict()[key], atol=1e-6), key


def test_evaluation_runs_the_whole_model() -> None:
    model, forward = _frozen()
    inputs = torch.randn(3, 2, 2)
    forward(inputs, torch.arange(3))
    forward.eval()
    others = torch.randn(3, 2, 2)
    assert torch.equal(forward(others, torch.arange(3)), model(others))


def _frozen() -> tuple[nn.Sequential, lehr.freezing.FrozenPrefix]:
    model = _model()
    plan = lehr.FreezeOut(lehr.layers_of(model), t0=0.24, how="linear")
    plan.bind(torch.optim.SGD(plan.param_groups(lr=0.1)))
    plan.arrive(0.9, [0.0, 0.0, 0.0, 1.0])
    return model, lehr.freezing.FrozenPrefix(model, EXAMPLES)


def test_outputs_of_other_weights_are_forgotten() -> None:
    model, forward = _frozen()
    inputs, numbers = torch.randn(3, 2, 2), torch.arange(3)
    before = forward(inputs, numbers)
    model.load_state_dict({key: value + 1 for key, value in model.state_dict().items()})
    assert not torch.allclose(before, forward(inputs, numbers))
    assert torch.allclose(forward(inputs, numbers), model(inputs))
    assert forward.reused == 3


def test_only_for_a_sequential() -> None:
    with pytest.raises(TypeError, match=r"must be an nn\.Sequential"):
        lehr.freezing.FrozenPrefix(nn.ModuleList([nn.Linear(2, 2)]), 3)
    with pytest.raises(ValueError, match="samples must be"):
        lehr.freezing.FrozenPrefix(_model(), 0)
    _, forward = _frozen()
    with pytest.raises(ValueError, match="from 0 to 11; got 3 from 10 to 12"):
        forward(torch.randn(3, 2, 2), torch.arange(10, 13))
