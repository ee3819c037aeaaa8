"""Snapshots: how each kind of thing is noted and put back, bit for bit and in place, so that references stay valid."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from copy import deepcopy
from typing import Any, Final, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from lehr.state.batches import Batches
from lehr.state.generators import is_generator, keep_generator
from lehr.state.nested import Restore, copy_state, keep_contents
from lehr.state.optimizers import inside


@runtime_checkable
class Stateful(Protocol):
    """What can be saved and loaded."""

    def state_dict(self) -> Any:
        """Its state."""

    def load_state_dict(self, state_dict: Any, /) -> Any:
        """Take up a state."""


def snapshot(part: Any, known: Collection[int] = ()) -> Restore:
    """Note the state of `part`; calling what is returned puts it back.

    Args:
        part: a model, an optimizer, a scheduler, a scaler, a generator, `Batches`, or whatever has a `state_dict`.
        known: the ids of parameters that the snapshots of modules hold, so that optimizers do not copy them again.

    Raises:
        TypeError: if there is no way to put such a thing back.
        ValueError: if a module has no weights yet, or refuses the state that it has just given.
    """
    if isinstance(part, Optimizer):
        return _optimizer(part, known)
    if isinstance(part, nn.Module):
        return modules([part])
    for kind, way in _WAYS:
        if isinstance(part, kind):
            return way(part)
    if is_generator(part):
        return keep_generator(part)
    if isinstance(part, Stateful):
        return _stateful(part)
    hint = "wrap the loader in lehr.Batches" if hasattr(part, "__next__") else "give it state_dict and load_state_dict"
    raise TypeError(
        f"a {type(part).__name__} cannot be put back after a trial; {hint}, or leave it out if it does not change"
    )


# -- tensors and modules ---------------------------------------------------------------------------------------


class _Parameter:
    """A parameter, its gradient, and whether it wants one."""

    def __init__(self, parameter: Tensor) -> None:
        if is_lazy(parameter):
            raise ValueError("the model has lazy layers without weights yet; run one forward pass before a trial")
        self.parameter = parameter
        self.gradient = parameter.grad
        self.wants = parameter.requires_grad
        self.memory = parameter.detach()
        self.copy = parameter.detach().clone()
        self.gradient_copy = None if parameter.grad is None else parameter.grad.detach().clone()

    def put_back(self) -> None:
        now = self.parameter.detach()
        if (now.dtype, now.shape) != (self.memory.dtype, self.memory.shape) or _address(now) != _address(self.memory):
            self.parameter.data = self.memory  # swapped, as for averaged weights, whose owner has what is there now
        self.parameter.copy_(self.copy)
        self.parameter.requires_grad_(self.wants)
        self.parameter.grad = self.gradient
        if self.gradient is not None and self.gradient_copy is not None:
            self.gradient.copy_(self.gradient_copy)


_OF_TORCH: Final = frozenset(vars(nn.Module())) | {"_compiled_call_impl", "_c", "_concrete_type", "_flat_weights"}
"""Attributes of every module that torch keeps; the containers among them are put back one by one."""


def modules(parts: Iterable[nn.Module], known: Collection[int] = ()) -> Restore:
    """Note all that modules own: parameters with gradients, buffers, submodules, modes, extra state and attributes.

    Args:
        parts: the modules, with all that is inside them.
        known: ids of parameters that are not to be copied.
    """
    every = list({id(module): module for part in parts for module in part.modules()}.values())
    parameters = {id(p): p for module in every for p in module.parameters(recurse=False)}
    buffers = {id(b): b for module in every for b in module.buffers(recurse=False)}
    skip = {*known, *parameters, *buffers}
    containers: list[tuple[dict[str, Any], dict[str, Any]]] = [
        (holder, dict(holder))
        for module in every
        if not _is_script(module)  # whose containers are views that cannot be filled
        for holder in (module._modules, module._parameters, module._buffers)
    ]
    values = [_Parameter(parameter) for key, parameter in parameters.items() if key not in known]
    contents = [refill for buffer in buffers.values() if (refill := keep_contents(buffer)) is not None]
    modes = [(module, module.training) for module in every]
    attributes = [
        _script_attributes(module, skip) if _is_script(module) else _attributes(module, skip) for module in every
    ]
    extra = [put_back for module in every if (put_back := _extra_state(module)) is not None]

    @torch.no_grad()
    def restore() -> None:
        for holder, entries in containers:
            holder.clear()
            holder.update(entries)
        for parameter in values:
            parameter.put_back()
        for put_back in (*attributes, *contents, *extra):
            put_back()
        for module, training in modes:
            module.training = training

    return restore


def _is_script(module: nn.Module) -> bool:
    return isinstance(module, torch.jit.ScriptModule)


def _attributes(module: nn.Module, known: Collection[int]) -> Restore:
    """State that is neither parameter nor buffer: counters, caches, the sums of a metric."""
    own = {name: value for name, value in vars(module).items() if name not in _OF_TORCH}
    contents = [refill for value in own.values() if (refill := keep_contents(value, known)) is not None]

    def restore() -> None:
        values = vars(module)
        for name in [name for name in values if name not in own and name not in _OF_TORCH]:
            del values[name]
        values.update(own)
        for refill in contents:
            refill()

    return restore


def _script_attributes(module: nn.Module, known: Collection[int]) -> Restore:
    """The attributes of a scripted module, which live outside Python; a loaded one does not tell what it has."""
    kind = vars(module).get("_concrete_type")
    names = (
        [] if kind is None else [name for name, (_, is_parameter) in kind.get_attributes().items() if not is_parameter]
    )
    own = {name: getattr(module, name) for name in names if name not in vars(nn.Module())}
    contents = [refill for value in own.values() if (refill := keep_contents(value, known)) is not None]
    copies = {name: copy_state(value) for name, value in own.items() if not isinstance(value, Tensor)}

    def restore() -> None:
        for name, value in own.items():
            setattr(module, name, copies.get(name, value))
        for refill in contents:
            refill()

    return restore


def _extra_state(module: nn.Module) -> Restore | None:
    if type(module).get_extra_state is nn.Module.get_extra_state:
        return None
    state = deepcopy(module.get_extra_state())
    if type(module).set_extra_state is nn.Module.set_extra_state:
        raise ValueError(f"a {type(module).__name__} gives extra state but takes none back; give it set_extra_state")
    return lambda: module.set_extra_state(deepcopy(state))


# -- optimizers ------------------------------------------------------------------------------------------------

_OF_OPTIMIZER: Final = frozenset({"param_groups", "state", "defaults", "_warned_capturable_if_run_uncaptured"})


def _optimizer(optimizer: Optimizer, known: Collection[int]) -> Restore:
    """The optimizer, those inside it, and the parameters they update."""
    every = [optimizer, *inside(optimizer)]
    parameters = {id(p): p for one in every for group in one.param_groups for p in group["params"]}
    skip = {*known, *parameters}
    values = [_Parameter(parameter) for key, parameter in parameters.items() if key not in known]
    restores = [_optimizer_alone(one, skip) for one in every]

    @torch.no_grad()
    def restore() -> None:
        for put_back in restores:
            put_back()
        for parameter in values:
            parameter.put_back()

    return restore


def _optimizer_alone(optimizer: Optimizer, known: Collection[int]) -> Restore:
    groups = [(group, _entries(group)) for group in optimizer.param_groups]
    state = {id(key): (key, value, _entries(value)) for key, value in optimizer.state.items()}
    own = {name: value for name, value in vars(optimizer).items() if name not in _OF_OPTIMIZER and "hooks" not in name}
    contents = [refill for value in own.values() if (refill := keep_contents(value, known)) is not None]

    def restore() -> None:
        optimizer.param_groups[:] = [group for group, _ in groups]
        for group, entries in groups:
            _refill(group, entries)
        for key in [key for key in optimizer.state if id(key) not in state]:
            del optimizer.state[key]
        for key, value, entries in state.values():
            optimizer.state[key] = value
            _refill(value, entries)
        vars(optimizer).update(own)
        for refill in contents:
            refill()

    return restore


def _entries(holder: Any) -> dict[str, tuple[Any, Any]] | None:
    """Each entry of a group or of a parameter's state, and a copy of what it holds; None for state of another kind."""
    if not isinstance(holder, dict):
        return None
    return {key: (value, list(value) if key == "params" else copy_state(value)) for key, value in holder.items()}


