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
    plan = lehr.FreezeOut(lehr.layers_of(model), t0=0.25, how="linear")
    scheduler = lehr.Scheduler(torch.optim.SGD(plan.param_groups(lr=0.1)), plan, lehr.Budget(steps=EPOCHS * 3))
    forward = lehr.FrozenPrefix(model, plan, EXAMPLES)
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
    model = _model()
    forward = lehr.FrozenPrefix(model, lehr.FreezeOut(lehr.layers_of(model)), EXAMPLES).eval()
    inputs = torch.randn(3, 2, 2)
    assert torch.equal(forward(inputs, torch.arange(3)), model(inputs))


def test_only_for_a_sequential() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    plan = lehr.FreezeOut(lehr.layers_of(model))
    with pytest.raises(TypeError, match=r"must be an nn\.Sequential"):
        lehr.FrozenPrefix(nn.ModuleList(model), plan, 3)  # type: ignore[arg-type]
