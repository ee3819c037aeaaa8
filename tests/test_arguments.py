"""Every numeric argument takes the numbers of any library, and refuses what is none in a sentence that names it."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import lehr
from lehr import lab

INPUTS, LABELS = torch.randn(32, 3, generator=torch.Generator().manual_seed(0)), torch.arange(32) % 2


@dataclass(frozen=True)
class Argument:
    """A numeric argument, a value that is right, and a call with a value."""

    name: str
    right: Any
    call: Callable[[Any], object]
    optional: bool = False

    def __str__(self) -> str:
        return self.name


def sgd() -> torch.optim.SGD:
    return torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)


def scheduler() -> lehr.Scheduler:
    return lehr.Scheduler(sgd(), lehr.Linear(), lehr.Budget(steps=4))


def model() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))


def training(**options: Any) -> lehr.Training:
    network = model()
    batches = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(INPUTS, LABELS), batch_size=8)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)

    def loss(network: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return nn.functional.cross_entropy(network(batch[0]), batch[1])

    return lehr.Training(**{"model": network, "optimizer": optimizer, "batches": batches, "loss": loss, **options})


def task() -> lab.Task:
    data = lab.split(INPUTS, LABELS, validation=4, test=4)
    return lab.Task(
        data=data, model=model, loss=nn.functional.cross_entropy, batch_size=8,
        optimizer=lambda network: torch.optim.SGD(network.parameters(), lr=0.1),
    )  # fmt: skip


def world() -> lehr.learned.World:
    return lab.world(task())


def argument(
    function: Callable[..., object], name: str, right: Any, *, optional: bool = False, **others: Any
) -> Argument:
    """An argument of a function that is given by keyword."""
    owner = getattr(function, "__qualname__", "")
    return Argument(f"{owner}: {name}", right, lambda value: function(**{**others, name: value}), optional)


def alone(owner: str, name: str, right: Any, call: Callable[[Any], object], *, optional: bool = False) -> Argument:
    """An argument that a function is called with alone."""
    return Argument(f"{owner}: {name}", right, call, optional)


def saved(step: Any = 1, keep: Any = 2, folder: Any = None) -> None:
    lehr.Checkpoints(folder or tempfile.mkdtemp(), keep=keep, model=model()).save(step)


def cyclic_lr(**options: Any) -> None:
    lehr.CyclicLR(**{"optimizer": sgd(), "base_lr": 0.1, "max_lr": 0.5, **options})


def linear_lr(**options: Any) -> None:
    lehr.LinearLR(sgd(), **{"T": 8, **options})


def freeze_out(**options: Any) -> None:
    lehr.FreezeOut(lehr.layers_of(model(), INPUTS), **options)


def layers_of(**options: Any) -> None:
    lehr.layers_of(model(), INPUTS, **options)


def mlrsnet(**options: Any) -> None:
    lehr.MLRSNet(lehr.mlrsnet.MLRSNetwork(), **options)


def scheduled(**options: Any) -> None:
    lehr.Scheduler(sgd(), lehr.Linear(), BUDGET, **options)


def observed(unit: str, amount: Any) -> None:
    lehr.Scheduler(sgd(), lehr.Linear(), lehr.Budget(**{unit: 16})).observe(**{unit: amount})


def losses(**options: Any) -> None:
    mine = training()
    mine.backward()
    lehr.Probe(mine).losses(**{"factor": 0.5, **options})


def fit(**options: Any) -> None:
    lehr.fit(training(), "2steps", lehr.Linear(), progress=False, **options)


def range_test(**options: Any) -> None:
    lehr.range_test(training(), **{"steps": 12, "evaluate": lambda: 0.0, **options})


def plan(**options: Any) -> None:
    lehr.plan(training(), "2s", **{"steps": 2, "warmup": 1, **options})


def plan_cycles(**options: Any) -> None:
    lehr.plan_cycles(**{"epochs": 16, "steps_per_epoch": 8, "bounds": (0.1, 1.0), **options})


def meta_train(**options: Any) -> None:
    lehr.meta_train(task(), **options)


def evolve(**options: Any) -> None:
    lehr.learned.evolve([world()], **options)


def comparison(**options: Any) -> None:
    lab.Comparison("digits", lab.load_methods("linear"), lab.Settings("2steps"), **options)


def compare(**options: Any) -> None:
    lab.compare("digits", "linear", budget="2steps", out=OUT, **options)


def own_task(**options: Any) -> None:
    lab.Task(
        data=lambda: lab.split(INPUTS, LABELS, validation=4, test=4), model=model, loss=len, optimizer=len, **options
    )


def split(**options: Any) -> None:
    lab.split(INPUTS, LABELS, **{"validation": 4, "test": 4, **options})


def train(**options: Any) -> None:
    lab.train(task(), lab.load_methods("linear")[0], lab.Settings("2steps"), **{"seed": 0, "lr": 0.1, **options})


def find(**options: Any) -> None:
    lab.find(task(), **{"steps": 12, **options})


OUT = tempfile.mkdtemp()
BUDGET = lehr.Budget(steps=100)
PER = {"epochs": "steps_per_epoch", "samples": "samples_per_step", "tokens": "tokens_per_step"}
PARSED = {"steps_per_epoch": "2ep", "samples_per_step": "32samples", "tokens_per_step": "32tokens"}
CURVE = lehr.Linear()
ARGUMENTS = [
    argument(lehr.Autopilot, "search", 0.25),
    *(argument(lehr.Budget, name, 8) for name in ("steps", "seconds", "samples", "tokens")),
    argument(lehr.Budget, "epochs", 8, steps_per_epoch=4),
    *(argument(lehr.Budget, per, 8, optional=unit != "epochs", **{unit: 16}) for unit, per in PER.items()),
    *(argument(lehr.Budget.parse, per, 8, optional="ep" not in text, text=text) for per, text in PARSED.items()),
    argument(lehr.Budget.every, "steps", 8),
    argument(BUDGET.scaled, "share", 0.25),
    *(argument(lehr.Budget.over, name, 2, batches=range(4), **({} if name == "epochs" else {"epochs": 2}))
      for name in ("epochs", "accumulate", "ranks")),
    argument(saved, "keep", 2), argument(saved, "step", 2),
    alone("Batches.skip", "count", 2, training().batches.skip),
    argument(lehr.Constant, "value", 0.5),
    *(argument(kind, name, 0.5) for kind in (lehr.Cosine, lehr.Exponential, lehr.Linear, lehr.OneMinusSqrt)
      for name in ("start", "end")),
    *(argument(lehr.Polynomial, name, 0.5) for name in ("power", "start", "end")),
    argument(lehr.HyperbolicTangent, "low", -6), argument(lehr.HyperbolicTangent, "high", 3),
    argument(lehr.InverseSqrt, "timescale", 0.5),
    argument(lehr.Steps, "gamma", 0.5), alone("Steps", "at", 0.5, lambda value: lehr.Steps(at=(value,))),
    argument(lehr.Triangular, "cycles", 2), argument(lehr.Triangular, "low", 0.5),
    argument(lehr.WarmRestarts, "cycles", 2), argument(lehr.WarmRestarts, "growth", 2),
    argument(lehr.WarmRestarts, "low", 0.5),
    argument(CURVE.after_warmup, "share", 0.5), argument(CURVE.after_warmup, "start", 0.5, share=0.1),
    argument(CURVE.between, "low", 0.25, high=1.0), argument(CURVE.between, "high", 0.25, low=0.0),
    argument(CURVE.clip, "low", 0.25), argument(CURVE.clip, "high", 0.25, low=0.0, optional=True),
    argument(CURVE.repeated, "times", 2), argument(CURVE.repeated, "scale", 0.5, times=2),
    argument(CURVE.sampled, "every", 0.25), argument(CURVE.until, "end", 0.5),
    alone("Schedule.then", "at", 0.5, lambda value: CURVE.then(CURVE, at=value)),
    argument(lehr.knee, "explore", 0.5), argument(lehr.knee, "warmup", 0.125),
    *(argument(lehr.one_cycle, name, 0.25) for name in ("rise", "initial", "final")),
    *(argument(lehr.warmup_stable_decay, name, 0.25) for name in ("warmup", "decay")),
    *(argument(cyclic_lr, name, 0.25) for name in ("base_lr", "max_lr", "gamma")),
    argument(cyclic_lr, "step_size", 8), argument(cyclic_lr, "cycles", 2, optional=True),
    argument(cyclic_lr, "base_momentum", 0.75), argument(cyclic_lr, "max_momentum", 0.875),
    argument(linear_lr, "T", 8), argument(linear_lr, "last_epoch", -1),
    argument(freeze_out, "t0", 0.5), argument(freeze_out, "max_events", 2, optional=True),
    argument(layers_of, "depth", 1, optional=True),
    alone("FrozenPrefix", "samples", 8, lambda value: lehr.freezing.FrozenPrefix(model(), samples=value)),
    *(argument(lehr.LRTuner, name, 0.25) for name in ("explore", "overhead", "low", "high")),
    argument(mlrsnet, "loss_scale", 0.5), argument(mlrsnet, "gamma", 0.5),
    argument(lehr.mlrsnet.MLRSNetwork, "hidden", 8),
    argument(lehr.mlrsnet.PublishedGamma, "classes", 8),
    argument(lehr.mlrsnet.PublishedGamma, "floor", 0.5, classes=10),
    argument(lehr.learned.BudgetNetwork, "hidden", 8),
    argument(scheduled, "agree_every", 2),
    *(alone("observe", unit, 2, lambda value, unit=unit: observed(unit, value), optional=True)
      for unit in ("samples", "tokens")),
    alone("rescale", "rates", 0.5, lambda value: scheduler().rescale([value])),
    argument(training, "accumulate", 2), argument(training, "clip_norm", 2, optional=True),
    alone("set_peak", "rate", 0.5, lambda value: training().set_peak(value)),
    alone("Probe", "batches", 2, lambda value: lehr.Probe(training(), batches=value)),
    argument(losses, "factor", 2), argument(losses, "batches", 2, optional=True),
    argument(fit, "log_every", 2),
    alone("find_rate", "search", None, lambda value: lehr.find_rate(training(), "8steps", search=value)),
    argument(range_test, "low", 2.0**-10), argument(range_test, "high", 4), argument(range_test, "steps", 12),
    argument(range_test, "evaluate_every", 4), argument(range_test, "diverge", 4),
    argument(plan, "steps", 2), argument(plan, "warmup", 2),
    argument(plan_cycles, "epochs", 8), argument(plan_cycles, "steps_per_epoch", 8),
    argument(plan_cycles, "cycles", 2, optional=True),
    alone("plan_cycles", "bounds", 0.5, lambda value: plan_cycles(bounds=(value, 1.0))),
    *(argument(meta_train, name, None, optional=name == "gamma")
      for name in ("updates", "every", "unroll", "gamma", "meta_lr", "meta_weight_decay", "held_out", "hidden",
                   "stages", "seed", "save_every")),
    *(argument(evolve, name, None)
      for name in ("generations", "pairs", "sigma", "meta_lr", "octaves", "hidden", "seed", "save_every")),
    alone("evolve", "updates", None, lambda value: evolve(updates=(value,))),
    argument(comparison, "seeds", 2), argument(comparison, "search_seeds", 2),
    argument(comparison, "lr", 0.5, optional=True),
    alone("Comparison", "lr_grid", 0.5, lambda value: comparison(lr_grid=(value,))),
    alone("Comparison", "shares", 0.5, lambda value: comparison(lr=0.1, shares=((value, 1),))),
    alone("Comparison: shares", "seeds", 2, lambda value: comparison(lr=0.1, shares=((0.5, value),))),
    *(argument(compare, name, None, optional=name in ("lr", "processes"))
      for name in ("seeds", "lr", "search_seeds", "evaluations", "accumulate", "processes_per_run", "processes",
                   "threads")),
    *(alone("compare", name, None, lambda value, name=name: compare(**{name: (value,)}))
      for name in ("lr_grid", "shares")),
    argument(lab.Placement, "accumulate", 2), argument(lab.Placement, "ranks", 2),
    argument(lab.RayCluster, "gpus", 0.5), argument(lab.Settings, "evaluations", 2),
    argument(own_task, "batch_size", 2), argument(own_task, "clip_norm", 2, optional=True),
    argument(split, "validation", 2), argument(split, "test", 2), argument(split, "seed", 2),
    argument(train, "seed", 2), argument(train, "lr", 0.5, optional=True), argument(train, "share", 0.5),
    argument(find, "low", 2.0**-10), argument(find, "high", 4), argument(find, "steps", 12),
    argument(find, "seed", 2), argument(find, "evaluate_every", 4),
]  # fmt: skip
BAD = (
    math.nan, -math.inf, 10**400, -(10**400), -1e300, "x", b"1", True, 1j, [0.5, [0.5]], np.array([1, 2]),
    torch.ones(2), object(), np.datetime64("NaT"),
)  # fmt: skip
LIBRARIES = {float: (np.float32, np.float64, torch.tensor, Fraction), int: (np.int64, torch.tensor)}
NO_LIMIT = {
    "LRTuner: overhead",
    "LRTuner: low",
    "LRTuner: high",
    "training: clip_norm",
    "own_task: clip_norm",
    "range_test: diverge",
}
"""What may be infinite, and so may be 10**400."""


@pytest.mark.parametrize("one", [one for one in ARGUMENTS if one.right is not None], ids=str)
def test_numbers_of_any_library(one: Argument) -> None:
    for of_library in LIBRARIES[type(one.right)]:
        one.call(of_library(one.right))


@pytest.mark.parametrize("one", ARGUMENTS, ids=str)
def test_what_is_no_number_is_refused_by_name(one: Argument) -> None:
    name = one.name.rpartition(": ")[2]
    bad = BAD if one.optional else (None, *BAD)
    for value in (value for value in bad if not (one.name in NO_LIMIT and isinstance(value, int) and value > 1)):
        with pytest.raises((ValueError, TypeError), match=rf"\b{name}\b") as caught:
            one.call(value)
        assert len(str(caught.value)) < 400, value
        assert "\n" not in str(caught.value), value


def trained(**options: Any) -> None:
    lehr.fit(**{"training": training(), "budget": "2steps", "policy": lehr.Linear(), "progress": False, **options})


def planned(**options: Any) -> None:
    lehr.plan(**{"training": training(), "budget": "2s", "steps": 2, "warmup": 0, **options})


def made(**options: Any) -> None:
    lab.Task(**{"data": lambda: None, "model": model, "loss": len, "optimizer": len, **options})


def run_once(**options: Any) -> None:
    lab.train(
        **{"task": task(), "method": lab.METHODS["linear"], "settings": lab.Settings("2steps"), "seed": 0, **options}
    )


KINDS = [
    (training, ("model", "optimizer", "batches", "loss", "device", "autocast", "scaler", "touches", "amount")),
    (scheduled, ("also", "count", "now", "accept")),
    (trained, ("training", "budget", "policy", "evaluate", "every", "checkpoints", "log")),
    (planned, ("training", "budget", "now")),
    (range_test, ("mode", "evaluate", "higher_is_better")),
    (freeze_out, ("how", "shape", "scale_lr")),
    (layers_of, ("layers",)),
    (saved, ("folder",)),
    (cyclic_lr, ("optimizer", "policy")),
    (meta_train, ("order", "inner", "cell", "folder", "report")),
    (evolve, ("first", "folder", "report")),
    (made, ("model", "data", "loss", "optimizer", "augment", "budget", "about")),
    (run_once, ("task", "method", "settings")),
    (find, ("placement",)),
    (split, ("inputs", "targets")),
    (lab.Placement, ("device", "precision", "compile")),
    (lab.RayCluster, ("address",)),
    (lehr.LearnedSchedule.load, ("path",)), (lehr.MLRSNet.load, ("path",)),
    (lehr.parse_schedule, ("text",)), (lehr.Budget.parse, ("text",)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "name"),
    [(call, name) for call, names in KINDS for name in names],
    ids=lambda one: getattr(one, "__name__", one),
)
def test_what_is_of_the_wrong_kind_is_refused_by_name(call: Callable[..., object], name: str) -> None:
    said = {"policy": "polic|value", "every": "budget", "text": "text|budget|schedule"}.get(name, name)
    for value in (math.nan, object(), 10**400):
        with pytest.raises((TypeError, ValueError), match=rf"(?i)\b({said})") as caught:
            call(**{name: value})
        assert len(str(caught.value)) < 400
        assert "\n" not in str(caught.value)
