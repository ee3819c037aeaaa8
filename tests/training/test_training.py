"""The training: makes the update that one would write by hand, and leaves no trace of a trial."""

from __future__ import annotations

import copy
import gc
import math
import random
import warnings
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, DistributedSampler, IterableDataset, TensorDataset

import lehr
from lehr.training.placement import placed


def data(count: int = 96) -> TensorDataset:
    inputs = torch.randn(count, 4, generator=torch.Generator().manual_seed(1))
    return TensorDataset(inputs, inputs.sum(1, keepdim=True))


def loader(**options: Any) -> DataLoader[Any]:
    return DataLoader(data(), batch_size=16, shuffle=True, **options)


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 1))


def loss(model: nn.Module, batch: Any) -> Tensor:
    inputs, targets = batch
    return mse_loss(model(inputs), targets)


def training(model: nn.Module | None = None, batches: Any = None, loss: Any = loss, **options: Any) -> lehr.Training:
    model = network() if model is None else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return lehr.Training(model, optimizer, loader() if batches is None else batches, loss, **options)


def weights(one: lehr.Training) -> list[Tensor]:
    return [p.detach().clone() for module in one.modules for p in module.parameters()]


def same(one: list[Tensor], two: list[Tensor]) -> bool:
    return len(one) == len(two) and all(map(torch.equal, one, two))


# -- an update --------------------------------------------------------------------------------------------------------


def test_the_update_is_the_one_that_is_written_by_hand() -> None:
    model, own = network(), training()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    torch.manual_seed(3)
    for inputs, targets in (batch for _ in range(2) for batch in loader()):
        optimizer.zero_grad()
        mse_loss(model(inputs), targets).backward()
        optimizer.step()
    torch.manual_seed(3)
    for _ in range(12):
        own.step()
    assert same([p.detach() for p in model.parameters()], weights(own))


def test_accumulated_batches_are_one_large_batch() -> None:
    rows = [data(32)[i : i + 8] for i in range(0, 32, 8)]
    plain = nn.Linear(4, 1)
    small = training(copy.deepcopy(plain), rows, accumulate=4)
    large = training(copy.deepcopy(plain), [data(32)[:]])
    for _ in range(3):
        assert float(small.step()) == pytest.approx(float(large.step()), rel=1e-5)
    assert torch.allclose(weights(small)[0], weights(large)[0], atol=1e-6)


def test_clipping() -> None:
    one = training(clip_norm=0.01)
    one.backward()
    norm = torch.stack([p.grad.norm() for p in one.modules[0].parameters()]).norm()
    assert float(norm) == pytest.approx(0.01, rel=1e-3)


def test_metrics_come_with_the_loss() -> None:
    one = training(loss=lambda model, batch: (loss(model, batch), {"size": len(batch[0])}))
    assert one.step().ndim == 0
    assert one.metrics == {"size": 16}


def test_mixed_precision_with_a_scaler() -> None:
    kinds = []

    def noting(model: nn.Module, batch: Any) -> Tensor:
        outputs = model(batch[0])
        kinds.append(outputs.dtype)
        return mse_loss(outputs.float(), batch[1])

    scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
    one = training(loss=noting, autocast=torch.bfloat16, scaler=scaler, clip_norm=1.0)
    before = weights(one)
    one.step()
    assert kinds == [torch.bfloat16]
    assert not same(before, weights(one))


def test_a_scaler_with_everything_frozen_goes_on() -> None:
    model = network()
    parts = [torch.optim.SGD(model[0].parameters(), lr=0.1), torch.optim.SGD(model[4].parameters(), lr=0.1)]
    one = lehr.Training(model, parts, loader(), loss, scaler=torch.amp.GradScaler("cpu"), clip_norm=1.0)
    one.step()
    model[0].requires_grad_(False)
    one.step()


def test_several_optimizers_step_together() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    parts = [torch.optim.SGD(model[0].parameters(), lr=0.1), torch.optim.Adam(model[2].parameters(), lr=0.01)]
    one = lehr.Training(model, parts, loader(), loss)
    scheduler = lehr.Scheduler(one, [lehr.Linear(), lehr.Constant()], one.budget("2ep"))
    before = weights(one)
    assert len(list(one.run(scheduler))) == 12
    assert scheduler.get_last_lr() == [0.0, 0.01]
    assert not any(map(torch.equal, before, weights(one)))
    assert scheduler.updates == 12


