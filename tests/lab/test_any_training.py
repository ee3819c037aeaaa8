"""The lab trains what people train: loaders, dict batches, sequences, streams, several optimizers, their own loops."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lehr
from lab import any_training as trainings
from lab import small
from lehr import lab
from lehr.lab.report import csv_of

KINDS: dict[str, Callable[[], lab.TrainingTask]] = {
    one.__name__: one
    for one in (
        trainings.augmented_images, trainings.bert, trainings.lstm, trainings.stream, trainings.two_optimizers,
        trainings.own_loop, trainings.endless,
    )
}  # fmt: skip


STARTERS = ("constant", "lrtuner", "mlrsnet", "learned", "gen")


def timeless(run: lab.Run) -> lab.Run:
    return replace(run, seconds=0.0, curve=tuple(replace(row, seconds=0.0) for row in run.curve))


def train(
    task: lab.TrainingTask, method: str = "linear", seed: int = 0, evaluations: int = 3, **arguments: Any
) -> lab.Run:
    settings = lab.Settings(evaluations=evaluations)
    return timeless(lab.train(task, lab.load_methods(method)[0], settings, seed, **arguments))


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_is_repeatable_and_comes_from_its_seed(kind: str) -> None:
    first = train(KINDS[kind]())
    torch.rand(3), random.random(), np.random.rand()  # random numbers of the process are nothing to a run
    assert train(KINDS[kind]()) == first
    assert train(KINDS[kind](), seed=1).curve[0].train_loss != first.curve[0].train_loss
    assert first.test is not None
    assert first.diverged_at is None


@pytest.mark.parametrize("kind", KINDS)
def test_methods_start_from_the_same_weights_and_see_the_same_batches(kind: str) -> None:
    """With rate zero nothing is learned, so all see the same losses; others look ahead before their first update."""
    still = [train(KINDS[kind](), method, lr=1e-30) for method in ("constant", "cosine")]
    assert [row.train_loss for row in still[0].curve] == [row.train_loss for row in still[1].curve]
    first = {train(KINDS[kind](), method, evaluations=100).curve[0].train_loss for method in STARTERS}
    assert len(first) == 1


@pytest.mark.parametrize("method", ["freezeout", "gen", "lqa", "qlabgrad", "lrtuner", "learned", "mlrsnet", "plateau"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_method_trains_every_kind_of_training(kind: str, method: str) -> None:
    task = KINDS[kind]()
    if method == "freezeout" and kind in ("two_optimizers", "own_loop", "endless"):
        with pytest.raises(ValueError, match=r"Muon and AdamW|freezing needs to see the model run|at least two layers"):
            train(task, method)
        return
    run = train(task, method)
    assert run.diverged_at is not None or run.test is not None
    assert run.updates > 0
    looks = method in ("gen", "lqa", "qlabgrad", "lrtuner")
    assert (run.probe_passes > 0) == looks
    assert run.forward_passes >= run.updates + run.probe_passes


def test_a_loader_with_its_own_generator_gives_all_methods_the_same_batches() -> None:
    """Also to those that look ahead into the next epoch, and those that test rates before they start."""
    seen: dict[str, list[float]] = {}

    def task(method: str) -> lab.TrainingTask:
        def loss(model: torch.nn.Module, batch: Any) -> torch.Tensor:
            if torch.is_grad_enabled():
                seen.setdefault(method, []).append(float(batch[0].sum()))
            return torch.nn.functional.cross_entropy(model(batch[0]), batch[1])

        def make_training(seed: int) -> lehr.Training:
            model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.2), torch.nn.Linear(8, 2))
            pairs = torch.utils.data.TensorDataset(*small.data().train)
            loader = torch.utils.data.DataLoader(pairs, batch_size=16, shuffle=True, generator=trainings.numbers(seed))
            return lehr.Training(model, torch.optim.SGD(model.parameters(), lr=0.1), loader, loss)

        return lab.TrainingTask(
            make_training=make_training, validate=trainings.held_out, test=trainings.held_out, budget="6ep"
        )

    for method in ("constant", "gen", "lqa", "qlabgrad", "learned"):
        train(task(method), method)
    updates = len(seen["constant"])
    assert updates == 30
    assert all(batches[-updates:] == seen["constant"] for batches in seen.values())


def test_workers_of_a_loader_change_nothing_about_repeatability() -> None:
    assert train(trainings.augmented_images(workers=2)) == train(trainings.augmented_images(workers=2))


def test_evaluation_leaves_modes_and_random_numbers_as_they_were() -> None:
    def careless(training: lehr.Training) -> float:
        torch.rand(3), random.random(), np.random.rand()
        assert not torch.is_grad_enabled()
        assert not training.modules[0].training
        for module in training.modules[0].children():
            module.train()
        return 0.5

    plain, disturbed = (train(trainings.augmented_images(validate=one)) for one in (lambda training: 0.5, careless))
    assert [row.train_loss for row in plain.curve] == [row.train_loss for row in disturbed.curve]
    assert plain.test == disturbed.test


def test_evaluation_does_not_count_as_time() -> None:
    def slow(training: lehr.Training) -> float:
        time.sleep(0.3)
        return 0.5

    run = lab.train(
        replace(trainings.two_optimizers(), validate=slow, test=slow), lab.METHODS["linear"], lab.Settings("0.2s", 5), 0
    )
    assert 0.2 <= run.seconds < 0.5


def test_the_test_set_is_looked_at_once_in_each_reported_run() -> None:
    looks: list[int] = []

    def test(training: lehr.Training) -> float:
        looks.append(1)
        return 0.5

    task = replace(trainings.two_optimizers(), test=test)
    results = lab.compare(task, "linear,lrtuner", seeds=2, lr_grid=[0.01, 0.02], shares=[0.5])
    assert results.total.runs == 2 * 2 + 2 * 2 * 2
    assert len(looks) == 2 * 2 * 2


def test_other_numbers_are_kept_with_the_runs(tmp_path: Path) -> None:
    results = lab.compare(trainings.bert(), "linear", seeds=1, out=tmp_path)
    (run,) = lab.read_results(tmp_path).runs
    assert set(run.test_numbers) == {"accuracy"} == set(run.curve[-1].numbers)
    assert run.curve[-1].validation_loss is not None
    assert results.metric.name == "F1"
    assert csv_of(results).splitlines()[0].endswith(",probe_passes,test accuracy")


def test_passes_are_counted_as_for_tensors() -> None:
    inputs = torch.randn(160, 4, generator=trainings.numbers(0))
    targets = ((inputs.sum(1) > 0) ^ (torch.arange(160) % 5 == 0)).long()  # a fifth wrong, so that long steps do harm
    data = lab.split(inputs, targets, validation=40, test=40)
    plain = small.task(batch_size=8, data=data)
    inputs, targets = data.train
    pairs = torch.utils.data.TensorDataset(inputs, targets)

    def make_training(seed: int, calls: int = 1) -> lehr.Training:
        def loss(model: torch.nn.Module, batch: Any) -> torch.Tensor:
            return sum(torch.nn.functional.cross_entropy(model(batch[0]), batch[1]) for _ in range(calls)) / calls  # type: ignore[return-value]

        model = torch.nn.Linear(4, 2)
        loader = torch.utils.data.DataLoader(pairs, batch_size=8, shuffle=True)
        return lehr.Training(model, torch.optim.SGD(model.parameters(), lr=0.5), loader, loss)

    for calls in (1, 3):
        own = lab.TrainingTask(
            make_training=partial(make_training, calls=calls), validate=trainings.held_out, test=trainings.held_out
        )
        for method in ("linear", *(("lrtuner",) if calls > 1 else ("gen", "lqa", "qlabgrad", "lrtuner"))):
            settings = lab.Settings("40steps")
            ours, theirs = (lab.train(one, lab.METHODS[method], settings, 0, 0.1) for one in (plain, own))
            assert (theirs.probe_passes > 0) == (ours.probe_passes > 0), method
            assert theirs.forward_passes - theirs.probe_passes >= theirs.updates
            if method in ("linear", "lqa", "gen"):  # which look as often whatever they see
                assert (theirs.forward_passes, theirs.probe_passes) == (ours.forward_passes, ours.probe_passes)


@pytest.mark.parametrize(
    ("changes", "method", "message"),
    [
        ({"make_training": lambda seed: torch.nn.Linear(1, 1)}, "linear", "must return a lehr.Training; got Linear"),
        (
            {"validate": lambda training: "good"},
            "linear",
            "validate must return a number, or numbers by name; got 'good",
        ),
        ({"validate": lambda training: torch.zeros(2)}, "linear", r"must return numbers; got a tensor of shape \(2,\)"),
        (
            {"validate": lambda training: {"F1": 1.0}},
            "linear",
            "validate must return a number named 'accuracy'.* got F1",
        ),
        ({"test": lambda training: {}}, "linear", "test must return a number named 'accuracy'.* got none"),
        ({"example": None}, "linear", None),
        ({"budget": "3"}, "linear", "has no unit"),
    ],
)
def test_what_a_task_gets_wrong_is_told(changes: dict[str, Any], method: str, message: str | None) -> None:
    task = trainings.augmented_images(**changes)
    if message is None:
        assert train(task, method).test is not None
        return
    with pytest.raises(ValueError, match=message):
        train(task, method)
    with pytest.raises(ValueError, match=message):  # with its line, or as it is
        lab.compare(task, method, seeds=1)


def test_arguments_of_the_wrong_kind_are_refused() -> None:
    good = trainings.stream()
    for name, value, message in (
        ("make_training", 3, "make_training must be a function; got 3"),
        ("test", None, "test must be a function; got None"),
        ("criterion", "F1", r"criterion must be a lehr.lab.Criterion, such as lab.Criterion\('F1'\); got 'F1'"),
        ("budget", 10, "budget must be a text; got 10"),
    ):
        with pytest.raises(TypeError, match=message):
            replace(good, **{name: value})
    with pytest.raises(TypeError, match="task must be a name, a lehr.lab.Task or a lehr.lab.TrainingTask; got 3"):
        lab.compare(3)  # type: ignore[arg-type]


def test_epochs_of_data_without_a_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"the budget '3ep' counts epochs, but .* such as '500steps'"):
        lab.compare(trainings.endless(), "linear", budget="3ep", seeds=1)


def test_data_that_end_before_the_budget_are_told() -> None:
    def make_training(seed: int) -> lehr.Training:
        model = torch.nn.Linear(4, 2)
        batches = iter([(torch.randn(8, 4), torch.zeros(8, dtype=torch.int64)) for _ in range(3)])
        return lehr.Training(model, torch.optim.SGD(model.parameters(), lr=0.1), batches, trainings.batch_loss)

    with pytest.raises(ValueError, match="the batches came to their end after 3 updates, before the budget"):
        train(replace(trainings.stream(), make_training=make_training))


def test_what_is_shared_between_runs_is_noticed() -> None:
    task = trainings.two_optimizers()
    training = task.make_training(0)
    with pytest.raises(ValueError, match="make_training must make a new network at each call"):
        lab.compare(replace(task, make_training=lambda seed: training), "linear", seeds=1)
    part = torch.nn.Linear(4, 4)

    def shares_a_part(seed: int) -> lehr.Training:
        model = torch.nn.Sequential(part, torch.nn.Linear(4, 2))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        return lehr.Training(model, optimizer, training.batches.loader, trainings.batch_loss)

    sharing = replace(task, make_training=shares_a_part)
    with pytest.raises(ValueError, match="make_training must make a new network at each call"):
        train(sharing), train(sharing)
    part = torch.nn.Linear(4, 4).requires_grad_(False)  # which no run changes
    assert train(sharing).updates == train(sharing, "constant").updates
    rows = [(torch.randn(4), torch.tensor(0)) for _ in range(64)]
    loader = torch.utils.data.DataLoader(rows, batch_size=8, shuffle=True, generator=trainings.numbers(0))  # type: ignore[arg-type,var-annotated]

    def shares_a_loader(seed: int) -> lehr.Training:
        model = torch.nn.Linear(4, 2)
        return lehr.Training(model, torch.optim.SGD(model.parameters(), lr=0.1), loader, trainings.batch_loss)

    with pytest.raises(ValueError, match=r"make_training\(0\) gave other batches or weights when it was called again"):
        lab.compare(replace(task, make_training=shares_a_loader), "linear", seeds=1)


def test_a_scheduler_of_its_own_is_refused() -> None:
    def make_training(seed: int) -> lehr.Training:
        model = torch.nn.Linear(4, 2)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
        return lehr.Training.of(lambda: 0.0, touches=[model, optimizer, scheduler])

    with pytest.raises(ValueError, match="steps a scheduler of its own, .* leave that scheduler out"):
        train(replace(trainings.stream(), make_training=make_training))


def test_accumulation_is_the_trainings_own_affair() -> None:
    with pytest.raises(ValueError, match=r"accumulate is for a lab.Task; .* lehr.Training\(..., accumulate=2\)"):
        lab.compare(trainings.stream(), "linear", seeds=1, accumulate=2)


def test_a_loss_that_is_not_finite_ends_a_run() -> None:
    task = trainings.augmented_images()
    run = train(task, "constant", lr=1e30)
    assert run.diverged_at is not None
    assert (run.test, run.validation) == (None, None)


def test_a_folder_is_continued_by_the_same_task_and_refused_to_another(tmp_path: Path) -> None:
    first = lab.compare(trainings.augmented_images(), "linear", seeds=1, out=tmp_path)
    more = lab.compare(trainings.augmented_images(), "linear,constant", seeds=1, out=tmp_path)
    assert [run for run in more.runs if run.method == "linear"] == list(first.runs)
    for other in (
        trainings.augmented_images(accumulate=2), trainings.augmented_images(validate=lambda training: 0.1),
        trainings.augmented_images(criterion=lab.Criterion("accuracy")),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="holds runs of another comparison"):
            lab.compare(other, "linear", seeds=1, out=tmp_path)


def test_a_range_test_of_a_training() -> None:
    found = lab.find(trainings.lstm(), low=1e-5, high=100.0, steps=60, evaluate_every=10)
    assert found.evaluations is not None
    assert found.metrics is not None
    assert all(0.0 <= metric <= 1.0 for metric in found.metrics)
    assert found.edge() > 1e-3


def test_the_example_is_a_task() -> None:
    task = lab.load_task(f"{Path(__file__).parents[2] / 'examples' / 'any_training.py'}:make_task")
    results = lab.compare(task, "linear", seeds=1)
    assert results.runs[0].test is not None
    assert results.runs[0].test > 0.5
