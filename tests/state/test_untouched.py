"""A trial leaves no trace: every kind of state is as before, bit for bit, also after an error."""

from __future__ import annotations

import random
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import lehr

OPTIMIZERS: dict[str, Any] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "adamw, tensor rate": lambda p: torch.optim.AdamW(p, lr=torch.tensor(0.01)),
    "adam, amsgrad": lambda p: torch.optim.Adam(p, lr=0.01, amsgrad=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.5),
    "adafactor": lambda p: torch.optim.Adafactor(p, lr=0.01),
}


class Run:
    """A model with every kind of state, and all that trains it."""

    def __init__(self, optimizer: str = "sgd", *, started: int = 2) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 2))
        self.optimizer = OPTIMIZERS[optimizer](self.model.parameters())
        self.scaler = torch.amp.GradScaler("cpu", init_scale=16.0, growth_interval=2)
        self.generator = torch.Generator().manual_seed(1)
        self.python = random.Random(2)
        self.numpy = np.random.default_rng(3)
        loader = torch.utils.data.DataLoader(torch.arange(20.0), batch_size=4, shuffle=True)
        self.batches: lehr.Batches[torch.Tensor] = lehr.Batches(loader)
        for _ in range(started):
            self.step()

    def step(self) -> float:
        inputs = torch.randn(6, 4, generator=self.generator) + next(self.batches).mean() / 20
        self.python.random(), self.numpy.random(), random.random(), np.random.rand()
        self.optimizer.zero_grad()
        loss = self.model(inputs).square().mean()
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return float(loss.detach())

    @property
    def parts(self) -> list[Any]:
        return [self.model, self.optimizer, self.scaler, self.generator, self.python, self.numpy, self.batches]

    def snapshot(self) -> Any:
        return deepcopy(
            {
                "model": self.model.state_dict(),
                "gradients": [p.grad for p in self.model.parameters()],
                "modes": [m.training for m in self.model.modules()],
                "wants": [p.requires_grad for p in self.model.parameters()],
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                "generators": (self.generator.get_state(), self.python.getstate(), self.numpy.bit_generator.state),
                "global": (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()),
            }
        )


def same(one: Any, two: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return one.dtype == two.dtype and torch.equal(one.nan_to_num(7.5), two.nan_to_num(7.5))
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(same, one, two))
    return bool(np.array_equal(one, two)) if isinstance(one, np.ndarray) else one == two


@pytest.mark.parametrize("started", [0, 3])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_everything_is_as_before_and_goes_on_as_if_nothing_had_been(optimizer: str, started: int) -> None:
    never = Run(optimizer, started=started)
    untold = [never.step() for _ in range(6)]
    run = Run(optimizer, started=started)
    before = run.snapshot()
    with lehr.untouched(*run.parts):
        for _ in range(4):
            run.step()
        run.model.eval().requires_grad_(False)
        for group in run.optimizer.param_groups:
            group["lr"] = 123.0
        assert not same(run.snapshot(), before)
    assert same(run.snapshot(), before)
    after = [run.step() for _ in range(6)]
    # batches of the epoch under way are kept; a new one is shuffled by random numbers that were put back
    same_for = 6 if started == 0 else 2
    assert after[:same_for] == untold[:same_for]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_inside_leaves_no_trace_either(error: type[BaseException]) -> None:
    run = Run()
    before = run.snapshot()

    def broken() -> None:
        run.step()
        run.scaler.scale(run.model(torch.ones(3, 4)).sum()).backward()
        run.scaler.unscale_(run.optimizer)  # the scaler is in the middle of an update
        raise error

    with pytest.raises(error), lehr.untouched(*run.parts):
        broken()
    assert same(run.snapshot(), before)
    run.step()


def test_objects_keep_their_identity() -> None:
    run = Run("adamw, tensor rate")
    weight = run.model[0].weight
    held = (weight, weight.grad, run.model[1].running_mean, run.optimizer.param_groups[0], run.optimizer.state[weight])
    tensors = (held[3]["lr"], held[4]["exp_avg"], weight.data_ptr())
    with lehr.untouched(*run.parts):
        run.step()
        run.model[1].running_mean = torch.ones(8)
        run.optimizer.param_groups[0] = dict(run.optimizer.param_groups[0])
    now = (weight, weight.grad, run.model[1].running_mean, run.optimizer.param_groups[0], run.optimizer.state[weight])
    assert all(one is two for one, two in zip(held, now, strict=True))
    assert (held[3]["lr"], held[4]["exp_avg"], weight.data_ptr()) == tensors


