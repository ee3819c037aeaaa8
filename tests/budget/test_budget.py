"""What there is to spend: units, text, conversion and refusals."""

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given

import lehr
from lehr import Budget
from strategies import budgets


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("500steps", Budget(steps=500)),
        ("1 step", Budget(steps=1)),
        ("1e9tok", Budget(tokens=1_000_000_000)),
        ("50000 samples", Budget(samples=50_000)),
        ("90s", Budget(seconds=90)),
        ("500ba", Budget(steps=500)),
        ("30min", Budget(seconds=1_800)),
        ("1.5h", Budget(seconds=5_400)),
        ("2d", Budget(seconds=172_800)),
        ("0.5 Hours", Budget(seconds=1_800)),
    ],
)
def test_text(text: str, budget: Budget) -> None:
    assert Budget.parse(text) == budget


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("3ep", Budget(epochs=3, steps_per_epoch=50)),
        ("500ba", Budget(steps=500, steps_per_epoch=50)),
        ("1_000ba", Budget(steps=1_000, steps_per_epoch=50)),
        ("100sp", Budget(samples=100, steps_per_epoch=50)),
        ("3e4tok", Budget(tokens=30_000, steps_per_epoch=50)),
        ("30sec", Budget(seconds=30, steps_per_epoch=50)),
        ("90s", Budget(seconds=90, steps_per_epoch=50)),
        ("1h30m", Budget(seconds=5_400, steps_per_epoch=50)),
        ("1h20m40s", Budget(seconds=4_840, steps_per_epoch=50)),
        ("5m30s", Budget(seconds=330, steps_per_epoch=50)),
        ("3EP", Budget(epochs=3, steps_per_epoch=50)),
    ],
)
def test_what_composer_makes_of_a_text(text: str, budget: Budget) -> None:
    assert Budget.parse(text, steps_per_epoch=50) == budget


def test_epochs_from_text_need_their_length() -> None:
    assert Budget.parse("3ep", steps_per_epoch=50).total == 150
    with pytest.raises(ValueError, match=r"needs steps_per_epoch, the number of updates an epoch \(len\(loader\)\)"):
        Budget.parse("3ep")


@pytest.mark.parametrize(("accumulate", "ranks", "updates"), [(1, 1, 10), (4, 1, 3), (1, 4, 3), (3, 2, 2), (20, 1, 1)])
def test_passes_over_a_loader_count_updates(accumulate: int, ranks: int, updates: int) -> None:
    budget = Budget.over(range(10), epochs=3, accumulate=accumulate, ranks=ranks)
    assert (budget.total, budget.unit) == (3 * updates, "epochs")


def test_passes_over_what_has_no_end_are_refused() -> None:
    class Stream(torch.utils.data.IterableDataset[int]):
        def __iter__(self) -> Iterator[int]:
            return iter(range(3))

    for stream in ((k for k in range(3)), torch.utils.data.DataLoader(Stream())):
        with pytest.raises(
            TypeError, match=rf"{type(stream).__name__} that does not know its length.*write Budget\(steps"
        ):
            Budget.over(stream, epochs=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="accumulate must be a whole number, at least 1 .*got 0"):
        Budget.over(range(3), epochs=3, accumulate=0)
    with pytest.raises(ValueError, match="batches is empty"):
        Budget.over([], epochs=3)


