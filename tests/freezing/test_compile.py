"""Freezing a compiled model: the backward graph really gets smaller, with one compilation a freeze."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
import torch._dynamo
from torch import nn
from torch._dynamo.backends.common import aot_autograd
from torch._functorch.aot_autograd import make_boxed_func

import lehr

STEPS = 20


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


class Backend:
    """Runs graphs as they are, and counts the matrix products in each backward graph."""

    def __init__(self) -> None:
        self.compilations = 0
        self.products: list[int] = []
        self.backend = aot_autograd(fw_compiler=self._forward, bw_compiler=self._backward)

    def _forward(self, graph: torch.fx.GraphModule, inputs: Sequence[Any]) -> Any:
        self.compilations += 1
        return make_boxed_func(graph.forward)

    def _backward(self, graph: torch.fx.GraphModule, inputs: Sequence[Any]) -> Any:
        self.products.append(sum(node.target is torch.ops.aten.mm.default for node in graph.graph.nodes))
        return make_boxed_func(graph.forward)


def _model(layers: int) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Tanh()) for _ in range(layers - 1)), nn.Linear(4, 4)
    )


def _train(layers: int, max_events: int | None, backend: Any) -> tuple[nn.Sequential, lehr.FreezeOut]:
    model = _model(layers)
    forward = torch.compile(model, backend=backend) if backend else model
    plan = lehr.FreezeOut(lehr.layers_of(forward), t0=0.25, how="linear", max_events=max_events)  # type: ignore[arg-type]
    scheduler = lehr.Scheduler(torch.optim.SGD(plan.param_groups(lr=0.1)), plan, lehr.Budget(steps=STEPS))
    for index in range(STEPS):
        scheduler.optimizer.zero_grad()
        x = torch.randn(8, 4, generator=torch.Generator().manual_seed(index))
        forward(x).square().mean().backward()
        scheduler.optimizer.step()
        scheduler.step()
    return model, plan


@pytest.mark.parametrize(("layers", "max_events", "products"), [(4, None, [7, 5, 3, 1]), (7, 2, [13, 7, 1])])
def test_each_freeze_compiles_once_and_takes_products_out(
    layers: int, max_events: int | None, products: list[int]
) -> None:
    """A layer's own gradient and the one that it hands on, save for the first that trains."""
    backend = Backend()
    model, plan = _train(layers, max_events, backend.backend)
    assert backend.products == products
    assert backend.compilations == 1 + len(set(plan.freezes_at))
    eager, _ = _train(layers, max_events, None)
    for key, value in eager.state_dict().items():
        assert torch.allclose(value, model.state_dict()[key], atol=1e-6), key


def test_more_events_than_the_compiler_bears_are_said_up_front() -> None:
    model = torch.compile(nn.Sequential(*(nn.Linear(1, 1) for _ in range(12))), backend="eager")
    with pytest.warns(lehr.BudgetWarning, match="max_events"):
        lehr.FreezeOut(lehr.layers_of(model))  # type: ignore[arg-type]
