"""Metrics are those of whole sets, however a set is cut."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lab.small import task
from lehr import lab
from lehr.lab.tensors import TensorLoop


def f1(outputs: Tensor, targets: Tensor) -> Tensor:
    guess = outputs.argmax(-1)
    return 2 * ((guess == 1) & (targets == 1)).sum() / ((guess == 1).sum() + (targets == 1).sum()).clamp(min=1)


def auc(outputs: Tensor, targets: Tensor) -> Tensor:
    scores = outputs[:, 1] - outputs[:, 0]
    return (scores[targets == 1][:, None] > scores[targets == 0]).float().mean()


def rmse(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).square().mean().sqrt()


def by_class(examples: int = 2_300) -> lab.Data:
    """Two classes, the second one rare, sorted by class as a test file may be."""
    x = torch.randn(examples, 4, generator=torch.Generator().manual_seed(1))
    y = (x.sum(1) > 2.5).long()
    order = torch.argsort(y, stable=True)
    return lab.Data((x[:200], y[:200]), (x[order], y[order]), (x[order], y[order]))


@pytest.mark.parametrize("metric", [f1, auc], ids=lambda metric: metric.__name__)
def test_a_metric_that_is_no_mean_is_that_of_the_whole_set(metric) -> None:
    data = by_class()
    loop = TensorLoop(task(data=data, metric=lab.Metric(metric.__name__, metric)), data, 0)
    assert loop.evaluate(data.test)[1] == float(metric(loop.model(data.test[0]), data.test[1]))


def test_a_root_is_taken_once() -> None:
    x = torch.randn(2_500, 4, generator=torch.Generator().manual_seed(1))
    y = x.sum(1, keepdim=True) * torch.linspace(0.0, 5.0, 2_500)[:, None]
    data = lab.Data((x, y), (x, y), (x, y))
    chosen = task(
        data=data, model=lambda: torch.nn.Linear(4, 1), loss=torch.nn.functional.mse_loss,
        metric=lab.Metric("root mean squared error", rmse, higher_is_better=False),
    )  # fmt: skip
    loop = TensorLoop(chosen, data, 0)
    assert loop.evaluate(data.test)[1] == pytest.approx(float(rmse(loop.model(x).detach(), y)), rel=1e-5)


def test_means_are_summed_as_they_always_were() -> None:
    data = by_class(2_345)
    loop = TensorLoop(task(data=data), data, 0)
    total = 0.0
    for start in range(0, 2_345, 1_000):
        x, y = (part[start : start + 1_000] for part in data.test)
        total += float((loop.model(x).argmax(-1) == y).float().mean()) * len(x)
    assert loop.evaluate(data.test)[1] == total / 2_345


class BinaryF1:
    """As those of torchmetrics are."""

    higher_is_better: bool | None = True

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.right, self.named, self.there = 0, 0, 0

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        guess = outputs.argmax(-1)
        self.right += int(((guess == 1) & (targets == 1)).sum())
        self.named += int((guess == 1).sum())
        self.there += int((targets == 1).sum())

    def compute(self) -> float:
        return 2 * self.right / max(1, self.named + self.there)

    def __call__(self, outputs: Tensor, targets: Tensor) -> float:
        raise AssertionError("an accumulator is not called batch by batch")


class Lower(BinaryF1):
    higher_is_better = False


class Silent(BinaryF1):
    higher_is_better = None


def test_an_accumulator_is_a_metric_as_it_is() -> None:
    data = by_class()
    chosen = task(data=data, metric=BinaryF1())
    assert chosen.metric.name == "BinaryF1"
    loop = TensorLoop(chosen, data, 0)
    for _ in range(2):  # nothing stays from one evaluation to the next
        assert loop.evaluate(data.test)[1] == pytest.approx(float(f1(loop.model(data.test[0]), data.test[1])))
    assert lab.find(chosen, steps=20).losses


def test_an_accumulator_knows_its_direction() -> None:
    assert not task(metric=Lower()).metric.higher_is_better
    assert not lab.Metric("mine", Lower()).higher_is_better
    assert lab.Metric("mine", Lower(), higher_is_better=True).higher_is_better
    with pytest.raises(ValueError, match="higher_is_better must be given, since Silent does not say it"):
        task(metric=Silent())
    assert lab.Metric("mine", Silent(), higher_is_better=False).criterion.sign == -1.0


def test_metrics_that_come_to_no_number_are_told() -> None:
    data = by_class()
    for metric, message in (
        (lambda outputs, targets: outputs.mean(0), r"must come to one number; got a tensor of shape \(2,\)"),
        (lambda outputs, targets: "good", "must come to one number; got 'good'"),
    ):
        with pytest.raises(ValueError, match=message):
            TensorLoop(task(data=data, metric=lab.Metric("odd", metric)), data, 0).evaluate(data.test)
    with pytest.raises(TypeError, match="compute must be a function of outputs and targets"):
        lab.Metric("odd", 3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"metric must be a lehr.lab.Metric.* got <class"):
        task(metric=BinaryF1)


def test_outputs_that_cannot_be_put_together_are_told() -> None:
    class TimeFirst(torch.nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).expand(7, -1, -1)

    def last(outputs: Tensor, targets: Tensor) -> Tensor:
        return f1(outputs[-1], targets)

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return torch.nn.functional.cross_entropy(outputs[-1], targets)

    data = by_class()
    made = task(data=data, model=lambda: TimeFirst(4, 2), loss=loss, metric=lab.Metric("last", last))
    with pytest.raises(ValueError, match=r"must have the examples along their first dimension; got .*\(7, 1000, 2\)"):
        TensorLoop(made, data, 0).evaluate(data.test)
    mean = lab.Metric("last", lab.MeanOverExamples(last))
    made = task(data=data, model=lambda: TimeFirst(4, 2), loss=loss, metric=mean)
    assert 0.0 <= TensorLoop(made, data, 0).evaluate(data.test)[1] <= 1.0
