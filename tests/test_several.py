"""Arguments that hold several: whatever is gone through once gives what a list gives, or is refused by name."""

from __future__ import annotations

import re
import tempfile
from collections import UserList, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import lehr
from lehr import lab
from lehr.lab.statements import read_statements


@dataclass(frozen=True)
class Several:
    """An argument that holds several, what it may hold, and what comes of a call with them."""

    name: str
    held: Callable[[], list[Any]]
    call: Callable[[Any], Any]

    def __str__(self) -> str:
        return self.name


COLLECTIONS: dict[str, Callable[[list[Any]], Iterable[Any]]] = {
    "tuple": tuple,
    "deque": deque,
    "UserList": UserList,
    "generator": lambda held: (one for one in held),
    "iterator": iter,
    "values of a dictionary": lambda held: dict(enumerate(held)).values(),
}


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


def groups() -> torch.optim.SGD:
    network = model()
    return torch.optim.SGD([{"params": network[0].parameters()}, {"params": network[2].parameters()}], 0.1, 0.9)


def parts() -> list[Any]:
    network = model()
    batches = lehr.Batches([torch.zeros(1), torch.ones(1)])
    return [network, torch.optim.SGD(network.parameters(), lr=0.1), batches]


def of(touches: Any) -> tuple[float, list[int]]:
    training = lehr.Training.of(lambda: torch.tensor(0.0), touches=touches)
    drawn = [next(training.batches).item() for _ in range(3)]
    return sum(drawn), [len(training.modules), len(training.optimizers)]


def trained(optimizer: Any) -> list[float]:
    network = model()
    made = [torch.optim.SGD(network[0].parameters(), 0.1), torch.optim.SGD(network[2].parameters(), 0.2)]
    training = lehr.Training(
        network, optimizer(made), [torch.ones(2, 3)], lambda network, x: network(x).square().mean(),
        touches=[lehr.RandomState()],
    )  # fmt: skip
    return [training.step().item() for _ in range(3)]


def touched(touches: Any) -> int:
    network = model()
    training = lehr.Training(
        network, torch.optim.SGD(network.parameters(), 0.1), [torch.ones(2, 3)],
        lambda network, x: network(x).square().mean(), touches=touches,
    )  # fmt: skip
    return len(training.parts)


def scheduled(policy: Any) -> list[list[float]]:
    optimizer = groups()
    preview = lehr.Scheduler(optimizer, policy, lehr.Budget(steps=4)).preview()
    return [list(column) for column in preview.rates]


def beside(schedules: Any) -> list[float]:
    optimizer = groups()
    lehr.Scheduler(optimizer, lehr.Linear(), lehr.Budget(steps=4), also={"momentum": schedules})
    return [group["momentum"] for group in optimizer.param_groups]


def cycled(rates: Any) -> list[float]:
    optimizer = groups()
    lehr.CyclicLR(optimizer, rates, [0.4, 0.8], step_size=4)
    return [group["lr"] for group in optimizer.param_groups]


def staged(changes_at: Any) -> tuple[float, ...] | None:
    networks = [lehr.mlrsnet.MLRSNetwork(hidden=2) for _ in range(3)]
    return lehr.MLRSNet(*networks, changes_at=changes_at).changes_at


def rated(losses: Any) -> list[float]:
    torch.manual_seed(0)
    found: list[float] = lehr.MLRSNet(lehr.mlrsnet.MLRSNetwork(hidden=2)).rates(losses).tolist()
    return found


def layered(layers: Any) -> list[str]:
    return [layer.name for layer in lehr.layers_of(model(), layers=layers)]


def split(given: Any) -> list[int]:
    network = model()
    plan = lehr.FreezeOut(lehr.layers_of(network))
    made = [{"params": [network[0].weight, network[2].weight]}, {"params": [network[0].bias, network[2].bias]}]
    return [len(group["params"]) for group in plan.param_groups(given(made), lr=0.1)]


def compared(**options: Any) -> Any:
    results = lab.compare(**{"task": "digits", "methods": ["linear"], "budget": "4steps", "seeds": 1, **options})
    every = (*results.runs, *results.smaller_runs, *results.search_runs)
    return [(run.method, run.lr, run.share, run.validation) for run in every]