@dataclass
class Batch:
    ids: Tensor
    name: str


class Moves:
    def __init__(self, ids: Tensor) -> None:
        self.ids = ids

    def to(self, device: torch.device) -> Moves:
        return Moves(self.ids.to(device))


@pytest.mark.parametrize(
    ("batch", "look"),
    [
        (torch.ones(2, 4), lambda batch: batch),
        ((torch.ones(2, 4), "name"), lambda batch: batch[0]),
        ([torch.ones(2, 4)], lambda batch: batch[0]),
        ({"ids": torch.ones(2, 4), "names": ["a"]}, lambda batch: batch["ids"]),
        (Batch(torch.ones(2, 4), "a"), lambda batch: batch.ids),
        (Moves(torch.ones(2, 4)), lambda batch: batch.ids),
    ],
    ids=["tensor", "tuple", "list", "dictionary", "data class", "object"],
)
def test_batches_of_any_kind_go_to_the_device(batch: Any, look: Callable[[Any], Tensor]) -> None:
    seen = []
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def noting(model: nn.Module, batch: Any) -> Tensor:
        seen.append(look(batch).device.type)
        return model(torch.ones(1, 4)).sum()

    lehr.Training(model, optimizer, [batch], noting, device="meta").step()
    lehr.Training(model, optimizer, [batch], noting).step()
    assert seen == ["meta", "cpu"]


