"""The methods that `lehr compare` knows by name: each a policy, with its source."""

from __future__ import annotations

import ast
import copy
import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import lehr
from lehr._numbers import shown
from lehr.lab.finding import find_edge
from lehr.lab.loop import Loop
from lehr.lab.plateau import Plateau


@dataclass(frozen=True)
class Method:
    """An entry of the comparison.

    Args:
        name: how the command line and the report call it.
        code: the policy as code, by which runs are told apart.
        policy: makes a fresh policy or schedule for one run, or an autopilot, whose search is then within the run's
            budget; may regroup the loop's optimizer, and set its rates.
        source: whom it is from.
        finds_peak: whether it sets the peak rate by itself, so that none is searched or given.

    >>> from lehr import lab
    >>> late = lab.Method("late", "late knee", lambda loop: lehr.knee(0.8), "mine")
    >>> [method.name for method in lab.load_methods(["linear", late])]
    ['linear', 'late']
    """

    name: str
    code: str
    policy: Callable[[Loop], lehr.Schedule | lehr.Policy | lehr.Autopilot]
    source: str
    finds_peak: bool = False


@dataclass(frozen=True)
class _Fixed:
    """The same schedule for every run."""

    schedule: lehr.Schedule

    def __call__(self, loop: Loop) -> lehr.Schedule:
        return self.schedule


@dataclass(frozen=True)
class _Piloted:
    """The same autopilot for every run, each of which it searches anew."""

    pilot: lehr.Autopilot

    def __call__(self, loop: Loop) -> lehr.Autopilot:
        return self.pilot


@dataclass(frozen=True)
class _Copied:
    """A copy of a policy for every run, as it was when the method was made."""

    policy: lehr.Policy

    def __call__(self, loop: Loop) -> lehr.Policy:
        return copy.deepcopy(self.policy)


@dataclass(frozen=True)
class _Made:
    """A new policy for every run."""

    make: Callable[..., lehr.Policy]
    arguments: dict[str, Any] = field(default_factory=dict)

    def __call__(self, loop: Loop) -> lehr.Policy:
        return self.make(**self.arguments)


@dataclass(frozen=True)
class _Freezing:
    """A FreezeOut plan for the layers of a run's own network."""

    arguments: dict[str, Any]

    def __call__(self, loop: Loop) -> lehr.Policy:
        plan = lehr.FreezeOut(lehr.layers_of(loop.model, loop.example()), **self.arguments)
        loop.regroup(plan.param_groups(loop.optimizer.param_groups))
        return plan


def _learned_from_the_edge(loop: Loop) -> lehr.Policy:
    loop.set_peak(find_edge(loop))
    return lehr.LearnedSchedule.pretrained()


def _fixed(name: str, schedule: lehr.Schedule, source: str) -> Method:
    return Method(name, repr(schedule), _Fixed(schedule), source)


def _piloted(name: str, source: str, **arguments: Any) -> Method:
    pilot = lehr.Autopilot(**arguments)
    return Method(name, repr(pilot), _Piloted(pilot), source, finds_peak=True)


def _freezing(name: str, source: str, **arguments: Any) -> Method:
    return Method(name, _call("FreezeOut", arguments), _Freezing(arguments), source)


def _tuning(name: str, source: str, **arguments: Any) -> Method:
    lehr.LRTuner(**arguments)  # says at once what is wrong with them
    return Method(name, _call("LRTuner", arguments), _Made(lehr.LRTuner, arguments), source)


def _learned(name: str, source: str) -> Method:
    code = f"{lehr.LearnedSchedule.pretrained()!r} from the edge"
    return Method(name, code, _learned_from_the_edge, source, finds_peak=True)


def _rule(name: str, rule: Callable[[], lehr.Policy], source: str) -> Method:
    return Method(name, repr(rule()), _Made(rule), source)


def _call(name: str, arguments: dict[str, Any]) -> str:
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"


