"""What a budget buys is measured, stated with its uncertainty, and nothing is spent."""

from __future__ import annotations

import pytest
import torch

import lehr


class Steps:
    """Updates that take the times given, on a clock of their own, and change a model."""

    def __init__(self, *took: float) -> None:
        self.model = torch.nn.Linear(2, 1)
        optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self.training = lehr.Training.of(self.update, touches=[self.model, optimizer])
        self.time = 0.0
        self.took = took
        self.calls = 0

    def update(self) -> float:
        self.time += self.took[self.calls % len(self.took)]
        self.calls += 1
        with torch.no_grad():
            self.model.weight.add_(1.0)
        return 1.0

    def now(self) -> float:
        return self.time


def test_seconds_buy_updates_epochs_and_samples() -> None:
    steps = Steps(0.1)
    weight = steps.model.weight.clone()
    budget = lehr.Budget(seconds=60, steps_per_epoch=100, samples_per_step=32, tokens_per_step=1000)
    found = lehr.plan(steps.training, budget, now=steps.now)
    assert found.updates.value == pytest.approx(600)
    assert found.epochs is not None
    assert found.epochs.value == pytest.approx(6)
    assert found.samples is not None
    assert found.samples.value == pytest.approx(19_200)
    assert str(found).startswith("60 seconds: about 600 updates of 100 ms, 6 epochs")
    assert torch.equal(steps.model.weight, weight)


def test_steps_take_seconds() -> None:
    steps = Steps(0.1, 0.2)
    found = lehr.plan(steps.training, lehr.Budget(epochs=2, steps_per_epoch=50), now=steps.now)
    assert found.updates.value == found.updates.low == 100
    assert found.seconds.value == pytest.approx(15.0)
    assert 12 < found.seconds.low < 15 < found.seconds.high < 18
    assert "seconds" in str(found)


def test_the_interval_covers_the_truth() -> None:
    """Of many plans from noisy steps, most intervals hold what a long run comes to."""
    generator = torch.Generator().manual_seed(0)
    held = 0
    for _ in range(40):
        took = (0.1 + 0.02 * torch.rand(20, generator=generator)).tolist()
        steps = Steps(*took)
        found = lehr.plan(steps.training, lehr.Budget(seconds=110), warmup=0, now=steps.now)
        held += found.updates.low <= 1000 <= found.updates.high
    assert held >= 32


def test_the_first_updates_are_not_timed() -> None:
    steps = Steps(*[5.0] * 3, *[0.1] * 20)
    found = lehr.plan(steps.training, lehr.Budget(seconds=10), now=steps.now)
    assert found.updates.value == pytest.approx(100)


def test_bad_use_is_told() -> None:
    with pytest.raises(ValueError, match="steps must be a whole number, at least 2"):
        lehr.plan(Steps(0.1).training, lehr.Budget(seconds=1), steps=1)
    with pytest.raises(TypeError, match=r"training must be a lehr\.Training"):
        lehr.plan(lambda: None, lehr.Budget(seconds=1))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="budget has no end"):
        lehr.plan(Steps(0.1).training, lehr.Budget.every(steps=1))
    with pytest.raises(ValueError, match="give tokens_per_step to Budget"):
        lehr.plan(Steps(0.1).training, lehr.Budget(tokens=100))


def test_a_text_is_a_budget() -> None:
    steps = Steps(0.1)
    assert lehr.plan(steps.training, "1min", now=steps.now).updates.value == pytest.approx(600)
