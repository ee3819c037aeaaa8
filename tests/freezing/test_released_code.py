"""FreezeOut beside a plain reimplementation of the released training loop: when layers freeze, statistics, weights."""

from __future__ import annotations

import math
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

import lehr

How = Literal["linear", "squared", "cubic"]


def chain(layers: int) -> nn.Sequential:
    torch.manual_seed(0)
    blocks = (nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Tanh()) for _ in range(layers - 1))
    return nn.Sequential(*blocks, nn.Linear(4, 4))


def batch(index: int) -> Tensor:
    return torch.randn(8, 4, generator=torch.Generator().manual_seed(index))


class Released:
    """`update_lr` and the blocks' `forward` of the released code."""

    def __init__(self, layers: int, t0: float, how: How, scale_lr: bool, total: int) -> None:
        self.model = chain(layers)
        power = {"linear": 1, "squared": 2, "cubic": 3}[how]
        self.ratios = [(t0 + (1 - t0) * float(index) / (layers - 1)) ** power for index in range(layers)]
        self.max_j = [total * ratio for ratio in self.ratios]
        self.active = [True] * layers
        self.peaks = [0.1 / ratio if scale_lr else 0.1 for ratio in self.ratios]
        groups = [{"params": list(layer.parameters()), "lr": 0.1, "index": i} for i, layer in enumerate(self.model)]
        self.optimizer = torch.optim.SGD(groups, nesterov=True, momentum=0.9, weight_decay=1e-4)
        self.j = 0

    def update_lr(self) -> None:
        for index, active in enumerate(self.active):
            if active and self.j > self.max_j[index]:
                self.active[index] = False
                self.optimizer.param_groups = [g for g in self.optimizer.param_groups if g["index"] != index]
        for group in self.optimizer.param_groups:
            index = group["index"]
            group["lr"] = 0.5 * self.peaks[index] * (1 + math.cos(math.pi * self.j / self.max_j[index]))
        self.j += 1

    def update(self) -> None:
        self.model.train()
        self.update_lr()
        self.optimizer.zero_grad()
        x = batch(self.j - 1)
        for layer, active in zip(self.model, self.active, strict=True):
            if not active:
                layer.eval()
            x = layer(x) if active else layer(x).detach()
        x.square().mean().backward()
        self.optimizer.step()


@pytest.mark.parametrize("how", ["linear", "squared", "cubic"])
@pytest.mark.parametrize(
    ("layers", "t0", "total"),
    [(5, 0.2, 20), (5, 0.5, 16), (3, 0.5, 8), (4, 0.25, 12), (6, 0.5, 30), (4, 0.8, 25), (3, 1.0, 10), (7, 0.37, 41)],
)
@pytest.mark.parametrize("scale_lr", [True, False])
def test_the_same_run(how: How, layers: int, t0: float, total: int, scale_lr: bool) -> None:
    """Updates at which t_i times the budget is whole are still made in training mode, with rate 0."""
    theirs = Released(layers, t0, how, scale_lr, total)
    model = chain(layers)
    plan = lehr.FreezeOut(lehr.layers_of(model), t0=t0, how=how, scale_lr=scale_lr)
    optimizer = torch.optim.SGD(plan.param_groups(lr=0.1), nesterov=True, momentum=0.9, weight_decay=1e-4)
    scheduler = lehr.Scheduler(optimizer, plan, lehr.Budget(steps=total))
    for index in range(total):
        theirs.update()
        model.train()
        assert plan.frozen == theirs.active.count(False), index
        optimizer.zero_grad()
        model(batch(index)).square().mean().backward()
        optimizer.step()
        scheduler.step()
    for key, value in theirs.model.state_dict().items():
        if "num_batches_tracked" in key:
            assert torch.equal(value, model.state_dict()[key]), key
        else:
            assert torch.allclose(value, model.state_dict()[key], atol=1e-6), key


def test_a_layer_is_still_active_at_its_last_update() -> None:
    model = chain(3)
    plan = lehr.FreezeOut(lehr.layers_of(model), t0=0.5, how="linear")
    scheduler = lehr.Scheduler(torch.optim.SGD(plan.param_groups(lr=0.1)), plan, lehr.Budget(steps=8))
    for index in range(8):
        assert plan.frozen == (index > 4) + (index > 6)
        if index == 4:
            weight = model[0][0].weight.detach().clone()
            assert scheduler.get_last_lr()[0] == 0.0
        scheduler.optimizer.zero_grad()
        model(batch(index)).square().mean().backward()
        scheduler.optimizer.step()
        scheduler.step()
    assert [int(model[i][1].num_batches_tracked) for i in range(2)] == [5, 7]
    assert torch.equal(weight, model[0][0].weight)
