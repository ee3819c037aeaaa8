"""Schedules from text: the expressions that `repr` prints, read without evaluating code."""

from __future__ import annotations

import ast
import math
import operator
import warnings
from collections.abc import Callable
from inspect import signature
from typing import Any, Final

from lehr._numbers import shown
from lehr.schedules import cycles, recipes, shapes
from lehr.schedules.schedule import Constant, Schedule

NAMES: Final[dict[str, Callable[..., Any]]] = {
    maker.__name__: maker
    for maker in (
        Constant,
        shapes.Cosine,
        shapes.Exponential,
        shapes.HyperbolicTangent,
        shapes.InverseSqrt,
        shapes.Linear,
        shapes.OneMinusSqrt,
        shapes.Polynomial,
        shapes.Rex,
        shapes.Steps,
        cycles.Triangular,
        cycles.WarmRestarts,
        recipes.clr_decay,
        recipes.exp_range,
        recipes.exp_range_amplitude,
        recipes.knee,
        recipes.one_cycle,
        recipes.triangular2,
        recipes.warmup_stable_decay,
    )
}
OPERATORS: Final = ("after_warmup", "between", "clip", "repeated", "sampled", "then", "until")
LONGEST: Final = 10_000
"""Characters of an expression, enough for hundreds of milestones."""

_ARITHMETIC: Final[dict[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Div: operator.truediv,
    ast.Mult: operator.mul,
    ast.Sub: operator.sub,
}


def parse_schedule(text: str) -> Schedule:
    """The schedule that an expression such as `Linear().after_warmup(0.05) * Triangular(cycles=4)` stands for.

    Only the schedules and recipes of this package, their operators, numbers, tuples of numbers and `+ - * /` between
    numbers are understood; nothing is evaluated as code, so the text may come from anywhere.

    Args:
        text: the expression, as `repr(schedule)` prints it.

    Raises:
        ValueError: if the text is no such expression; the message says which part.

    >>> parse_schedule("Cosine().after_warmup(1/20)")
    Cosine().after_warmup(0.05)
    """
    if not isinstance(text, str):
        raise TypeError(f"parse_schedule: text must be a str; got {shown(text)}")
    if len(text) > LONGEST:
        raise ValueError(f"a schedule has at most {LONGEST:,} characters; this text has {len(text):,}")
    try:
        value = _value(_tree(text))
    except (RecursionError, MemoryError):
        raise ValueError(f"{shown(text)} is not a schedule expression: nested too deeply") from None
    except (TypeError, ArithmeticError) as error:
        raise ValueError(f"{shown(text)}: {error}") from None
    if isinstance(value, int | float):
        raise ValueError(
            f"{shown(text)} is a number, not a schedule; write for example Linear() or Constant({text.strip():.40})"
        )
    if not isinstance(value, Schedule):
        raise ValueError(f"{shown(text)} is not a schedule expression; write for example Linear()")
    return value


def _tree(text: str) -> ast.expr:
    try:
        with warnings.catch_warnings(action="ignore"):  # of what compiles but may not be meant, such as 1or 2
            return ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:  # a number of too many digits speaks in several sentences
        reason = str(error.msg).partition(";")[0]
    except ValueError:
        reason = "it has characters that belong in no text"
    raise ValueError(f"{shown(text)} is not a schedule expression: {reason}")


def _value(node: ast.expr) -> Any:  # noqa: PLR0911, PLR0912 - one case for each kind of expression
    match node:
        case ast.Constant(value=bool() | complex()):
            pass
        case ast.Constant(value=int() | float() as number):
            return _float_if_large(number)
        case ast.Constant(value=None):
            return None
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            return tuple(_number(part) for part in parts)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_number(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            one, two = _value(left), _value(right)
            if not isinstance(op, ast.Mult) and (isinstance(one, Schedule) or isinstance(two, Schedule)):
                raise ValueError(f"schedules can only be multiplied: {_source(node)}")
            if isinstance(one, Schedule | int | float) and isinstance(two, Schedule | int | float):
                return _float_if_large(_ARITHMETIC[type(op)](one, two))
        case ast.Call(func=ast.Name(id=name)) if name in NAMES:
            return _called(name, NAMES[name], node)
        case ast.Call(func=ast.Name(id=name)):
            raise _unknown(name)
        case ast.Call(func=ast.Attribute(value=inner, attr=name)) if name in OPERATORS:
            schedule = _value(inner)
            if isinstance(schedule, Schedule):
                return _called(name, getattr(schedule, name), node)
        case ast.Call(func=ast.Attribute(attr=name)):
            raise ValueError(f"unknown operator .{name:.40}(); known are {', '.join(OPERATORS)}")
        case ast.Name(id=name) if name in NAMES:
            raise ValueError(f"{name} needs parentheses: {name}()")
        case ast.Name(id=name):
            raise _unknown(name)
    raise ValueError(f"{_source(node)} has no meaning in a schedule")


def _float_if_large(value: Any) -> Any:
    """A whole number beyond all floats is infinite, so that no arithmetic takes long."""
    try:
        return float(value) if isinstance(value, int) and abs(value) > 2**53 else value
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _unknown(name: str) -> ValueError:
    return ValueError(f"unknown schedule {shown(name)}; known are {', '.join(sorted(NAMES))}")


def _called(name: str, maker: Callable[..., Any], call: ast.Call) -> Any:
    positional = [_value(argument) for argument in call.args]
    named: dict[str, Any] = {}
    for keyword in call.keywords:
        if keyword.arg is None:
            raise ValueError("** has no meaning in a schedule")
        if keyword.arg in named:
            raise ValueError(f"{name}: {keyword.arg} is given twice")
        named[keyword.arg] = _value(keyword.value)
    try:
        signature(maker).bind(*positional, **named)
    except TypeError as error:
        raise ValueError(f"{name}: {error}") from None
    return maker(*positional, **named)


def _number(node: ast.expr) -> float:
    value = _value(node)
    if isinstance(value, int | float):
        return value
    raise ValueError(f"{_source(node)} must be a number")


def _source(node: ast.AST) -> str:
    try:
        return shown(ast.unparse(node))
    except ValueError:  # a number of too many digits
        return "this"
