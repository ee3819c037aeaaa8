"""The probe: exact, and without a trace."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import lehr
from lehr import Probe
from lehr.tuning import fit_parabola

OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "nesterov, foreach": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, foreach=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1, amsgrad=True),
    "adamw, fused": lambda p: torch.optim.AdamW(p, lr=0.01, fused=True),
    "adamw, tensor rate": lambda p: torch.optim.AdamW(p, lr=torch.tensor(0.01)),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.9),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.1),
}
every_optimizer = pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())


def loss_of(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return (model(x) - x.sum(1, keepdim=True)).square().mean()  # type: ignore[no-any-return]


class Small:
    """A training with batch norm and dropout, in two parameter groups."""

    def __init__(self, make: Callable[[Any], torch.optim.Optimizer], seed: int = 0, loss: Any = loss_of) -> None:
        torch.manual_seed(seed)
        self.model = nn.Sequential(
            nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 8), nn.Linear(8, 1)
        )
        groups = [{"params": list(self.model[:2].parameters())}, {"params": list(self.model[2:].parameters())}]
        self.optimizer = make(groups)
        self.training = lehr.Training(self.model, self.optimizer, [torch.randn(16, 4) for _ in range(5)], loss)
        self.batches = self.training.batches

    def loss(self) -> torch.Tensor:
        return loss_of(self.model, next(self.batches))

    def warm_up(self) -> Small:
        for _ in range(3):
            self.training.step()
        self.training.backward()
        return self

    def probe(self, **arguments: Any) -> Probe:
        return Probe(self.training, **arguments)

    def everything(self) -> list[Any]:
        return [
            copy.deepcopy(self.model.state_dict()), copy.deepcopy(self.optimizer.state_dict()),
            [p.grad.clone() for p in self.model.parameters() if p.grad is not None], torch.get_rng_state(),
            [module.training for module in self.model.modules()],
        ]  # fmt: skip

    def objects(self) -> list[int]:
        states = self.optimizer.state.values()
        return [id(t) for t in [*self.model.parameters(), *(value for state in states for value in state.values())]]


def same(one: Any, two: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(same, one, two))
    return bool(one == two)


@every_optimizer
@pytest.mark.parametrize("fresh", [True, False], ids=["first update", "later"])
def test_one_is_exactly_the_loss_after_the_step(make: Callable[[Any], torch.optim.Optimizer], fresh: bool) -> None:
    training = Small(make)
    training.training.backward() if fresh else training.warm_up()
    probe = training.probe()
    here, there = probe(0.0), probe(1.0)
    with lehr.untouched(training.model, training.batches), torch.no_grad():
        assert float(training.loss()) == here
    training.optimizer.step()
    with torch.no_grad():
        assert float(training.loss()) == there != here


@every_optimizer
def test_no_trace(make: Callable[[Any], torch.optim.Optimizer]) -> None:
    training = Small(make).warm_up()
    before, objects = training.everything(), training.objects()
    probe = training.probe(batches=2)
    for factor in (-1.0, 0.5, 1.0, 2.0):
        probe(factor)
    assert same(before, training.everything())
    assert objects == training.objects()
    assert next(training.batches) is training.batches.loader[4]  # type: ignore[index]


def test_no_trace_after_an_error() -> None:
    breaks = []

    def loss(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
        if breaks:
            model.eval()
            model(x)
            raise KeyboardInterrupt
        return loss_of(model, x)

    small = Small(OPTIMIZERS["adamw"], loss=loss).warm_up()
    before = small.everything()
    breaks.append(True)
    with pytest.raises(KeyboardInterrupt):
        small.probe()(1.0)
    assert same(before, small.everything())
    fresh = Small(OPTIMIZERS["adamw"])
    fresh.training.backward()
    fresh.probe()(1.0)
    assert not fresh.optimizer.state


def test_every_factor_sees_the_same_batches_and_the_same_dropout() -> None:
    training = Small(OPTIMIZERS["sgd"]).warm_up()
    probe = training.probe(batches=3)
    assert probe.losses(0.7) == probe.losses(0.7)
    assert len(set(probe.losses(0.0))) == 3
    assert probe.forward_passes == 9


def test_schedulers_and_hooks_see_no_step() -> None:
    training = Small(OPTIMIZERS["sgd"]).warm_up()
    scheduler = lehr.Scheduler(training.optimizer, lehr.Linear(), lehr.Budget(steps=10))
    seen = []
    training.optimizer.register_step_post_hook(lambda *_: seen.append(1))
    training.probe()(1.0)
    training.optimizer.step()
    scheduler.step()
    assert scheduler.spent == len(seen) == 1


@every_optimizer
def test_a_factor_is_a_learning_rate(make: Callable[[Any], torch.optim.Optimizer]) -> None:
    """The loss at factor r is that after a step with r times the rate."""
    training, other = Small(make).warm_up(), Small(make).warm_up()
    torch.manual_seed(1)
    there = training.probe()(1.7)
    for group in other.optimizer.param_groups:
        group["lr"] = group["lr"] * 1.7
    other.optimizer.step()
    torch.manual_seed(1)
    with torch.no_grad():
        assert float(other.loss()) == pytest.approx(there, rel=1e-4)


def test_scaled_gradients() -> None:
    plain, scaled = Small(OPTIMIZERS["adamw"]).warm_up(), Small(OPTIMIZERS["adamw"]).warm_up()
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaler.scale(torch.ones(1))
    for p in scaled.model.parameters():
        assert p.grad is not None
        p.grad.mul_(1024.0)
    torch.manual_seed(3)
    one = plain.probe()(1.0)
    torch.manual_seed(3)
    assert Probe(lehr.Training(scaled.model, scaled.optimizer, scaled.batches, loss_of, scaler=scaler))(1.0) == one


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "adamw"])
def test_quadratics_are_recovered(name: str) -> None:
    """Minimiser and edge along the optimizer's own update, whatever it is."""
    torch.manual_seed(0)
    model = nn.Linear(6, 1, bias=False).double()
    curvatures = torch.rand(6, dtype=torch.float64) + 0.1

    def loss(*_: Any) -> torch.Tensor:
        return 0.5 * (curvatures * model.weight.square()).sum()

    optimizer = OPTIMIZERS[name](model.parameters())
    for _ in range(3):
        optimizer.zero_grad()
        loss().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    optimizer.zero_grad()
    loss().backward()  # type: ignore[no-untyped-call]
    probe = Probe(lehr.Training(model, optimizer, [None], loss))
    parabola = fit_parabola([-1.0, 0.0, 1.0], [[probe(r) for r in (-1.0, 0.0, 1.0)]])
    before = model.weight.detach().clone()
    start = float(loss().detach())
    optimizer.step()
    update = model.weight.detach() - before
    gradient = curvatures * before
    exact = float(-(gradient * update).sum() / (curvatures * update.square()).sum())
    assert parabola.minimiser == pytest.approx(exact, rel=1e-9)
    with torch.no_grad():
        model.weight.copy_(before + parabola.edge * update)
    assert float(loss().detach()) == pytest.approx(start, rel=1e-9)