_BY_ARGUMENTS: Final[dict[str, tuple[Callable[..., Method], str, set[str]]]] = {
    "Autopilot": (_piloted, "Autopilot(search=0.1)", {"search"}),
    "FreezeOut": (
        _freezing,
        "FreezeOut(t0=0.5, how='linear', scale_lr=False, max_events=4)",
        {"t0", "how", "scale_lr", "max_events"},
    ),
    "LRTuner": (_tuning, "LRTuner(explore=0.35, overhead=0.05)", {"explore", "overhead", "low", "high"}),
}

GIVEN: Final = "as given"

METHODS: Final[dict[str, Method]] = {
    method.name: method
    for method in (
        _piloted("autopilot", "lehr's own; its search is within the budget of the run"),
        _fixed("clr_decay", lehr.schedules.clr_decay(0.25, 0.2), "Smith 2017, the control without cycles"),
        _fixed("constant", lehr.Constant(), "no schedule"),
        _fixed("cosine", lehr.Cosine(), "Loshchilov and Hutter 2017, no restarts"),
        _fixed("exponential", lehr.Exponential(end=0.01), "decay by a factor of 100 over the run"),
        _fixed("exp_range", lehr.schedules.exp_range(cycles=4, low=0.25, end=0.1), "Smith 2017"),
        _fixed(
            "exp_range_amplitude",
            lehr.schedules.exp_range_amplitude(cycles=4, low=0.25, end=0.1),
            "as torch and Keras have it",
        ),
        _freezing("freezeout", "Brock et al. 2017", t0=0.8, how="cubic"),
        _rule("gen", lehr.tuning.GeN, "Xu et al. 2025"),
        _fixed("htd", lehr.HyperbolicTangent(), "Hsueh, Li and Wu 2019"),
        _fixed("inverse_sqrt", lehr.InverseSqrt().after_warmup(0.1), "Vaswani et al. 2017"),
        _fixed("knee", lehr.knee(), "Iyer et al. 2023, half of the budget at the peak"),
        _learned("learned", "lehr's own, after Shu et al. 2022; meta-trained on digits among others; tests its range"),
        _fixed("linear", lehr.Linear(), "Li, Yumer and Ramanan 2020"),
        _rule("lqa", lehr.tuning.LQA, "Zhu et al. 2020"),
        _tuning("lrtuner", "after Iyer et al. 2021; the rule is lehr's"),
        _rule("mlrsnet", lehr.MLRSNet.pretrained, "Shu et al. 2022, meta-trained on Fashion-MNIST"),
        _fixed("one_cycle", lehr.one_cycle(), "Smith and Topin 2018"),
        _rule("plateau", Plateau, "torch's ReduceLROnPlateau, on the training loss"),
        _fixed("polynomial", lehr.Polynomial(power=0.9), "Chen et al. 2016"),
        _rule("qlabgrad", lehr.tuning.QLABGrad, "Fu and Wu 2024"),
        _fixed("rex", lehr.Rex(), "Chen, Wolfe and Kyrillidis 2022"),
        _fixed("sgdr", lehr.WarmRestarts(cycles=3, growth=2), "Loshchilov and Hutter 2017"),
        _fixed("step", lehr.Steps(at=(0.3, 0.6)), "milestones of Li et al. 2020"),
        _fixed("triangular", lehr.Triangular(cycles=4, low=0.25), "Smith 2017"),
        _fixed("triangular2", lehr.schedules.triangular2(cycles=4, low=0.25), "Smith 2017"),
        _fixed("warmup_cosine", lehr.Cosine().after_warmup(0.05), "the common default"),
        _fixed("warmup_linear", lehr.Linear().after_warmup(0.05), "linear with a warm-up"),
        _fixed("wsd", lehr.warmup_stable_decay(), "Hu et al. 2024; Hägele et al. 2024"),
    )
}


Competitor = str | lehr.Schedule | lehr.Policy | lehr.Autopilot | Method
"""What may be named as a method: a name or expression, a schedule, a policy, an autopilot, or a method."""