def test_the_device_is_the_models_own() -> None:
    model = nn.Linear(4, 1, device="meta")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    lehr.Training(model, optimizer, [torch.ones(2, 4)], lambda model, x: model(x).sum()).step()


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"model": 3}, TypeError, "model must be a torch.nn.Module"),
        ({"optimizer": 3}, TypeError, "optimizer must be a torch.optim.Optimizer, or several; got int"),
        ({"optimizer": []}, TypeError, "optimizer is empty"),
        ({"optimizer": torch.optim.SGD(nn.Linear(1, 1).parameters())}, ValueError, "no parameter of model"),
        ({"batches": 3}, TypeError, "batches must be a loader"),
        ({"loss": 3}, TypeError, "loss must be a function of model and batch"),
        ({"accumulate": 0}, ValueError, "accumulate must be a whole number"),
        ({"clip_norm": 0.0}, ValueError, "clip_norm must be a number above 0"),
        ({"clip_norm": "1"}, ValueError, "clip_norm must be a number above 0"),
        ({"scaler": 3}, TypeError, "scaler must be a torch.amp.GradScaler"),
        ({"autocast": "bf16"}, TypeError, "autocast must be a dtype"),
        ({"amount": 3}, TypeError, "amount must be a function"),
    ],
)
def test_bad_arguments_are_refused_in_one_sentence(change: dict[str, Any], error: type[Exception], says: str) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    arguments = {"model": model, "optimizer": optimizer, "batches": loader(), "loss": loss, **change}
    with pytest.raises(error, match=says):
        lehr.Training(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("returned", "says"),
    [(None, "Does it end with `return loss`"), (torch.ones(3), "one number; got a tensor of shape"), ("x", "a tensor")],
)
def test_a_loss_that_is_none(returned: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        training(loss=lambda model, batch: returned).step()


def test_the_order_of_calls_is_checked() -> None:
    one = training()
    with pytest.raises(ValueError, match="call backward"):
        one.update()
    one.backward()
    with pytest.raises(ValueError, match=r"call update\(\) first"):
        one.backward_micro_batch()


# -- data -------------------------------------------------------------------------------------------------------------


def test_data_that_ends_ends_the_run() -> None:
    one = training(batches=iter([data()[:8]] * 5))
    scheduler = lehr.Scheduler(one, lehr.Linear(), lehr.Budget(steps=10))
    assert len(list(one.run(scheduler))) == 5


def test_a_generator_function_is_an_epoch_each_time() -> None:
    def epoch() -> Iterator[Any]:
        yield from (data()[i : i + 8] for i in (0, 8))

    one = training(batches=epoch)
    for _ in range(5):
        one.step()
    assert one.batches.epoch == 2


def test_epochs_of_unknown_length_have_no_budget() -> None:
    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            return iter([data()[0]] * 10)

    one = training(nn.Linear(4, 1), batches=DataLoader(Stream(), batch_size=2))
    with pytest.raises(ValueError, match="steps_per_epoch.*for a stream, which has no length, count steps instead"):
        one.budget("2ep")
    assert one.budget("5steps") == lehr.Budget(steps=5, samples_per_step=2)
    one.step()


def test_budgets_know_accumulation_and_batches() -> None:
    assert training(accumulate=4).budget("3ep") == lehr.Budget(epochs=3, steps_per_epoch=1.5, samples_per_step=64)
    with pytest.raises(TypeError, match="a lehr.Budget or a text"):
        training().budget(3)  # type: ignore[arg-type]


def test_ranks_shuffle_anew_each_epoch() -> None:
    sampler = DistributedSampler(data(), num_replicas=2, rank=0, shuffle=True)
    batches = lehr.Batches(DataLoader(data(), batch_size=16, sampler=sampler))
    epochs = [torch.cat([next(batches)[0] for _ in range(3)]) for _ in range(3)]
    assert not torch.equal(epochs[0], epochs[1])
    assert not torch.equal(epochs[1], epochs[2])


def test_data_sets_that_count_epochs_are_told() -> None:
    class Counting(IterableDataset[Any]):
        def __init__(self) -> None:
            self.epochs: list[int] = []

        def set_epoch(self, epoch: int) -> None:
            self.epochs.append(epoch)

        def __iter__(self) -> Iterator[Any]:
            return iter(range(4))

    counting = Counting()
    batches = lehr.Batches(DataLoader(counting, batch_size=2))
    for _ in range(5):
        next(batches)
    assert counting.epochs == [0, 1, 2]


def test_samples_are_counted_by_themselves() -> None:
    one = training(batches=[data()[:8], data()[:24]])
    scheduler = lehr.Scheduler(one, lehr.Linear(), lehr.Budget(samples=64))
    assert len(list(one.run(scheduler))) == 4
    assert scheduler.spent == 64


def test_tokens_are_counted_by_a_function() -> None:
    one = training(batches=[data()[:8]], amount=lambda batch: 10 * len(batch[0]), accumulate=2)
    scheduler = lehr.Scheduler(one, lehr.Linear(), lehr.Budget(tokens=480))
    assert len(list(one.run(scheduler))) == 3


# -- no trace ---------------------------------------------------------------------------------------------------------


class Extra(nn.Module):
    """State of every kind that a module may own."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.seen: list[float] = []
        self.sums = {"loss": torch.zeros(1)}
        self.history = torch.zeros(0)
        self.secret = {"n": 0}

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.seen.append(float(self.calls))
        self.sums["loss"] += 1.0
        self.history = torch.cat([self.history, torch.ones(1)])
        self.secret = {"n": self.secret["n"] + 1}
        self.new = self.calls
        return x

    def get_extra_state(self) -> dict[str, int]:
        return self.secret

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.secret = state

    def everything(self) -> str:
        return repr((self.calls, self.seen, self.sums, self.history, self.secret, sorted(vars(self))))


def test_state_that_is_no_buffer_is_put_back() -> None:
    extra = Extra()
    one = training(nn.Sequential(nn.Linear(4, 4), extra, nn.Linear(4, 1)))
    with one.untouched():
        one.step()
    assert extra.everything() == Extra().everything()
    one.step()
    before, sums = extra.everything(), extra.sums
    lehr.range_test(one, low=1e-4, high=0.1, steps=12)
    lehr.plan(one, "1s", steps=3)
    assert extra.everything() == before
    assert extra.sums is sums


@pytest.mark.parametrize("part", ["whole", "part", "traced"])
def test_scripted_modules_are_put_back(part: str) -> None:
    plain = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    made = {
        "whole": lambda: torch.jit.script(nn.Sequential(*plain, nn.Linear(4, 1))),
        "part": lambda: nn.Sequential(torch.jit.script(plain), nn.Linear(4, 1)),
        "traced": lambda: nn.Sequential(torch.jit.trace(plain, torch.randn(4, 4)), nn.Linear(4, 1)),
    }[part]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing warns of torch's own code
        one = training(made())
    one.step()
    before = [t.detach().clone() for t in (*one.modules[0].parameters(), *one.modules[0].buffers())]
    lehr.range_test(one, low=1e-4, high=10.0, steps=30)
    assert same(before, [*one.modules[0].parameters(), *one.modules[0].buffers()])


def test_the_run_after_a_trial_is_the_run_without_it() -> None:
    plain, tried = training(), training()
    for one in (plain, tried):
        torch.manual_seed(3)
        if one is tried:
            lehr.range_test(one, low=1e-4, high=10.0, steps=40)
            lehr.plan(one, "1s", steps=5)
        for _ in range(20):
            one.step()
    assert same(weights(plain), weights(tried))


def test_what_else_is_touched_is_put_back() -> None:
    average = torch.optim.swa_utils.AveragedModel(model := network())

    def with_average(model: nn.Module, batch: Any) -> Tensor:
        average.update_parameters(model)
        return loss(model, batch)

    one = training(model, loss=with_average, touches=[average])
    before = copy.deepcopy(average.state_dict())
    with one.untouched():
        one.step()
        one.step()
    assert all(torch.equal(value, average.state_dict()[name]) for name, value in before.items())


def test_a_loss_with_weights_of_its_own_is_part_of_it() -> None:
    class Centre(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.centre = nn.Parameter(torch.zeros(1))

        def forward(self, model: nn.Module, batch: Any) -> Tensor:
            return (model(batch[0]) - batch[1] - self.centre).square().mean()

    centre, model = Centre(), network()
    optimizer = torch.optim.SGD([*model.parameters(), *centre.parameters()], lr=0.1)
    one = lehr.Training(model, optimizer, loader(), centre)
    lehr.range_test(one, low=1e-3, high=1.0, steps=12)
    assert float(centre.centre.detach()) == 0.0


def test_what_cannot_be_put_back_is_said_first() -> None:
    class Gives(nn.Linear):
        def get_extra_state(self) -> int:
            return 1

    one = training(nn.Sequential(Gives(4, 1)))
    before = weights(one)
    with pytest.raises(ValueError, match="takes none back; give it set_extra_state"):
        lehr.range_test(one, steps=10)
    assert same(before, weights(one))
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(TypeError, match=r"cannot be put back .* wrap the loader in lehr\.Batches"):
        lehr.Training.of(lambda: 0.0, touches=[model, optimizer, iter(range(3))])


# -- rates ------------------------------------------------------------------------------------------------------------


def test_set_peak_before_and_after_a_scheduler() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))
    groups = [{"params": model[0].parameters(), "lr": 0.0}, {"params": model[1].parameters(), "lr": 0.1}]
    one = lehr.Training(model, torch.optim.SGD(groups), loader(), loss)
    assert one.peak == 0.1
    one.set_peak(0.4)
    scheduler = lehr.Scheduler(one, lehr.Linear(), lehr.Budget(steps=4))
    assert scheduler.get_last_lr() == [0.0, 0.4]
    one.step(scheduler)
    one.set_peak(0.8)
    assert scheduler.get_last_lr() == pytest.approx([0.0, 0.6])
    assert one.optimizers[0].param_groups[1]["lr"] == pytest.approx(0.6)
    for wrong in (0.0, -1.0, math.nan, math.inf, True, "0.1", None):
        with pytest.raises(ValueError, match="rate must be a number above 0"):
            one.set_peak(wrong)  # type: ignore[arg-type]


def test_set_peak_of_several_optimizers_with_schedulers_of_their_own() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))
    parts = [torch.optim.SGD(model[0].parameters(), lr=0.1), torch.optim.SGD(model[1].parameters(), lr=0.2)]
    one = lehr.Training(model, parts, loader(), loss)
    schedulers = [lehr.Scheduler(part, lehr.Constant(), lehr.Budget(steps=4)) for part in parts]
    one.set_peak(0.3)
    assert [scheduler.get_last_lr() for scheduler in schedulers] == [[pytest.approx(0.3)], [pytest.approx(0.6)]]


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
@pytest.mark.parametrize("named", [[0], [0, 1]])
def test_set_peak_reaches_the_right_groups_whatever_the_scheduler_drives(order: list[int], named: list[int]) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))
    parts = [torch.optim.SGD(model[0].parameters(), lr=0.01), torch.optim.SGD(model[1].parameters(), lr=0.1)]
    one = lehr.Training(model, [parts[index] for index in named], loader(), loss)
    scheduler = lehr.Scheduler([parts[index] for index in order], lehr.Constant(), lehr.Budget(steps=10))
    one.set_peak(0.02)
    scheduler.step()
    rates = [part.param_groups[0]["lr"] for part in parts]
    assert rates == pytest.approx([0.02, 0.2 if 1 in named else 0.1])


def test_a_peak_that_a_trial_sets_is_gone_after_it() -> None:
    one = training()
    scheduler = lehr.Scheduler(one, lehr.Constant(), lehr.Budget(steps=10))
    one.step(scheduler)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with one.untouched():
            one.set_peak(0.5)
            one.step()
        assert scheduler.base_lrs == [0.05]
        one.step(scheduler)
    assert one.optimizers[0].param_groups[0]["lr"] == 0.05


# -- amounts ----------------------------------------------------------------------------------------------------------


def test_tokens_must_be_counted_by_amount() -> None:
    one = training()
    scheduler = lehr.Scheduler(one, lehr.Linear(), one.budget("1000tokens"))
    with pytest.raises(ValueError, match="give amount"):
        one.step(scheduler)
    counted = training(amount=lambda batch: batch[0].numel())
    scheduler = lehr.Scheduler(counted, lehr.Linear(), counted.budget("640tokens"))
    assert len(list(counted.run(scheduler))) == 10


def test_an_amount_of_ones_own_is_what_counts() -> None:
    one = training(amount=lambda batch: 100)
    scheduler = lehr.Scheduler(one, lehr.Linear(), one.budget("1000samples"))
    assert len(list(one.run(scheduler))) == 10


def test_the_samples_of_partial_batches_are_counted_and_planned() -> None:
    one = training(nn.Linear(4, 1), DataLoader(data(65), batch_size=64))  # 64, 1, 64, 1, ...
    scheduler = lehr.Scheduler(one, lehr.Linear(), one.budget("650samples"))
    assert len(list(one.run(scheduler))) == 20
    assert lehr.plan(one, "650samples").updates.value == pytest.approx(20)
    assert one.budget("5steps").samples_per_step == pytest.approx(32.5)


def test_a_scheduler_of_other_optimizers_would_never_end() -> None:
    other = lehr.Scheduler(training(), lehr.Linear(), lehr.Budget(steps=3))
    with pytest.raises(ValueError, match="other optimizers"):
        next(training().run(other))


# -- parts that are easily forgotten ----------------------------------------------------------------------------------


class Noisy(nn.Module):
    """A model with random numbers of its own, of three kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 1)
        self.torch, self.python = torch.Generator(), random.Random(0)
        self.numpy, self.legacy = numpy.random.default_rng(0), numpy.random.RandomState(0)

    def numbers(self) -> tuple[float, ...]:
        return (
            torch.rand(1, generator=self.torch).item(), self.python.random(), float(self.numpy.random()),
            float(self.legacy.random_sample()),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) * (1.0 + sum(self.numbers()))  # type: ignore[no-any-return]