@pytest.mark.parametrize("kind", [torch.optim.LBFGS, torch.optim.Rprop])
def test_optimizers_whose_step_is_not_proportional(kind: type[torch.optim.Optimizer]) -> None:
    model = nn.Linear(1, 1)
    with pytest.raises(ValueError, match=f"{kind.__name__}, whose update is not proportional"):
        Probe(lehr.Training.of(lambda: 0.0, touches=[model, kind(model.parameters())], backward=lambda: 0.0))  # type: ignore[call-arg]


def test_bad_arguments() -> None:
    small = Small(OPTIMIZERS["sgd"])
    with pytest.raises(ValueError, match="batches must be"):
        small.probe(batches=0)
    with pytest.raises(TypeError, match=r"training must be a lehr\.Training; got Sequential"):
        Probe(small.model)  # type: ignore[arg-type]
    own = lehr.Training.of(lambda: 0.0, touches=[small.model, small.optimizer])
    with pytest.raises(ValueError, match=r"give Training\.of a function backward"):
        Probe(own)


def test_bad_calls() -> None:
    small = Small(OPTIMIZERS["sgd"]).warm_up()
    with pytest.raises(ValueError, match="factor must be a number"):
        small.probe()(float("nan"))
    small.training._update.loss = lambda *_: torch.ones(3)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="one number; got a tensor of shape"):
        small.probe()(1.0)
    with pytest.raises(ValueError, match="no parameter has a gradient"):
        Small(OPTIMIZERS["sgd"]).probe()(1.0)


def test_a_big_model_is_stepped_in_parts() -> None:
    """So that the optimizer's state is copied for one part at a time only."""
    torch.manual_seed(0)
    sizes = []

    class Noting(torch.optim.AdamW):
        def step(self, closure: Any = None) -> None:
            sizes.append(sum(p.numel() for group in self.param_groups for p in group["params"]))
            super().step(closure)

    model = nn.Sequential(*(nn.Linear(16, 16) for _ in range(12)))
    optimizer = Noting(model.parameters(), lr=0.01)
    model(torch.randn(4, 16)).sum().backward()
    optimizer.step()
    sizes.clear()
    Probe(lehr.Training(model, optimizer, [torch.ones(1, 16)], lambda model, x: model(x).sum()))(1.0)
    assert len(sizes) > 5
    assert max(sizes) <= sum(sizes) / 6