def stated(claims: Any) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        compared(methods=["linear", "step", "cosine"], claims=claims, out=folder)
        return [str(statement.claim) for statement in read_statements(Path(folder))]


def planned(**options: Any) -> list[Any]:
    methods = lab.load_methods("linear, step, cosine")
    comparison = lab.Comparison(**{"task": "digits", "methods": methods, "settings": lab.Settings("4steps"), **options})
    return [comparison.runs, comparison.methods, comparison.claims, comparison.lr_grid, comparison.shares]


def examined(claims: Any) -> list[str]:
    results = lab.compare("digits", ["linear", "step", "cosine"], budget="4steps", seeds=1)
    return [str(finding.claim) for finding in lab.examine(results, claims)]


def task() -> lab.Task:
    data = lab.split(torch.randn(40, 3), torch.arange(40) % 2, validation=4, test=4)
    return lab.Task(
        data=data, model=model, loss=nn.functional.cross_entropy, batch_size=8,
        optimizer=lambda network: torch.optim.SGD(network.parameters(), lr=0.1),
    )  # fmt: skip


class Bowl:
    """A world whose runs end at the square of the first factor."""

    name = "bowl"

    def edge(self, seed: int) -> float:
        return 1.0

    def judge(self, variants: Sequence[lehr.learned.Variant], updates: int) -> list[float]:
        return [float(variant.schedule.factors(lehr.Moment(0.0, loss=1.0))) ** 2 for variant in variants]


def evolved(**options: Any) -> list[Any]:
    options = {"worlds": [Bowl()], "updates": [4], **options}
    header = lehr.learned.evolve(**options, generations=1, pairs=1).header
    return [len(header["tasks"]), header["updates of a run"]]


def meta_trained(tasks: Any) -> Any:
    torch.manual_seed(0)
    return lehr.meta_train(tasks, updates=10, hidden=4).header["tasks"]


SEVERAL = [
    Several("touches", parts, of),
    Several("touches of a training", lambda: [lehr.RandomState()], touched),
    Several("policy", lambda: [lehr.Linear(), lehr.Cosine()], scheduled),
    Several("also", lambda: [lehr.Constant(), lehr.Constant(0.5)], beside),
    Several("base_lr", lambda: [0.1, 0.2], cycled),
    Several("changes_at", lambda: [0.25, 0.5], staged),
    Several("losses", lambda: [1.0, 0.5, 0.25], rated),
    Several("losses", lambda: [1.0, 0.5, 0.25],
            lambda losses: lehr.LearnedSchedule.pretrained().rates(losses).tolist()),
    Several("layers", lambda: ["0", "2"], layered),
    Several("at", lambda: [0.3, 0.6], lambda at: lehr.Steps(at)(0.4)),
    Several("factors", lambda: [-1.0, 0.0, 1.0], lambda at: lehr.tuning.fit_parabola(at, [[5.5, 2.0, 0.5]]).slope),
    Several("losses", lambda: [[5.5, 2.0, 0.5], [5.0, 2.0, 1.0]],
            lambda losses: lehr.tuning.fit_parabola([-1.0, 0.0, 1.0], losses).slope),
    Several("rates", lambda: [1e-3, 1e-2, 1e-1, 1.0, 10.0], lambda at: lehr.trials.minimum_rate(at, [3, 2, 1, 0, 4])),
    Several("losses", lambda: [3, 2, 1, 0, 4], lambda of: lehr.trials.minimum_rate([1e-3, 1e-2, 1e-1, 1.0, 10.0], of)),
    Several("bounds", lambda: [0.01, 0.1],
            lambda bounds: str(lehr.plan_cycles(epochs=12, steps_per_epoch=100, bounds=bounds))),
    Several("methods", lambda: ["linear", "step"], lambda methods: compared(methods=methods)),
    Several("lr_grid", lambda: [0.2, 0.3], lambda rates: compared(lr_grid=rates)),
    Several("shares", lambda: [0.5, 0.25], lambda shares: compared(shares=shares)),
    Several("claims", lambda: ["linear > step", "step > cosine"], examined),
    Several("claims", lambda: ["linear > step", "step > cosine"], stated),
    Several("methods", lambda: lab.load_methods("linear, step"), lambda methods: planned(methods=methods)),
    Several("claims", lambda: [lab.Claim("linear", "step")], lambda claims: planned(claims=claims)),
    Several("lr_grid", lambda: [0.2, 0.3], lambda rates: planned(lr_grid=rates)),
    Several("shares", lambda: [(0.5, 1), (0.25, 2)], lambda shares: planned(shares=shares)),
    Several("device", lambda: ["cpu"], lambda device: compared(device=device)),
    Several("worlds", lambda: [Bowl(), Bowl()], lambda worlds: evolved(worlds=worlds)),
    Several("updates", lambda: [4, 6], lambda updates: evolved(updates=updates)),
    Several("tasks", lambda: [task(), task()], meta_trained),
]  # fmt: skip