def test_a_trial_puts_back_the_generators_that_a_model_keeps() -> None:
    noisy = Noisy()
    one = training(noisy)
    before = copy.deepcopy(noisy).numbers()
    lehr.plan(one, "10steps", steps=2)
    assert noisy.numbers() == before


def test_a_checkpoint_has_the_generators_and_other_batches_that_are_touched(tmp_path: Path) -> None:
    def build() -> lehr.Training:
        noisy = Noisy()
        noisy.load_state_dict({"layer.weight": torch.ones(1, 4), "layer.bias": torch.zeros(1)})
        more = lehr.Batches(loader(generator=torch.Generator().manual_seed(3)))

        def both(model: nn.Module, batch: Any) -> Tensor:
            return loss(model, batch) + loss(model, next(more))

        return training(noisy, loss=both, touches=[noisy.torch, noisy.python, noisy.numpy, noisy.legacy, more])

    one = build()
    for _ in range(8):
        one.step()
    torch.save(one.state_dict(), tmp_path / "state.pt")
    expected = [one.step().item() for _ in range(8)]
    two = build()
    two.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert [two.step().item() for _ in range(8)] == expected


def test_a_parameter_of_two_optimizers_is_clipped_once() -> None:
    model = nn.Linear(1, 1, bias=False)
    parts = [torch.optim.SGD(model.parameters(), lr=0.1) for _ in range(2)]
    one = lehr.Training(model, parts, [torch.full((1, 1), 10.0)], lambda model, x: model(x).sum(), clip_norm=1.0)
    one.backward()
    assert model.weight.grad is not None
    assert model.weight.grad.item() == pytest.approx(1.0, rel=1e-4)


