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
        ("Linear()" + ".clip()" * 2000, "at most 10,000 characters; this text has 14,008"),
        ("Linear()" + ".clip()" * 101, "clip: schedules can be nested 100 deep"),
        ("Linear()" + ".clip()" * 1000, "nested too deeply"),
        ("(" * 5000, "is not a schedule expression"),
        ("-" * 9999 + "1", "nested too deeply"),
        ("+".join(["1"] * 4000), "nested too deeply"),
        ("Constant(" + "9" * 9000 + ")", "Exceeds the limit .4300 digits. for integer string conversion"),
        ("Constant(0x" + "f" * 9000 + ")", "Constant: value must be a finite number; got inf"),
        ("Constant(0x" + "f" * 4000 + " * 0.0)", "Constant: value must be a finite number; got nan"),
        ("\0", "is not a schedule expression"),
        ("\ud800", "has characters that belong in no text"),
        ("'\\d'", "has no meaning in a schedule"),
        ("1or 2", "has no meaning in a schedule"),
        ("(1, 2)", "is not a schedule expression; write for example"),
        ("None", "is not a schedule expression; write for example"),
        ("Linear(end=1, end=2)", "Linear: end is given twice"),
        ("Linear(1, 2, 3)", "Linear: too many positional arguments"),
        ("Linear().then(at=0.5)", "then: missing a required argument: 'other'"),
        ("warmup_stable_decay(shape=3)", "warmup_stable_decay: shape must be a schedule; got 3"),
        ("warmup_stable_decay(shape=0)", "warmup_stable_decay: shape must be a schedule; got 0"),
        ("Linear().after_warmup(None)", "after_warmup: share must be a finite number; got None"),
        ("-" * 900 + "1", "is not a schedule expression|is a number"),
    ],
)
def test_everything_else_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        parse_schedule(text)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


def test_long_lists_of_milestones_read_again() -> None:
    many = lehr.Steps(at=tuple(k / 400 for k in range(1, 400)), gamma=0.99)
    assert 1_000 < len(repr(many)) < 10_000
    assert parse_schedule(repr(many)) == many


def test_text_is_text() -> None:
    for text in (None, b"Linear()", 3, lehr.Linear()):
        with pytest.raises(TypeError, match="parse_schedule: text must be a str"):
            parse_schedule(text)  # type: ignore[arg-type]