def _refill(holder: Any, entries: dict[str, tuple[Any, Any]] | None) -> None:
    if entries is None:
        return
    holder.clear()
    for key, (value, copy) in entries.items():
        if isinstance(value, Tensor):
            value.copy_(copy)
            holder[key] = value
        elif key == "params":
            value[:] = copy
            holder[key] = value
        else:
            holder[key] = copy_state(copy)  # the copy may be needed once more


# -- the rest --------------------------------------------------------------------------------------------------


def _scaler(scaler: torch.amp.GradScaler) -> Restore:
    values = {
        name: (value, copy_state(value)) for name, value in vars(scaler).items() if name != "_per_optimizer_states"
    }
    stages = {key: dict(stage) for key, stage in scaler._per_optimizer_states.items()}

    @torch.no_grad()
    def restore() -> None:
        for name, (value, copy) in values.items():
            setattr(scaler, name, value)
            if isinstance(value, Tensor):
                value.copy_(copy)
        scaler._per_optimizer_states.clear()
        scaler._per_optimizer_states.update({key: dict(stage) for key, stage in stages.items()})

    return restore


def _stateful(part: Stateful) -> Restore:
    state = copy_state(part.state_dict())

    def restore() -> None:
        part.load_state_dict(state)

    return restore


def _address(tensor: Tensor) -> int | None:
    try:
        return tensor.data_ptr()
    except RuntimeError:  # tensors without memory of their own, such as distributed ones
        return None


_WAYS: tuple[tuple[Any, Callable[[Any], Restore]], ...] = (
    (torch.amp.GradScaler, _scaler),
    (Batches, Batches.mark),
)
