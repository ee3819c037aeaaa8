"""Schedules from text: the expressions that `repr` prints, read without evaluating code."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any, Final

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
LONGEST: Final = 1_000

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
    if len(text) > LONGEST:
        raise ValueError(f"a schedule has at most {LONGEST} characters; this text has {len(text)}")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        value = _value(tree)
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(
            f"{_short(text)} is not a schedule expression: {getattr(error, 'msg', 'nested too deeply')}"
        ) from None
    except (TypeError, ArithmeticError) as error:
        raise ValueError(f"{_short(text)}: {error}") from None
    if not isinstance(value, Schedule):
        raise ValueError(
            f"{_short(text)} is a number, not a schedule; write for example Linear() or Constant({text.strip()})"
        )
    return value


def _value(node: ast.expr) -> Any:  # noqa: PLR0912 - one case for each kind of expression
    match node:
        case ast.Constant(value=bool() | complex()):
            pass
        case ast.Constant(value=int() | float() | None as constant):
            return constant
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            return tuple(_number(part) for part in parts)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_number(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            one, two = _value(left), _value(right)
            if not isinstance(op, ast.Mult) and (isinstance(one, Schedule) or isinstance(two, Schedule)):
                raise ValueError(f"schedules can only be multiplied: {_source(node)}")
            if isinstance(one, Schedule | int | float) and isinstance(two, Schedule | int | float):
                return _ARITHMETIC[type(op)](one, two)
        case ast.Call(func=ast.Name(id=name)) if name in NAMES:
            return NAMES[name](*_positional(node), **_named(node))
        case ast.Call(func=ast.Name(id=name)):
            raise ValueError(f"unknown schedule {name!r}; known are {', '.join(sorted(NAMES))}")
        case ast.Call(func=ast.Attribute(value=inner, attr=name)) if name in OPERATORS:
            schedule = _value(inner)
            if isinstance(schedule, Schedule):
                return getattr(schedule, name)(*_positional(node), **_named(node))
        case ast.Call(func=ast.Attribute(attr=name)):
            raise ValueError(f"unknown operator .{name}(); known are {', '.join(OPERATORS)}")
        case ast.Name(id=name) if name in NAMES:
            raise ValueError(f"{name} needs parentheses: {name}()")
        case ast.Name(id=name):
            raise ValueError(f"unknown schedule {name!r}; known are {', '.join(sorted(NAMES))}")
    raise ValueError(f"{_source(node)} has no meaning in a schedule")


def _positional(call: ast.Call) -> list[Any]:
    return [_value(argument) for argument in call.args]


def _named(call: ast.Call) -> dict[str, Any]:
    if any(keyword.arg is None for keyword in call.keywords):
        raise ValueError("** has no meaning in a schedule")
    return {str(keyword.arg): _value(keyword.value) for keyword in call.keywords}


def _number(node: ast.expr) -> float:
    value = _value(node)
    if isinstance(value, int | float):
        return value
    raise ValueError(f"{_source(node)} must be a number")


def _source(node: ast.AST) -> str:
    return _short(ast.unparse(node))


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")