class Stream(torch.utils.data.IterableDataset):  # type: ignore[type-arg]
    def __iter__(self) -> Iterator[int]:
        return iter(range(3))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is not a budget; write a number and a unit"),
        ("10", "the budget '10' has no unit; write for example 10steps or 10ep"),
        ("tenep", "'tenep' is not a budget"),
        ("5M", "unknown unit 'M'"),
        ("10 parsecs", "unknown unit 'parsecs' in the budget '10 parsecs'"),
        ("0.1dur", r"the budget '0.1dur' is a share of a budget, not one: .* as in '3ep'.*after_warmup\(0.1\)"),
        ("2iter", "the budget '2iter' counts iterations.*write the updates, as in '500ba'"),
        ("30m1h", "'30m1h' is not a budget"),
        ("0h0m", "Budget: seconds must be above 0"),
        ("0ep", "Budget: epochs must be above 0"),
        ("-3h", "Budget: seconds must be above 0"),
        ("nans", "is not a budget"),
        ("1e999s", "Budget: seconds must be above 0 and finite"),
        ("1.2.3s", "is not a budget"),
    ],
)
def test_bad_text(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Budget.parse(text, steps_per_epoch=10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "exactly one of steps, epochs, samples, tokens or seconds; got none"),
        ({"steps": 1, "seconds": 2}, "exactly one of .*; got steps and seconds"),
        ({"steps": 0}, "Budget: steps must be above 0 and finite, since it is what there is to spend; got 0"),
        ({"tokens": -1}, "Budget: tokens must be above 0"),
        ({"seconds": math.nan}, "Budget: seconds must be above 0"),
        ({"seconds": math.inf}, "Budget: seconds must be above 0"),
        ({"steps": "10"}, "Budget: steps must be a number; got '10'"),
        ({"steps": True}, "Budget: steps must be a number; got True"),
        ({"epochs": 3}, "needs steps_per_epoch"),
        ({"epochs": 3, "steps_per_epoch": 0}, "Budget: steps_per_epoch must be above 0"),
        ({"samples": 3, "samples_per_step": math.nan}, "Budget: samples_per_step must be above 0"),
    ],
)
def test_bad_arguments(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Budget(**arguments)


@given(budgets)
def test_repr_is_code(budget: Budget) -> None:
    assert eval(repr(budget), {"Budget": Budget}) == budget


@pytest.mark.parametrize(
    ("budget", "total", "each", "updates"),
    [
        (Budget(steps=10), 10, 1, 10),
        (Budget(epochs=2.5, steps_per_epoch=4), 10, 1, 10),
        (Budget(epochs=0.5, steps_per_epoch=5), 2.5, 1, 3),
        (Budget(samples=100, samples_per_step=32), 100, 32, 4),
        (Budget(tokens=100), 100, None, None),
        (Budget(seconds=60), 60, None, None),
    ],
)
def test_what_is_counted(budget: Budget, total: float, each: float | None, updates: float | None) -> None:
    assert (budget.total, budget.each, budget.updates) == (total, each, updates)


def test_fractions_convert_units() -> None:
    budget = Budget(epochs=10, steps_per_epoch=200, samples_per_step=32)
    assert budget.fraction(steps=500) == 0.25
    assert budget.fraction(epochs=1) == 0.1
    assert budget.fraction(samples=6_400) == pytest.approx(0.1)
    assert Budget(samples=64_000, samples_per_step=32, steps_per_epoch=200).fraction(epochs=1) == pytest.approx(0.1)
    assert Budget(seconds=3600).fraction(seconds=900) == 0.25
    assert budget.fraction(steps=0) == 0


@pytest.mark.parametrize("kind", [np.int64, np.float32, torch.tensor, Fraction, Decimal, lambda n: np.array([n])])
def test_numbers_of_any_kind(kind: Callable[[int], Any]) -> None:
    budget = Budget(epochs=kind(10), steps_per_epoch=kind(200), samples_per_step=kind(32), tokens_per_step=kind(8))
    plain = Budget(epochs=10, steps_per_epoch=200, samples_per_step=32, tokens_per_step=8)
    assert (budget, hash(budget), repr(budget)) == (plain, hash(plain), repr(plain))
    assert {type(value) for value in asdict(budget).values() if value is not None} <= {int, float, bool}
    assert budget.fraction(steps=kind(500)) == 0.25
    assert type(budget.fraction(steps=kind(500))) is float
    assert budget.fraction(steps=kind(0)) == 0
    assert budget.scaled(kind(2)) == plain.scaled(2)
    assert repr(Budget.every(steps=kind(3))) == "Budget.every(steps=3)"
    assert Budget.parse("3ep", steps_per_epoch=kind(5)).total == 15


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Budget(steps=10**400), "Budget: steps must lie between 1e-30 and 1e\\+30; got 1000"),
        (lambda: Budget(steps=10**5000), "Budget: steps must lie between"),
        (lambda: Budget(tokens=Fraction(10**400)), "Budget: tokens must be above 0 and finite"),
        (lambda: Budget(seconds=5e-324), "Budget: seconds must lie between"),
        (lambda: Budget(epochs=1e20, steps_per_epoch=1e20), "epochs and steps_per_epoch make 1e\\+40 updates"),
        (lambda: Budget(steps=1e20).scaled(1e20), "Budget.scaled: share=1e\\+20 of 100,000"),
        (lambda: Budget(steps=np.bool_(True)), "Budget: steps must be a number"),
        (lambda: Budget(steps=torch.tensor([1, 2])), "Budget: steps must be a number"),
        (lambda: Budget(steps=1).scaled(True), "Budget.scaled: share must be a number"),
        (lambda: Budget(steps=1).scaled("2"), "Budget.scaled: share must be a number"),
        (lambda: Budget(steps=1).fraction(steps=False), "fraction: steps must be a number"),
        (lambda: Budget(steps=1).fraction(steps="0"), "fraction: steps must be a number"),
    ],
)
def test_amounts_that_cannot_be_counted(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        make()
    assert len(str(error.value)) < 200


def test_text_is_text() -> None:
    for text in (None, 3, b"3ep"):
        with pytest.raises(TypeError, match="a budget's text must be a str such as '500steps'"):
            Budget.parse(text)  # type: ignore[arg-type]


def test_numbers_of_numpy_become_plain_ones() -> None:
    assert repr(Budget(steps=np.int64(5), samples_per_step=np.float32(0.5))) == "Budget(steps=5, samples_per_step=0.5)"


@pytest.mark.parametrize(
    ("budget", "amount", "message"),
    [
        (Budget(seconds=60), {"steps": 5}, "seconds cannot be converted"),
        (Budget(steps=60), {"epochs": 5}, "to convert epochs, Budget needs steps_per_epoch"),
        (Budget(tokens=60), {"steps": 5}, "to convert tokens, Budget needs tokens_per_step"),
        (Budget(steps=60), {}, "fraction takes exactly one of"),
        (Budget(steps=60), {"minutes": 1}, "fraction takes exactly one of .*; got minutes"),
        (Budget(steps=60), {"steps": -1}, "steps must be above 0"),
    ],
)
def test_bad_fractions(budget: Budget, amount: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        budget.fraction(**amount)


def test_budgets_read_well() -> None:
    assert str(Budget(steps=1_000_000)) == "1,000,000 steps"
    assert str(Budget(epochs=1, steps_per_epoch=5)) == "1 epoch"
    assert str(Budget.every(steps=4_000)) == "every 4,000 steps"
    assert repr(lehr.Budget(seconds=90.0)) == "Budget(seconds=90)"
