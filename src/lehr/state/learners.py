"""Loading of a network that learns and of its Adam, whose states are known to the last entry."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Adam

from lehr.state.loading import load_part
from lehr.state.reading import Fields


def read_adam(where: str, adam: Adam, state: Any) -> Callable[[], None]:
    """What loads a state into an optimizer, once another like it has tried the state.

    Args:
        where: what the state is of, as it begins an error.
        adam: whose state it is to be; left as it is until what is returned is called.
        state: that its `state_dict` gave.

    Raises:
        ValueError: if it is anything else, or of other hyperparameters than this optimizer's, the rate aside.
    """
    tried = Adam([{"params": list(group["params"])} for group in adam.param_groups])
    load_part(where, tried, state)
    for group, mine in zip(tried.param_groups, adam.param_groups, strict=True):
        fields = Fields(f"{where}: a parameter group", group)
        fields.number("lr", 0.0)
        if different := fields.different({name: mine[name] for name in mine if name not in ("params", "lr")}):
            raise ValueError(f"{where} has another {', '.join(different)}")
    for parameter in (p for group in adam.param_groups for p in group["params"] if p in tried.state):
        kept = Fields(f"{where}: the state of a parameter", tried.state[parameter])
        kept.tensor("step", (), 0.0)
        kept.tensor("exp_avg", parameter.shape)
        kept.tensor("exp_avg_sq", parameter.shape, 0.0)

    def load() -> None:
        adam.load_state_dict(copy.deepcopy(tried.state_dict()))

    return load


def read_weights(where: str, module: torch.nn.Module, state: Any) -> Callable[[], None]:
    """What loads weights into a module, once they are checked: the same names and shapes, all finite.

    Args:
        where: what the state is of, as it begins an error.
        module: left as it is until what is returned is called.
        state: that its `state_dict` gave.

    Raises:
        ValueError: if it is anything else.
    """
    fields, mine = Fields(where, state), module.state_dict()
    if set(state) != set(mine):
        raise ValueError(f"{where} must have the entries {', '.join(mine)}")
    weights = {name: fields.tensor(name, value.shape).clone() for name, value in mine.items()}
    return lambda: _load(module, weights)


def _load(module: torch.nn.Module, weights: dict[str, torch.Tensor]) -> None:
    module.load_state_dict(weights)