def same_or_refused(name: str, call: Callable[[], Any], expected: Any) -> bool:
    try:
        return bool(call() == expected)
    except (TypeError, ValueError) as error:
        return re.search(rf"\b{name}(\[[^]]*\])? must", str(error)) is not None and len(str(error)) < 400


@pytest.mark.parametrize("kind", COLLECTIONS)
@pytest.mark.parametrize("one", SEVERAL, ids=str)
def test_a_collection_of_any_kind_is_as_a_list_or_refused_by_name(one: Several, kind: str) -> None:
    held, expected = COLLECTIONS[kind](one.held()), one.call(one.held())
    if kind == "tuple":
        assert one.call(held) == expected
    else:
        assert same_or_refused(one.name.partition(" ")[0], lambda: one.call(held), expected)


@pytest.mark.parametrize("kind", COLLECTIONS)
def test_optimizers_in_a_collection(kind: str) -> None:
    assert same_or_refused("optimizer", lambda: trained(COLLECTIONS[kind]), trained(list))


@pytest.mark.parametrize("kind", COLLECTIONS)
def test_groups_in_a_collection(kind: str) -> None:
    assert split(COLLECTIONS[kind]) == split(list)


def test_a_claim_alone_is_one() -> None:
    assert examined("linear > step") == examined(["linear > step"])


@pytest.mark.parametrize("alone", [model(), lehr.Batches([torch.zeros(1)]), {"model": 1}, torch.zeros(2), "model"])
def test_touches_that_are_no_list_are_refused(alone: Any) -> None:
    with pytest.raises(TypeError, match="touches must be a list"):
        of(alone)
    with pytest.raises(TypeError, match="touches must be a list"):
        touched(alone)


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"methods": ["linear"]}, "methods"), ({"methods": 3}, "methods"), ({"settings": "4steps"}, "settings"),
        ({"lr_grid": 0.1}, "lr_grid"), ({"shares": 0.5}, "shares"), ({"shares": [0.5]}, "shares"),
        ({"claims": [3]}, "claim"),
    ],
)  # fmt: skip
def test_a_comparison_of_what_is_no_list_is_refused_by_name(wrong: dict[str, Any], name: str) -> None:
    with pytest.raises(TypeError, match=name):
        planned(**wrong)


@pytest.mark.parametrize(
    ("factors", "losses", "name"),
    [
        ([0.0, 1.0], [[1.0, 2.0]], "factors"),
        ([0.0, 1.0, float("nan")], [[1.0, 2.0, 3.0]], "factors"),
        ("012", [[1.0, 2.0, 3.0]], "factors"),
        ([0.0, 1.0, 2.0], [], "losses"),
        ([0.0, 1.0, 2.0], [[1.0, 2.0]], "losses"),
        ([0.0, 1.0, 2.0], [[1.0, 2.0, 3.0, 4.0]], "losses"),
        ([0.0, 1.0, 2.0], [1.0, 2.0, 3.0], "losses"),
        ([0.0, 1.0, 2.0], None, "losses"),
    ],
)
def test_a_parabola_of_what_does_not_fit_is_refused(factors: Any, losses: Any, name: str) -> None:
    with pytest.raises(ValueError, match=f"fit_parabola: {name}"):
        lehr.tuning.fit_parabola(factors, losses)
