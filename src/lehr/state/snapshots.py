"""How each kind of thing is kept and put back, bit for bit and in place, so that nobody's references break."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from lehr.state.batches import Batches

PutBack = Callable[[], None]


def keep(part: Any, known: Collection[int] = ()) -> PutBack:
    """Note the state of `part`; calling what is returned puts it back.

    Args:
        part: a model, an optimizer, ...
        known: the ids of parameters that others keep, so that they are not copied twice.

    Raises:
        TypeError: if there is no way to put such a thing back.
    """
    if isinstance(part, Optimizer):
        return _keep_optimizer(part, known)
    for kind, way in _WAYS:
        if isinstance(part, kind):
            return way(part)
    if hasattr(part, "bit_generator"):  # NumPy's
        return _keep_numpy(part)
    if hasattr(part, "state_dict") and hasattr(part, "load_state_dict"):
        return _keep_stateful(part)
    hint = "wrap the loader in lehr.Batches" if hasattr(part, "__next__") else "give it state_dict and load_state_dict"
    raise TypeError(
        f"restore: a {type(part).__name__} cannot be put back; {hint}, or leave it out if it does not change"
    )


class _Held:
    """A tensor, the memory behind it, and a copy of what it holds."""

    def __init__(self, tensor: Tensor) -> None:
        if is_lazy(tensor):
            raise ValueError("restore: the model has lazy layers without weights yet; run one forward pass first")
        self.tensor = tensor
        self.memory = tensor.detach()
        self.copy = _copy(tensor)

    def put_back(self) -> None:
        now = self.tensor.detach()
        if (now.dtype, now.shape) != (self.memory.dtype, self.memory.shape) or _address(now) != _address(self.memory):
            self.tensor.data = self.memory  # somebody swapped it, as for averaged weights, and owns what is there now
        self.tensor.copy_(self.copy)


class _HeldParameter:
    """A parameter, its gradient, and whether it wants one."""

    def __init__(self, parameter: Tensor) -> None:
        self.held = _Held(parameter)
        self.gradient = None if parameter.grad is None else _Held(parameter.grad)
        self.wants = parameter.requires_grad

    def put_back(self) -> None:
        parameter = self.held.tensor
        self.held.put_back()
        parameter.requires_grad_(self.wants)
        parameter.grad = None if self.gradient is None else self.gradient.tensor
        if self.gradient is not None:
            self.gradient.put_back()


def _keep_module(model: nn.Module) -> PutBack:
    modules = list(model.modules())
    holders: list[dict[str, Any]] = [h for m in modules for h in (m._modules, m._parameters, m._buffers)]
    parts = [(holder, dict(holder)) for holder in holders]
    parameters = [_HeldParameter(parameter) for parameter in model.parameters()]
    buffers = [_Held(buffer) for buffer in model.buffers()]
    modes = [(module, module.training) for module in modules]

    @torch.no_grad()
    def put_back() -> None:
        for holder, entries in parts:
            holder.clear()
            holder.update(entries)
        for parameter in parameters:
            parameter.put_back()
        for buffer in buffers:
            buffer.put_back()
        for module, training in modes:
            module.training = training

    return put_back


def _keep_optimizer(optimizer: Optimizer, known: Collection[int]) -> PutBack:
    groups = [(group, _entries(group)) for group in optimizer.param_groups]
    states = {id(key): (key, state, _entries(state)) for key, state in optimizer.state.items()}
    simple = (bool, int, float, str, type(None))
    marks = {name: value for name, value in vars(optimizer).items() if isinstance(value, simple)}
    parameters = [_HeldParameter(p) for group in optimizer.param_groups for p in group["params"] if id(p) not in known]
    inner = [keep(value, known) for value in vars(optimizer).values() if isinstance(value, Optimizer)]

    @torch.no_grad()
    def put_back() -> None:
        optimizer.param_groups[:] = [group for group, _ in groups]
        for group, entries in groups:
            _refill(group, entries)
        for key in [key for key in optimizer.state if id(key) not in states]:
            del optimizer.state[key]
        for key, state, entries in states.values():
            optimizer.state[key] = state
            _refill(state, entries)
        for held in parameters:
            held.put_back()
        vars(optimizer).update(marks)
        for put_inner_back in inner:
            put_inner_back()

    return put_back


def _keep_scaler(scaler: torch.amp.GradScaler) -> PutBack:
    kept = {name: (value, _copy(value)) for name, value in vars(scaler).items() if name != "_per_optimizer_states"}
    stages = {key: dict(stage) for key, stage in scaler._per_optimizer_states.items()}

    @torch.no_grad()
    def put_back() -> None:
        for name, (value, held) in kept.items():
            setattr(scaler, name, value)
            _fill(value, held)
        scaler._per_optimizer_states.clear()
        scaler._per_optimizer_states.update(stages)

    return put_back


def _keep_generator(generator: torch.Generator) -> PutBack:
    state = generator.get_state()

    def put_back() -> None:
        generator.set_state(state)

    return put_back


def _keep_python(generator: random.Random) -> PutBack:
    state = generator.getstate()
    return lambda: generator.setstate(state)


def _keep_numpy(generator: Any) -> PutBack:
    state = deepcopy(generator.bit_generator.state)

    def put_back() -> None:
        generator.bit_generator.state = state

    return put_back


def _keep_stateful(part: Any) -> PutBack:
    state = deepcopy(part.state_dict())

    def put_back() -> None:
        part.load_state_dict(state)

    return put_back


def _entries(holder: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Each entry, and a copy of what it holds."""
    return {key: (value, list(value) if key == "params" else _copy(value)) for key, value in holder.items()}


def _refill(holder: dict[str, Any], entries: dict[str, tuple[Any, Any]]) -> None:
    holder.clear()
    for key, (value, held) in entries.items():
        if isinstance(value, Tensor):
            _fill(value, held)
            holder[key] = value
        elif key == "params":
            value[:] = held
            holder[key] = value
        else:
            holder[key] = held


def _copy(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, Tensor) else deepcopy(value)


def _address(tensor: Tensor) -> int | None:
    try:
        return tensor.data_ptr()
    except RuntimeError:  # tensors without memory of their own, such as distributed ones
        return None


def _fill(value: Any, held: Any) -> None:
    if isinstance(value, Tensor):
        value.copy_(held)


_WAYS: tuple[tuple[Any, Callable[[Any], PutBack]], ...] = (
    (nn.Module, _keep_module),
    (torch.amp.GradScaler, _keep_scaler),
    (torch.Generator, _keep_generator),
    (random.Random, _keep_python),
    (Batches, Batches.keep),
)