def test_weights_that_were_swapped_are_left_to_their_owner() -> None:
    """Averaged weights are often put in by `.data`."""
    model = nn.Linear(2, 2)
    average = [torch.full_like(p, 5.0) for p in model.parameters()]
    before = [p.clone() for p in model.parameters()]
    with lehr.untouched(model):
        for parameter, mean in zip(model.parameters(), average, strict=True):
            parameter.data = mean
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))
    assert all(bool((mean == 5.0).all()) for mean in average)
    with lehr.untouched(model):
        model.bfloat16()
        model.extra = nn.Linear(1, 1)
        model.bias = None
    assert [p.dtype for p in model.parameters()] == [torch.float32] * 2
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))
    assert not hasattr(model, "extra")


def test_an_optimizer_in_an_optimizer() -> None:
    class Wrapper(torch.optim.Optimizer):
        def __init__(self, inner: torch.optim.Optimizer) -> None:
            super().__init__(inner.param_groups, inner.defaults)
            self.inner = inner

        def step(self, closure: Any = None) -> Any:
            return self.inner.step(closure)

    parameter = torch.ones(2, requires_grad=True)
    wrapper = Wrapper(torch.optim.SGD([parameter], lr=0.1, momentum=0.9))
    parameter.grad = torch.ones(2)
    wrapper.step()
    before = deepcopy(wrapper.inner.state_dict())
    with lehr.untouched(wrapper):
        wrapper.step()
    assert same(wrapper.inner.state_dict(), before)


def test_time_stands_still_for_an_attached_scheduler() -> None:
    time = [0.0]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = lehr.Scheduler(optimizer, lehr.Linear(), lehr.Budget(seconds=100), now=lambda: time[0])
    scheduler.clock.start()
    with lehr.untouched(optimizer):
        time[0] += 50.0
    time[0] += 10.0
    optimizer.step(), scheduler.step()
    assert scheduler.spent == 10.0


def test_inside_a_closure_the_update_under_way_still_counts() -> None:
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = lehr.Scheduler(optimizer, lehr.Linear(), lehr.Budget(steps=10))

    def closure() -> float:
        with lehr.untouched(model, optimizer):
            optimizer.step()
        return 1.0

    optimizer.step(closure)
    scheduler.step()
    assert scheduler.last_epoch == 1


def test_data_that_run_out_say_so() -> None:
    with pytest.raises(StopIteration), lehr.untouched():
        next(iter([]))


def test_an_optimizer_alone_brings_its_parameters() -> None:
    run = Run()
    weights = [p.clone() for p in run.model.parameters()]
    with lehr.untouched(run.optimizer):
        run.step()
    assert all(torch.equal(p, q) for p, q in zip(run.model.parameters(), weights, strict=True))


def test_a_scheduler_neither_counts_nor_looks() -> None:
    run = Run(started=0)
    scheduler = lehr.Scheduler(run.optimizer, lehr.Linear(), lehr.Budget(steps=10))
    run.step()
    with lehr.untouched(*run.parts):
        for _ in range(3):
            run.step()
            scheduler.observe(loss=1.0)
            scheduler.step()
    assert scheduler.last_epoch == 0
    scheduler.step()  # for the update before
    assert scheduler.last_epoch == 1
    assert scheduler.get_last_lr() == [0.09000000000000001]
    assert len(scheduler.history) == 2


def test_torch_schedulers_are_put_back_when_named() -> None:
    run = Run(started=1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(run.optimizer, T_max=10)
    before = deepcopy((scheduler.state_dict(), run.optimizer.state_dict()))
    with lehr.untouched(*run.parts, scheduler):
        run.step()
        scheduler.step()
    assert same((scheduler.state_dict(), run.optimizer.state_dict()), before)


def test_what_cannot_be_put_back_is_refused_before_anything_runs() -> None:
    with pytest.raises(TypeError, match=r"a list_iterator cannot be put back .* wrap the loader in lehr\.Batches"):
        lehr.untouched(iter([1])).__enter__()
    with pytest.raises(TypeError, match="give it state_dict and load_state_dict"):
        lehr.untouched(object()).__enter__()
    with pytest.raises(ValueError, match="run one forward pass before a trial"):
        lehr.untouched(nn.LazyLinear(2)).__enter__()


def test_a_compiled_step_is_put_back() -> None:
    run = Run("adamw, tensor rate")
    step = torch.compile(run.optimizer.step, backend="eager")
    run.model(torch.ones(3, 4)).sum().backward()
    scheduler = lehr.Scheduler(run.optimizer, lehr.Linear(), lehr.Budget(steps=10))
    step()
    scheduler.step()
    weights = run.model[0].weight.clone()
    with lehr.untouched(run.model, run.optimizer):
        step()
    assert torch.equal(run.model[0].weight, weights)
    scheduler.step()
    assert scheduler.updates == 1