def test_gradients_that_are_complete_are_clipped_and_unscaled_once() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    one = training(scaler=scaler, clip_norm=1.0)
    one.backward()
    before = [p.grad.clone() for p in one.modules[0].parameters() if p.grad is not None]
    one.backward()
    assert all(map(torch.equal, before, (p.grad for p in one.modules[0].parameters() if p.grad is not None)))
    one.update()


def test_epochs_differ_though_one_began_in_a_look() -> None:
    inputs = torch.arange(20.0).reshape(20, 1)
    torch.manual_seed(0)
    batches = lehr.Batches(DataLoader(inputs, batch_size=2, shuffle=True))
    epochs: list[list[float]] = [[]]
    for index in range(40):
        if index == 8:
            with lehr.untouched(batches):
                for _ in range(3):
                    next(batches)
        if index and index % 10 == 0:
            epochs.append([])
        epochs[-1] += next(batches).flatten().tolist()
    assert all(sorted(epoch) == inputs.flatten().tolist() for epoch in epochs)
    assert len(set(map(tuple, epochs))) == len(epochs)


def test_a_range_test_goes_on_in_training_mode_after_an_evaluation() -> None:
    modes: list[bool] = []

    def watched(model: nn.Module, batch: Any) -> Tensor:
        modes.append(model.training)
        return loss(model, batch)

    one = training(loss=watched)
    lehr.range_test(one, steps=20, high=0.1, evaluate=lambda: float(one.modules[0].eval().training), evaluate_every=5)
    assert all(modes)