def load_methods(given: str | Sequence[Competitor]) -> list[Method]:
    """The methods in a comma-separated list of names and expressions, or in a list of such, of values and of methods.

    Args:
        given: such as `linear,Linear().after_warmup(0.1),FreezeOut(t0=0.5, how='linear')`, or
            `["linear", lehr.Cosine(), lehr.LRTuner()]`; each run gets a copy of a policy.

    Raises:
        ValueError: if one is neither known nor a schedule expression, or comes twice.
        TypeError: if one is neither a text, a schedule, a policy nor a method.

    >>> [method.name for method in load_methods("linear, Steps(at=(0.5, 0.9))")]
    ['linear', 'Steps(at=(0.5, 0.9))']
    >>> [method.name for method in load_methods(["linear", Cosine(end=0.1)])]
    ['linear', 'Cosine(end=0.1)']
    """
    parts: Sequence[Any] = _parts(given) if isinstance(given, str) else given
    if isinstance(parts, lehr.Schedule | lehr.Policy | lehr.Autopilot | Method):
        parts = [parts]
    if not isinstance(parts, Iterable):
        raise _no_method(parts)
    methods = [method for part in parts for method in _methods_in(part)]
    names = [method.name for method in methods]
    if not methods:
        raise ValueError("--methods is empty; give names such as linear,cosine")
    if len(set(names)) < len(names):
        raise ValueError(f"--methods names {next(n for n in names if names.count(n) > 1)} twice")
    return methods


def _methods_in(given: Any) -> list[Method]:
    if isinstance(given, str):
        return [_load(part) for part in _parts(given)]
    if isinstance(given, Method):
        return [given]
    code = repr(given)
    if isinstance(given, lehr.Schedule):
        return [_fixed(code, given, GIVEN)]
    if isinstance(given, lehr.Autopilot):
        return [Method(code, code, _Piloted(given), GIVEN, finds_peak=True)]
    if not isinstance(given, lehr.Policy):
        raise _no_method(given)
    if isinstance(given, lehr.FreezeOut):
        raise ValueError(
            "a FreezeOut holds the layers of one network, and each run has a network of its own; write it as a text, "
            "such as 'FreezeOut(t0=0.5)'"
        )
    if type(given).__repr__ is object.__repr__:
        raise ValueError(
            f"{type(given).__name__} has no repr by which its runs could be told apart; give it one, or wrap it: "
            "lab.Method(name, code, policy, source)"
        )
    return [Method(code, code, _Copied(copy.deepcopy(given)), GIVEN)]


def _no_method(given: object) -> TypeError:
    return TypeError(
        "methods must be names such as 'linear', schedules such as lehr.Cosine(), policies such as lehr.LRTuner(), "
        f"or lehr.lab.Method; got {shown(given)}"
    )


def _load(name: str) -> Method:
    if name in METHODS:
        return METHODS[name]
    if "(" not in name:
        near = difflib.get_close_matches(name, METHODS, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ValueError(f"unknown method {name!r}{hint}; see lehr methods, or write a schedule such as Linear()")
    kind = name.partition("(")[0]
    if kind in _BY_ARGUMENTS:
        make, advice, known = _BY_ARGUMENTS[kind]
        return make(name, GIVEN, **_arguments(name, advice, known))
    return _fixed(name, lehr.parse_schedule(name), GIVEN)


def _arguments(text: str, advice: str, known: set[str]) -> dict[str, Any]:
    """The named arguments of a call, all of them plain values."""
    advice = f"cannot read {text}; write it as {advice}"
    try:
        call = ast.parse(text, mode="eval").body
        keywords = call.keywords if isinstance(call, ast.Call) and not call.args else None
        found = {keyword.arg or "": ast.literal_eval(keyword.value) for keyword in keywords or ()}
    except (SyntaxError, ValueError):
        raise ValueError(advice) from None
    if keywords is None or found.keys() - known:
        raise ValueError(advice)
    return found


def _parts(text: str) -> list[str]:
    """The text cut at commas outside parentheses."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "([") - (character in ")]")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]
