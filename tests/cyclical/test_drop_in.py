"""Published interfaces give the published values."""

from __future__ import annotations

import pytest
import torch

import lehr


class Published:
    """The published LinearLR, from its formula: rate = 1 - last_epoch / T."""

    def __init__(self, bases: list[float], total: int) -> None:
        self.bases, self.total, self.calls = bases, total, 0

    def step(self) -> None:
        self.calls += 1

    def rates(self) -> list[float]:
        return [base * (1 - self.calls / self.total) for base in self.bases]


def optimizer(*rates: float) -> torch.optim.SGD:
    return torch.optim.SGD([{"params": [torch.zeros(1, requires_grad=True)], "lr": rate} for rate in rates], lr=0.1)


def test_linear_lr_has_the_published_values_at_every_call() -> None:
    made = optimizer(0.1, 0.01)
    ours, published = lehr.LinearLR(made, 37), Published([0.1, 0.01], 37)
    for _ in range(37):
        assert ours.get_last_lr() == pytest.approx(published.rates(), rel=1e-15, abs=0)
        made.step(), made.step()  # two updates a call, as when it is called once an epoch
        ours.step(), published.step()
    assert ours.get_last_lr() == published.rates() == [0.0, 0.0]
    assert ours.finished


def test_linear_lr_stays_at_zero_where_the_published_one_goes_negative() -> None:
    made = optimizer(0.1)
    ours, published = lehr.LinearLR(made, 2), Published([0.1], 2)
    with pytest.warns(lehr.BudgetWarning, match="is spent, but training goes on"):
        for _ in range(5):
            made.step(), ours.step(), published.step()
    assert ours.get_last_lr() == [0.0]
    assert published.rates()[0] < 0


def test_linear_lr_goes_on_as_torchs_schedulers_do() -> None:
    whole = optimizer(0.1)
    reference = lehr.LinearLR(whole, 10)
    for _ in range(4):
        whole.step(), reference.step()
    resumed = optimizer(0.1)
    resumed.load_state_dict(whole.state_dict())
    ours = lehr.LinearLR(resumed, 10, last_epoch=3)  # the number of the last call that was made
    assert ours.last_epoch == 4
    for _ in range(6):
        assert ours.get_last_lr() == reference.get_last_lr()
        whole.step(), resumed.step(), ours.step(), reference.step()
    with pytest.raises(ValueError, match="needs its 'initial_lr'"):
        lehr.LinearLR(optimizer(0.1), 10, last_epoch=3)


def test_linear_lr_agrees_with_torchs_polynomial() -> None:
    one, two = optimizer(0.1), optimizer(0.1)
    ours, theirs = lehr.LinearLR(one, 25), torch.optim.lr_scheduler.PolynomialLR(two, total_iters=25, power=1.0)
    for _ in range(25):
        assert ours.get_last_lr() == pytest.approx(theirs.get_last_lr(), rel=1e-12, abs=1e-15)
        one.step(), two.step(), ours.step(), theirs.step()


def test_linear_lr_says_which_argument_is_wrong() -> None:
    for total in (0, -1, float("inf"), "10", True):
        with pytest.raises(ValueError, match="LinearLR: T, the calls of step"):
            lehr.LinearLR(optimizer(0.1), total)  # type: ignore[arg-type]
    for last in (-2, 1.5):
        with pytest.raises(ValueError, match="LinearLR: last_epoch must be a whole number"):
            lehr.LinearLR(optimizer(0.1), 10, last_epoch=last)  # type: ignore[arg-type]
