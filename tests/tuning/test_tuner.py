"""LRTuner finds the rate from anywhere, costs what it says, and gets over a blow-up."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import lehr
from lehr.state.fallback import Fallback
from lehr.tuning.pool import Pool


class Small:
    """A small noisy regression."""

    def __init__(
        self,
        lr: float,
        policy: Any,
        steps: int = 400,
        seed: int = 0,
        adam: bool = False,
        loss: Any = None,
        **options: Any,
    ) -> None:
        torch.manual_seed(seed)
        self.model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1))
        make = torch.optim.AdamW if adam else torch.optim.SGD
        self.optimizer = make(self.model.parameters(), lr=lr, **({} if adam else {"momentum": 0.9}))  # type: ignore[operator]
        inputs = torch.randn(2_000, 6)
        targets = torch.sin(inputs[:, :3].sum(1, keepdim=True)) + 0.1 * torch.randn(2_000, 1)
        self.held_out = (inputs[1_600:], targets[1_600:])
        batches = ((inputs[i], targets[i]) for i in (torch.randint(1_600, (16,)) for _ in iter(int, 1)))
        self.training = lehr.Training(self.model, self.optimizer, batches, loss or self.loss, **options)
        self.probe = lehr.Probe(self.training, batches=3)
        self.policy = policy
        self.scheduler = lehr.Scheduler(self.training, policy, lehr.Budget(steps=steps))

    @staticmethod
    def loss(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return nn.functional.mse_loss(model(batch[0]), batch[1])

    def update(self) -> float:
        loss = self.training.backward()
        self.scheduler.observe(loss=loss, loss_at=self.probe)
        self.training.update()
        self.scheduler.step()
        return loss.item()

    def run(self) -> Small:
        while not self.scheduler.finished:
            self.update()
        return self

    def final(self) -> float:
        with torch.no_grad():
            return nn.functional.mse_loss(self.model(self.held_out[0]), self.held_out[1]).item()


def best_linear(adam: bool) -> float:
    grid = (1e-2, 3e-2, 0.1)
    return min(Small(lr, lehr.Linear(), adam=adam).run().final() for lr in grid)


@pytest.mark.parametrize("adam", [False, True], ids=["momentum", "adamw"])
def test_any_start_goes_most_of_the_way_of_the_tuned_schedule(adam: bool) -> None:
    tuned = best_linear(adam)
    untuned = Small(1e-6, lehr.Linear(), adam=adam).run().final()
    for start in (1e-6, 0.02, 30.0):
        tuner = Small(start, lehr.LRTuner(), adam=adam).run()
        assert tuner.final() < tuned + 0.2 * (untuned - tuned), start


def test_the_start_decides_nothing() -> None:
    """Rates are found by decades from the start, so starts that are decades apart lead to the same run."""
    one, two = (Small(lr, lehr.LRTuner()).run() for lr in (1e-5, 1e-2))
    ratios = [x.factor * 1e-5 / (y.factor * 1e-2) for x, y in zip(one.policy.history, two.policy.history, strict=True)]
    assert ratios[1:] == pytest.approx([1.0] * (len(ratios) - 1), rel=0.2)


@pytest.mark.parametrize("overhead", [0.02, 0.2])
def test_overhead_is_kept(overhead: float) -> None:
    training = Small(0.01, lehr.LRTuner(overhead=overhead), steps=1_500).run()
    tuner = training.policy
    assert tuner.forward_passes == training.probe.forward_passes
    assert tuner.forward_passes <= overhead * 3 * 1_500
    probes = [decision for decision in tuner.history if decision.steps]
    assert len(probes) >= 6
    assert max(decision.progress for decision in probes) < tuner.explore


def test_short_runs_still_get_their_probes() -> None:
    tuner = Small(1e-4, lehr.LRTuner(), steps=40).run().policy
    assert 6 <= len([decision for decision in tuner.history if decision.steps]) <= 10


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e9])
def test_a_blow_up_is_put_back(bad: float) -> None:
    training = Small(0.01, lehr.LRTuner())
    for _ in range(30):
        training.update()
    tuner = training.policy
    kept = training.scheduler._fallback
    level = tuner._state.level_at(training.scheduler.progress)
    training.training.backward()
    with torch.no_grad():
        for parameter in training.model.parameters():
            parameter.fill_(math.nan)
    training.scheduler.observe(loss=bad)
    assert tuner.history[-1].what == "put back"
    assert all(torch.equal(p, q) for p, q in zip(training.model.parameters(), kept.parameters, strict=True))
    assert all(not p.grad.any() for p in training.model.parameters() if p.grad is not None)
    assert training.scheduler.get_last_lr()[0] == pytest.approx(0.01 * level / 4)
    training.training.update()
    training.scheduler.step()
    training.run()
    assert math.isfinite(training.final())
    assert training.final() < 0.6


def test_a_dead_start_is_noticed() -> None:
    """A loss that stands still, with no slope to follow: the rate rises once, and then falls."""
    tuner = lehr.LRTuner()
    model = nn.Linear(1, 1)
    scheduler = lehr.Scheduler(torch.optim.SGD(model.parameters(), lr=0.1), tuner, lehr.Budget(steps=100))
    for _ in range(40):
        scheduler.observe(loss=2.3, loss_at=lambda factor: 2.3 + 0.001 * factor**2)
        scheduler.optimizer.step()
        scheduler.step()
    done = [decision.what for decision in tuner.history]
    assert done.index("put back") > done.index("climb")
    put_back = tuner.history[done.index("put back")]
    assert put_back.goal < tuner.history[done.index("climb")].factor


def test_a_slow_start_is_not_taken_for_a_dead_one() -> None:
    tuner = lehr.LRTuner()
    model = nn.Linear(1, 1)
    scheduler = lehr.Scheduler(torch.optim.SGD(model.parameters(), lr=0.1), tuner, lehr.Budget(steps=100))
    for _ in range(40):
        scheduler.observe(loss=2.3, loss_at=lambda factor: (1.0 - factor / 1e5) ** 2)
        scheduler.optimizer.step()
        scheduler.step()
    assert {decision.what for decision in tuner.history} == {"look", "climb"}


@given(
    losses=st.lists(st.floats(-10, 10), min_size=5, max_size=40),
    minimiser=st.floats(1e-3, 1e3),
    low=st.floats(1e-3, 0.5),
    high=st.floats(0.6, 1e3),
)
def test_factors_stay_between_their_bounds(losses: list[float], minimiser: float, low: float, high: float) -> None:
    tuner = lehr.LRTuner(low=low, high=high)
    model = nn.Linear(1, 1)
    tuner.bind(torch.optim.SGD(model.parameters(), lr=0.1))
    for index, loss in enumerate(losses):
        progress = index / len(losses)
        moment = lehr.Moment(progress, loss=loss, loss_at=lambda r: (1.0 - r / minimiser) ** 2)
        factor = tuner.factors(moment)
        annealed = tuner.anneal(max(0.0, (progress - 0.35) / 0.65))
        assert low * annealed * (1 - 1e-9) <= factor <= high * annealed * (1 + 1e-9)
        assert tuner.factors(lehr.Moment(progress)) == factor  # asked without news, nothing changes


@given(st.lists(st.floats(1e-4, 10.0), min_size=1, max_size=8), st.floats(0.1, 10.0), st.floats(0.1, 10.0))
def test_pooling_does_not_depend_on_the_rates(rates: list[float], slope: float, curvature: float) -> None:
    pool = Pool()
    for lr in rates:
        pool = pool.add(lr, lehr.tuning.Parabola(slope * lr, curvature * lr**2))
    assert pool.at(0.5).minimiser == pytest.approx(slope / curvature / 0.5)


def test_the_history_is_plain_data() -> None:
    tuner = Small(1e-4, lehr.LRTuner(), steps=60).run().policy
    assert json.loads(json.dumps([asdict(decision) for decision in tuner.history], allow_nan=True))
    assert tuner.history[0].what == "look"
    assert all(len(one.losses) == len(one.steps) == 3 for one in tuner.history if one.slope is not None)


def test_accumulated_gradients_and_a_scaler() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    training = Small(1e-4, lehr.LRTuner(), steps=150, accumulate=2, scaler=scaler)
    losses = [float(loss) for loss in training.training.run(training.scheduler)]
    assert training.final() < 0.5 * losses[0]
    assert {decision.what for decision in training.policy.history} >= {"look", "climb", "stop"}


def test_a_product_recovers_as_well() -> None:
    """Nothing asks what kind of policy it is."""
    training = Small(0.01, lehr.LRTuner() * lehr.Linear())
    for _ in range(30):
        training.update()
    policy = training.scheduler.policy
    assert policy.recovers
    weights = [p.detach().clone() for p in training.scheduler._fallback.parameters]
    training.training.backward()
    with torch.no_grad():
        training.model[0].weight.fill_(math.nan)
    training.scheduler.observe(loss=math.nan)
    assert policy.history[-1].what == "put back"
    assert all(map(torch.equal, weights, training.model.parameters()))


def test_a_budget_in_seconds_may_jump() -> None:
    time = [0.0]
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = lehr.Scheduler(optimizer, lehr.LRTuner(), lehr.Budget(seconds=10.0), now=lambda: time[0])
    for seconds in (0.1, 0.3, 6.0, 0.1, 9.0):
        scheduler.observe(loss=1.0, loss_at=lambda factor: (1.0 - factor / 8.0) ** 2)
        optimizer.step()
        time[0] += seconds
        scheduler.step()
    assert scheduler.finished
    assert scheduler.get_last_lr() == [0.0]


def test_a_fallback_puts_back_buffers_and_state_and_leaves_newcomers() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.randn(4, 2)).sum().backward()
    optimizer.step()
    fallback = Fallback([optimizer], [model])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    newcomer = nn.Parameter(torch.ones(1))
    optimizer.add_param_group({"params": [newcomer]})
    model(torch.randn(4, 2)).sum().backward()
    newcomer.grad = torch.ones(1)
    optimizer.step()
    fallback.put_back([optimizer], [model])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert optimizer.state[model[0].weight]["step"] == 1
    assert newcomer.item() != 1.0


def test_an_overflow_at_the_start_is_waited_out() -> None:
    calls = []

    def loss(model: nn.Module, batch: Any) -> torch.Tensor:
        calls.append(1)
        return Small.loss(model, batch) * (math.inf if len(calls) == 1 else 1.0)

    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    training = Small(1e-2, lehr.LRTuner(), steps=200, scaler=scaler, loss=loss)
    list(training.training.run(training.scheduler))
    assert training.policy.history[0].what == "look"
    assert 1e-6 < training.policy.history[0].goal < 1.0
    assert training.final() < 0.3


@pytest.mark.parametrize("steps", [30, 100])
def test_noise_is_no_blow_up(steps: int) -> None:
    """At rates that cannot do harm, the guard has nothing to do."""
    runs = [Small(1e-2, lehr.LRTuner(high=1e-6), steps=steps, seed=seed).run() for seed in range(4)]
    assert all(one.what != "put back" for run in runs for one in run.policy.history)


def test_a_second_run_starts_afresh() -> None:
    tuner = lehr.LRTuner()
    one, two = Small(1e-3, tuner, steps=60).run().final(), Small(1e-3, tuner, steps=60).run().final()
    assert one == two


def test_what_cannot_be_followed_is_said() -> None:
    training = Small(0.0, lehr.LRTuner())
    with pytest.raises(ValueError, match="the optimizer's rate must be above 0"):
        training.training.step(training.scheduler)
    fresh = Small(0.1, lehr.LRTuner())
    with pytest.raises(ValueError, match="call it between backward"):
        fresh.scheduler.observe(loss=1.0, loss_at=fresh.probe)


def test_tiny_and_huge_starts_are_the_same_to_it() -> None:
    for start in (1e-12, 1e8):
        assert Small(start, lehr.LRTuner(), adam=True).run().final() < 0.2


def test_what_is_missing_is_said() -> None:
    training = Small(0.1, lehr.LRTuner())
    with pytest.raises(ValueError, match="needs loss_at: call scheduler.observe"):
        training.scheduler.observe(loss=1.0)
    with pytest.raises(TypeError, match=r"loss_at must be a lehr\.Probe or a function"):
        training.scheduler.observe(loss=1.0, loss_at=3.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"loss_at\(0.0\) must be a finite number"):
        training.scheduler.observe(loss=1.0, loss_at=lambda factor: math.nan)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"explore": 0.0}, "explore"),
        ({"explore": 1.0}, "explore"),
        ({"overhead": 0.0}, "overhead"),
        ({"low": 2.0, "high": 1.0}, "low"),
        ({"anneal": lehr.Linear().after_warmup(0.1)}, "anneal"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"LRTuner: {message}"):
        lehr.LRTuner(**arguments)
