"""An optimizer's state from which no step can be made is refused when it is loaded, and nothing has changed."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn, optim

import lehr
from fuzz.mutations import same

KINDS: tuple[tuple[Any, dict[str, Any]], ...] = (
    (optim.SGD, {"momentum": 0.9, "nesterov": True}), (optim.Adam, {"amsgrad": True}), (optim.AdamW, {"fused": True}),
    (optim.AdamW, {"foreach": True}), (optim.Adadelta, {}),
    (optim.Adagrad, {}), (optim.Adamax, {}), (optim.ASGD, {}), (optim.NAdam, {}), (optim.RAdam, {}), (optim.Rprop, {}),
    (optim.RMSprop, {"momentum": 0.9, "centered": True}), (optim.SparseAdam, {}), (optim.Adafactor, {}),
    (optim.LBFGS, {"line_search_fn": "strong_wolfe"}),
)  # fmt: skip


def trained(kind: Any, options: dict[str, Any]) -> tuple[nn.Module, Any]:
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    optimizer = kind(model.parameters(), **options)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = model(torch.ones(5, 4)).square().sum()
        loss.backward()
        if kind is optim.SparseAdam:
            for parameter in model.parameters():
                parameter.grad = None if parameter.grad is None else parameter.grad.to_sparse()
        return loss

    for _ in range(2):
        optimizer.step(closure)
    return model, optimizer


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_every_optimizer_of_torch_loads_its_own_state_and_none_of_another_shape(
    kind: Any, options: dict[str, Any]
) -> None:
    model, optimizer = trained(kind, options)
    training = lehr.Training.of(lambda: None, touches=[model, optimizer])
    saved = deepcopy(training.state_dict())
    training.load_state_dict(deepcopy(saved))
    assert same(training.state_dict(), saved)
    for index, kept in saved["optimizers"][0]["state"].items():
        for name, value in kept.items():
            if not isinstance(value, torch.Tensor) or value.ndim == 0:
                continue
            for wrong in (torch.zeros(7), "text"):
                spoilt = deepcopy(saved)
                spoilt["optimizers"][0]["state"][index][name] = wrong
                with pytest.raises(ValueError, match=f"optimizers: {kind.__name__}"):
                    training.load_state_dict(spoilt)
                assert same(training.state_dict(), saved)


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "a flag that asks for more state": lambda state: state["param_groups"][0].update(amsgrad=True),
    "a rate beyond all floats": lambda state: state["param_groups"][0].update(lr=1e300),
    "a base rate beyond all floats": lambda state: state["param_groups"][0].update(initial_lr=1e300),
    "a beta above 1": lambda state: state["param_groups"][0].update(betas=(0.9, 2.0)),
    "a beta of 1": lambda state: state["param_groups"][0].update(betas=(1.0, 0.999)),
    "a negative eps": lambda state: state["param_groups"][0].update(eps=-5.0),
    "a negative weight decay": lambda state: state["param_groups"][0].update(weight_decay=-1.0),
    "a count below zero": lambda state: state["state"][0].update(step=torch.tensor(-1.0)),
    "variances below zero": lambda state: state["state"][0]["exp_avg_sq"].fill_(-1.0),
    "no moments": lambda state: state["state"][0].pop("exp_avg"),
    "moments of another shape": lambda state: state["state"][1].update(exp_avg=torch.zeros(7)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_checkpoints_refuse_what_cannot_be_stepped_from(
    change: Callable[[dict[str, Any]], object], tmp_path: Path
) -> None:
    model, optimizer = trained(optim.Adam, {})
    state = deepcopy(optimizer.state_dict())
    change(state)
    lehr.Checkpoints(tmp_path, model=nn.Linear(4, 3), optimizer=_Given(state)).save(1)
    before = deepcopy((model.state_dict(), optimizer.state_dict()))
    with pytest.raises(ValueError, match="optimizer"):
        lehr.Checkpoints(tmp_path, model=model, optimizer=optimizer).resume()
    assert same((model.state_dict(), optimizer.state_dict()), before)


def test_a_momentum_that_a_schedule_has_brought_to_zero_can_be_loaded() -> None:
    model, optimizer = trained(*KINDS[0])
    training = lehr.Training.of(lambda: None, touches=[model, optimizer])
    optimizer.param_groups[0].update(initial_momentum=0.9, momentum=0.0, lr=0.0)
    training.load_state_dict(deepcopy(training.state_dict()))


class _Given:
    """A part whose state is that of another."""

    def __init__(self, state: Any) -> None:
        self._state = state

    def state_dict(self) -> Any:
        return self._state

    def load_state_dict(self, state: Any) -> None:
        raise NotImplementedError