def test_packed_sequences_and_dictionaries_of_any_kind_are_placed() -> None:
    packed = nn.utils.rnn.pack_sequence([torch.ones(3), torch.ones(2)])
    assert placed(packed, torch.device("meta")).data.device.type == "meta"
    counted = placed(defaultdict(list, x=torch.ones(2)), torch.device("meta"))
    assert counted["x"].device.type == "meta"
    assert counted["missing"] == []


def test_an_optimizer_that_asks_for_a_closure_is_refused_at_once() -> None:
    model = network()
    with pytest.raises(TypeError, match=r"LBFGS, which asks for a closure.*Training.of"):
        lehr.Training(model, torch.optim.LBFGS(model.parameters()), loader(), loss)


def test_a_plan_of_data_that_ends_too_soon_says_so() -> None:
    with pytest.raises(ValueError, match="came to their end"):
        lehr.plan(training(batches=iter(loader())), "10steps", steps=5, warmup=5)


# -- loops of one's own -----------------------------------------------------------------------------------------------


class Yours:
    """A loop that lehr does not own, with clipping and a count."""

    def __init__(self, seed: int = 0) -> None:
        self.model = network(seed)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-4, momentum=0.9)
        self.batches = lehr.Batches(loader())

    def backward(self) -> Tensor:
        self.optimizer.zero_grad()
        value = loss(self.model, next(self.batches))
        value.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        return value

    def step(self) -> Tensor:
        value = self.backward()
        self.optimizer.step()
        return value

    def training(self, **options: Any) -> lehr.Training:
        return lehr.Training.of(self.step, touches=[self.model, self.optimizer, self.batches], **options)


