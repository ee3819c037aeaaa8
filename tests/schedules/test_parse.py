"""Expressions from text: what they mean, and that nothing else is evaluated."""

import pytest

import lehr
from lehr import parse_schedule


def test_expressions_mean_what_they_say() -> None:
    expected = lehr.Linear().after_warmup(0.05) * lehr.Triangular(cycles=4)
    assert parse_schedule("Linear().after_warmup(0.05) * Triangular(cycles=4)") == expected
    assert parse_schedule(" 0.5 * Steps(at=[0.3, 0.6], gamma=1/10) ") == 0.5 * lehr.Steps()
    assert parse_schedule("knee(explore=1 - 0.25).clip(low=0.1, high=None)") == lehr.knee(0.75).clip(0.1)
    assert parse_schedule("HyperbolicTangent(low=-4, high=4)") == lehr.HyperbolicTangent(-4, 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a schedule expression"),
        ("Linear(", "is not a schedule expression"),
        ("Lnear()", "unknown schedule 'Lnear'; known are Constant, Cosine"),
        ("Linear", r"Linear needs parentheses: Linear\(\)"),
        ("0.5", r"is a number, not a schedule; write for example Linear\(\) or Constant\(0.5\)"),
        ("Linear().factor_at(0.5, 1)", r"unknown operator .factor_at\(\)"),
        ("Linear().__class__", "has no meaning in a schedule"),
        ("__import__('os').system('true')", "unknown operator .system"),
        ("Linear(end='0')", "has no meaning in a schedule"),
        ("Linear(*[1, 2])", "has no meaning in a schedule"),
        ("Linear(**{})", r"\*\* has no meaning in a schedule"),
        ("Linear() + Cosine()", "schedules can only be multiplied"),
        ("Linear() if 1 else Cosine()", "has no meaning in a schedule"),
        ("[Linear() for x in (1,)]", "has no meaning in a schedule"),
        ("(lambda: Linear())()", "has no meaning in a schedule"),
        ("Linear(True)", "has no meaning in a schedule"),
        ("Constant(9**9**9)", "has no meaning in a schedule"),
        ("Steps(at=(0.1,) * 1000000000)", "has no meaning in a schedule"),
        ("Constant(1/0)", "division by zero"),
        ("Constant(1e308 * 10)", "Constant: value must be a finite number"),
        ("Linear(nonsense=1)", "unexpected keyword argument 'nonsense'"),
        ("Linear().then(3, at=0.5)", "then: other must be a schedule; got 3"),
        ("Linear().until(1.5)", "until: end is a share of the budget"),
        ("Linear()" + ".clip()" * 200, "at most 1000 characters"),
        ("-" * 900 + "1", "is not a schedule expression|is a number"),
    ],
)
def test_everything_else_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_schedule(text)
