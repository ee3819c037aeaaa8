"""A range test of a task."""

from __future__ import annotations

import pytest
import torch

from lab.small import task
from lehr import lab


def test_a_task_is_tested_and_a_run_after_it_is_not_disturbed() -> None:
    small = task()
    settings = lab.Settings("3ep", 2)
    before = lab.train(small, lab.METHODS["linear"], settings, seed=0)
    found = lab.find(small, low=1e-4, high=1e4, steps=150, evaluate_every=5)
    after = lab.train(small, lab.METHODS["linear"], settings, seed=0)
    assert before.curve[-1].validation_loss == after.curve[-1].validation_loss
    assert 1e-3 < found.valley() < found.edge() < 1e4
    assert found.metrics is not None
    assert all(0.0 <= metric <= 1.0 for metric in found.metrics)
    assert found.evaluations is not None
    assert len(found.evaluations) == (len(found.rates) - 1) // 5  # not after the update that ended it
    assert found.higher_is_better


def test_less_is_better_where_the_metric_says_so() -> None:
    small = task(
        model=lambda: torch.nn.Linear(4, 1), data=regression, loss=torch.nn.functional.mse_loss,
        metric=lab.MEAN_SQUARED_ERROR,
    )  # fmt: skip
    found = lab.find(small, low=1e-4, high=1e2)
    assert not found.higher_is_better
    low, high = found.bounds()
    assert low < high < found.edge() * 2


def regression() -> lab.Data:
    inputs = torch.randn(160, 4, generator=torch.Generator().manual_seed(0))
    return lab.split(inputs, inputs.sum(1, keepdim=True), validation=40, test=40)


def test_what_makes_no_sense_is_told() -> None:
    with pytest.raises(ValueError, match="high above low"):
        lab.find(task(), low=1.0, high=0.1)
