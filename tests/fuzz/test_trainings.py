"""A changed state of a training, of random numbers or of a meta-training is refused, or the run can go on from it."""

from __future__ import annotations

import random
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from itertools import islice
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import lehr
from fuzz.mutations import SEARCHING, bounded, replaced, same
from fuzz.test_checkpoints import check_sentence
from lehr.learned.evolution import _Evolution
from lehr.learned.network import BudgetNetwork
from lehr.mlrsnet.courses import Course, MetaTraining
from lehr.mlrsnet.inner import InnerAdamW
from lehr.mlrsnet.network import MLRSNetwork
from lehr.state.generators import GeneratorState


@dataclass
class Subject:
    """What is saved, and how it goes on."""

    saved: Any
    go_on: Callable[[], object]


def training() -> Subject:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    loader = torch.utils.data.DataLoader(
        torch.randn(12, 3), batch_size=4, shuffle=True, generator=torch.Generator().manual_seed(0)
    )
    made = lehr.Training(
        model, torch.optim.Adam(model.parameters()), loader, lambda model, x: model(x).square().sum(),
        accumulate=2, touches=[random.Random(0)],
    )  # fmt: skip
    made.step()
    with lehr.untouched(made.batches):  # so that one is drawn ahead
        next(made.batches)
    made.backward_micro_batch()
    return Subject(made, lambda: [made.step() for _ in range(2)])


def own_step() -> Subject:
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    made = lehr.Training.of(lambda: float(optimizer.step() or 0.0), touches=[model, optimizer])
    return Subject(made, made.step)


def numbers(generator: Any = None) -> Subject:
    if generator is None:
        return Subject(lehr.RandomState(), lambda: (random.gauss(0, 1), np.random.rand(), torch.rand(1)))
    return Subject(GeneratorState(generator), getattr(generator, "random", lambda: None))


class Bowl:
    name = "bowl"

    def edge(self, seed: int) -> float:
        return 1.0 + seed

    def judge(self, variants: Any, updates: int) -> list[float]:
        return [variant.rate for variant in variants]


def evolution() -> Subject:
    made = _Evolution({"generations": 10, "updates of a run": [5]}, [Bowl()], BudgetNetwork(2), seed=0)
    go_on = partial(made.step, 10, 1, [5], 0.1, 0.03, 1.0)
    go_on()
    return Subject(made, go_on)


def meta_training() -> Subject:
    inputs = torch.randn(20, 2)
    task = SimpleNamespace(
        model=lambda: nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), loss=nn.functional.cross_entropy, batch_size=4,
        load=lambda: SimpleNamespace(train=(inputs, (inputs.sum(1) > 0).long())),
    )  # fmt: skip
    network = MLRSNetwork(2)
    made = MetaTraining(network, [Course(task, InnerAdamW(), 0.1, 0.2, 0)], lr=1e-3, weight_decay=1e-4)
    made.arguments = {"stages": 2, "order": "first"}
    go_on = partial(made.turn, 0, 2, 1, "first")
    go_on()
    made.keep_stage(1, 2, 2)
    return Subject(made, go_on)


SUBJECTS: dict[str, Callable[[], Subject]] = {
    "training": training,
    "own step": own_step,
    "random numbers": numbers,
    "torch": lambda: numbers(torch.Generator()),
    "python": lambda: numbers(random.Random(1)),
    "pcg": lambda: numbers(np.random.default_rng(1)),
    "philox": lambda: numbers(np.random.Generator(np.random.Philox(1))),
    "twister": lambda: numbers(np.random.RandomState(1)),
    "evolution": evolution,
    "meta-training": meta_training,
}


def without_lists(state: Any) -> Any:
    """The state with tuples for long lists of numbers, of which one is as good as another, and lists for short ones."""
    if isinstance(state, dict):
        return {key: without_lists(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        pair = isinstance(state, tuple) and len(state) == 2
        return (tuple if pair or len(state) > 100 else list)(map(without_lists, state))
    return state


def is_of_torch(place: tuple[Any, ...]) -> bool:
    """Whether torch's own optimizer or module takes that up, which look at less."""
    return place[0] == "modules" or (place[0] == "optimizers" and place[2:3] != ("param_groups",))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", SUBJECTS)
def test_each_part_replaced_by_each_odd_value(name: str) -> None:
    subject = SUBJECTS[name]()
    state = without_lists(deepcopy(subject.saved.state_dict()))
    subject.saved.load_state_dict(deepcopy(state))
    before = deepcopy(subject.saved.state_dict())
    for spoilt in islice(replaced(state), 0, None, 1 if SEARCHING else 97):
        try:
            with bounded(megabytes=256):
                subject.saved.load_state_dict(spoilt())
        except ValueError as refusal:
            check_sentence(refusal)
            assert same(subject.saved.state_dict(), before), spoilt.args[1:]
        else:
            if not is_of_torch(spoilt.args[1]):
                with bounded(megabytes=256):
                    subject.go_on()
            subject.saved.load_state_dict(deepcopy(state))
            before = deepcopy(subject.saved.state_dict())


@pytest.mark.parametrize("name", SUBJECTS)
@pytest.mark.parametrize("whole", [None, 3, "state", [], {}, [1, 2], {"done": 1}, object()])
def test_what_is_no_state_at_all_is_refused(name: str, whole: Any) -> None:
    subject = SUBJECTS[name]()
    before = deepcopy(subject.saved.state_dict())
    with pytest.raises(ValueError, match="checkpoint"):
        subject.saved.load_state_dict(whole)
    assert same(subject.saved.state_dict(), before)