def test_your_step_is_tested_planned_and_scheduled() -> None:
    yours = Yours()
    one = yours.training()
    before = weights(one)
    result = lehr.range_test(one, low=1e-4, high=100.0, steps=60)
    assert len(result.losses) > 10
    assert lehr.plan(one, "2s", steps=3).updates.value > 1
    assert same(before, weights(one))
    scheduler = lehr.Scheduler(one, lehr.Linear(), lehr.Budget(steps=5))
    assert len(list(one.run(scheduler))) == 5


def test_the_tuner_looks_along_your_clipped_step() -> None:
    """With `backward` the tuner sees what it sees in a training that lehr owns."""
    yours = Yours()
    one = yours.training(backward=yours.backward)
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    other = lehr.Training(model, optimizer, loader(), loss, clip_norm=1.0)
    decisions = []
    for each in (one, other):
        torch.manual_seed(7)
        scheduler = lehr.Scheduler(each, lehr.LRTuner(), lehr.Budget(steps=60))
        list(each.run(scheduler))
        decisions.append([(one.what, one.goal) for one in scheduler.policy.history[:1]])
    assert decisions[0] == decisions[1]


def test_a_tuner_without_backward_is_refused_before_anything_has_changed() -> None:
    yours = Yours()
    one = yours.training()
    before = weights(one)
    scheduler = lehr.Scheduler(one, lehr.LRTuner(), lehr.Budget(steps=10))
    with pytest.raises(ValueError, match=r"give Training\.of a function backward"):
        one.step(scheduler)
    assert same(before, weights(one))


def test_your_step_may_be_wrong() -> None:
    yours = Yours()
    with pytest.raises(TypeError, match="step must be a function"):
        lehr.Training.of(3, touches=[yours.optimizer])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="touches must name the optimizer"):
        lehr.Training.of(yours.step, touches=[yours.model])
    with pytest.raises(ValueError, match="Does it end with `return loss`"):
        lehr.Training.of(lambda: None, touches=[yours.optimizer]).step()


def test_a_scheduler_that_is_not_named_is_noticed() -> None:
    yours = Yours()
    other = torch.optim.lr_scheduler.StepLR(yours.optimizer, 1)

    def step() -> Tensor:
        value = yours.step()
        other.step()
        return value

    touches = [yours.model, yours.optimizer, yours.batches]
    with pytest.raises(ValueError, match="name the scheduler that does so in its touches"):
        lehr.range_test(lehr.Training.of(step, touches=touches), steps=10)
    lehr.range_test(lehr.Training.of(step, touches=[*touches, other]), low=1e-4, high=0.1, steps=12)
    assert other.last_epoch == 1  # the one step of the first test, which did not know of it


def test_two_networks_that_take_turns() -> None:
    torch.manual_seed(0)
    maker, critic = nn.Linear(2, 4), nn.Linear(4, 1)
    parts = [torch.optim.Adam(maker.parameters(), lr=1e-3), torch.optim.Adam(critic.parameters(), lr=1e-3)]

    def step() -> Tensor:
        for _ in range(3):
            parts[1].zero_grad()
            (critic(maker(torch.randn(8, 2)).detach()).mean() - critic(torch.randn(8, 4)).mean()).backward()
            parts[1].step()
        parts[0].zero_grad()
        value = -critic(maker(torch.randn(8, 2))).mean()
        value.backward()
        parts[0].step()
        return value

    one = lehr.Training.of(step, touches=[maker, critic, *parts])
    scheduler = lehr.Scheduler(one, lehr.Linear(), lehr.Budget(steps=6))
    assert len(list(one.run(scheduler))) == 6  # an update of the run is one of the optimizer that makes the fewest
    before = weights(one)
    lehr.range_test(one, low=1e-5, high=1e-2, steps=12)
    assert same(before, weights(one))


# -- checkpoints ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stop", "workers"), [(0, 0), (1, 0), (6, 0), (7, 0), (12, 0), (1, 2), (7, 2)])
def test_resume_is_exact_with_shuffling_dropout_and_workers(stop: int, workers: int, tmp_path: Path) -> None:
    def begin() -> tuple[lehr.Training, lehr.Scheduler, lehr.Checkpoints]:
        one = training(batches=loader(num_workers=workers))
        scheduler = lehr.Scheduler(one, lehr.Cosine(), lehr.Budget(steps=15))
        return one, scheduler, lehr.Checkpoints(tmp_path, training=one, scheduler=scheduler)

    torch.manual_seed(5)
    whole, scheduler, _ = begin()
    torch.manual_seed(6)
    list(whole.run(scheduler))

    first, scheduler, checkpoints = begin()
    torch.manual_seed(6)
    for _ in range(stop):
        first.step(scheduler)
    checkpoints.save(stop)
    torch.manual_seed(99)

    second, scheduler, checkpoints = begin()
    assert checkpoints.resume() == stop
    list(second.run(scheduler))
    assert same(weights(whole), weights(second))