def test_gradients_that_are_unscaled_already_are_left_as_they_are() -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    inputs = [torch.ones(1, 3)]
    training = lehr.Training(model, optimizer, inputs, lambda model, x: model(x).square().sum(), scaler=scaler)
    probe = Probe(training)
    scaler.scale(model(torch.ones(1, 3)).square().sum()).backward()
    scaled, slope = probe(1.0), probe.slope()
    scaler.unscale_(optimizer)
    assert probe(1.0) == scaled
    assert probe.slope() == slope
    scaler.step(optimizer)
    assert model(torch.ones(1, 3)).square().sum().item() == pytest.approx(scaled)


def test_buffers_that_are_assigned_and_state_in_lists_come_back() -> None:
    class Running(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2))
            self.register_buffer("mean", torch.zeros(2))

        def forward(self) -> torch.Tensor:
            self.mean = 0.9 * self.mean + self.weight.detach()
            return (self.weight * self.mean).sum()

    class Listing(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:
            for parameter in self.param_groups[0]["params"]:
                self.state[parameter].setdefault("past", []).append(1.0)
            super().step(closure)

    model = Running()
    optimizer = Listing(model.parameters(), lr=0.1)
    model().backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    before, mean = model.mean, model.mean.clone()
    probe = Probe(lehr.Training(model, optimizer, [None], lambda model, _: model()))
    assert probe(0.0) == probe(0.0)
    probe(1.0)
    assert model.mean is before
    assert torch.equal(model.mean, mean)
    assert optimizer.state[model.weight]["past"] == [1.0]


class Both(torch.optim.Optimizer):
    """Two optimizers in one, whose groups are the parts' own."""

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        self.parts = parts
        super().__init__([dict(group) for part in parts for group in part.param_groups], {})
        self.param_groups = [group for part in parts for group in part.param_groups]

    def step(self, closure: Any = None) -> None:
        for part in self.parts:
            part.step()


class Lookahead(torch.optim.Optimizer):
    """As timm has it: a wrapper that never calls its parent, with slow weights in the state of the one inside."""

    def __init__(self, base: torch.optim.Optimizer) -> None:
        self._optimizer_step_pre_hooks, self._optimizer_step_post_hooks = OrderedDict(), OrderedDict()
        self.base_optimizer = base
        self.param_groups = base.param_groups
        self.state = base.state
        self.defaults = base.defaults
        self.count = 0

    def step(self, closure: Any = None) -> None:
        self.base_optimizer.step()
        self.count += 1
        for group in self.param_groups:
            for p in group["params"]:
                slow = self.state[p].setdefault("slow", p.detach().clone())
                if self.count % 2 == 0:
                    with torch.no_grad():
                        slow.add_(p - slow, alpha=0.5)
                        p.copy_(slow)


def _both(model: nn.Module) -> torch.optim.Optimizer:
    matrices, rest = ([p for p in model.parameters() if (p.ndim == 2) is wanted] for wanted in (True, False))
    return Both(torch.optim.Muon(matrices, lr=0.01), torch.optim.AdamW(rest, lr=0.003))


@pytest.mark.parametrize(
    "make",
    [_both, lambda model: Lookahead(torch.optim.Adam(model.parameters(), lr=0.01))],
    ids=["two in one", "lookahead"],
)
def test_optimizers_that_hold_others(make: Callable[[nn.Module], Any]) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = make(model)
    inner = getattr(optimizer, "parts", (optimizer,))
    training = lehr.Training(model, optimizer, [torch.randn(16, 4)], loss_of)
    for _ in range(3):
        training.step()

    def everything() -> list[Any]:
        states = [{i: copy.deepcopy(dict(s)) for i, s in enumerate(one.state.values())} for one in inner]
        return [copy.deepcopy(model.state_dict()), states, getattr(optimizer, "count", 0)]

    training.backward()
    before = everything()
    there = Probe(training)(1.0)
    assert same(before, everything())
    with training.untouched():
        training.update()
        assert float(training.loss_ahead()) == pytest.approx(there, rel=1e-6)
    assert same(before, everything())
    lehr.range_test(training, low=1e-4, high=1.0, steps=20)
    assert same(before, everything())