def test_a_position_after_a_trial_that_went_into_the_next_epoch() -> None:
    def begin() -> lehr.Batches[torch.Tensor]:
        return lehr.Batches(DataLoader(torch.arange(12.0), batch_size=3, shuffle=True))

    torch.manual_seed(1)
    whole = begin()
    for _ in range(3):
        next(whole)
    with lehr.untouched(whole):
        for _ in range(4):
            next(whole)
    state, numbers = copy.deepcopy(whole.state_dict()), torch.get_rng_state()
    rest = [next(whole).tolist() for _ in range(12)]
    torch.manual_seed(2)
    again = begin()
    again.load_state_dict(state)
    torch.set_rng_state(numbers)
    assert [next(again).tolist() for _ in range(12)] == rest


def test_a_position_in_data_that_has_shrunk_is_refused() -> None:
    batches = lehr.Batches([1, 2, 3, 4, 5])
    for _ in range(4):
        next(batches)
    with pytest.raises(ValueError, match="had used 4 batches of its epoch, but the loader has only 2"):
        lehr.Batches([1, 2]).load_state_dict(batches.state_dict())


def test_a_checkpoint_of_another_training_is_refused() -> None:
    state = training().state_dict()
    model = network()
    parts = [torch.optim.SGD(model[0].parameters(), lr=0.1), torch.optim.SGD(model[4].parameters(), lr=0.1)]
    with pytest.raises(ValueError, match="holds 1 optimizers, but this training has 2"):
        lehr.Training(model, parts, loader(), loss).load_state_dict(state)


def test_a_training_moves_before_its_first_update() -> None:
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    training = lehr.Training(model, optimizer, [torch.ones(4, 2)], lambda model, x: model(x).mean())
    with pytest.raises(ValueError, match="weights that did not move to meta; make the networks there"):
        training.to("meta")
    with torch.device("meta"):
        model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    training = lehr.Training(model, optimizer, [torch.ones(4, 2)], lambda model, x: model(x).mean(), device="cpu")
    training.to("meta")
    assert training.device.type == training.step().device.type == "meta"
    with pytest.raises(ValueError, match="an optimizer has stepped already"):
        training.to("cpu")
    with pytest.raises(ValueError, match="a step of your own places its batches itself"):
        lehr.Training.of(lambda: 0.0, touches=[optimizer]).to("cpu")


def test_trainings_are_no_cycles() -> None:
    """They hold the model, which a loop over trainings would keep until Python looks for cycles."""
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    made = [
        lehr.Training.of(lambda: 0.0, touches=[model, optimizer]),
        lehr.Training(model, optimizer, [torch.ones(1, 2)], lambda model, x: model(x).sum()),
    ]
    watched = [weakref.ref(one) for one in made]
    gc.collect()
    gc.disable()
    try:
        made.clear()
        assert [one() for one in watched] == [None, None]
    finally:
        gc.enable()


def test_a_run_whose_updates_are_not_made_comes_to_an_end() -> None:
    """Where something else has taken the place of the optimizer's step, as in a test of one's own."""
    small = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(small.parameters(), lr=0.1)
    optimizer.step = lambda *_, **__: None  # type: ignore[method-assign]
    training = lehr.Training(small, optimizer, [torch.ones(4, 2)], lambda model, batch: model(batch).mean())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lehr.BudgetWarning)
        with pytest.raises(RuntimeError, match="200 steps in a row made no update"):
            lehr.fit(training, "5steps", lehr.Linear(), progress=False)
        scheduler = lehr.Scheduler(optimizer, lehr.Linear(), lehr.Budget(steps=5))
        with pytest.raises(RuntimeError, match="200 steps in a row made no update"):
            list(training.run(scheduler))
