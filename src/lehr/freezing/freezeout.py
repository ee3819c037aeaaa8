"""FreezeOut: every layer anneals to zero on a schedule of its own, and then freezes."""

from __future__ import annotations

import warnings
import weakref
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

from torch import nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from lehr._arguments import flag_argument, number_argument, whole_argument
from lehr._numbers import SMALLEST, shown
from lehr.freezing.data_parallel import check_for_plain_ddp
from lehr.freezing.freeze import freeze, has_slipped, thaw
from lehr.freezing.layers import Layer, Layers
from lehr.freezing.param_groups import layers_of_groups, split
from lehr.freezing.watch import Watch
from lehr.freezing.zero_gradient import ZeroGradient
from lehr.policy import Follow, Moment, Policy
from lehr.scheduler import BudgetWarning
from lehr.schedules import Cosine, Schedule

TOO_MANY: Final = (
    "FreezeOut: torch.compile compiles anew at each of {} freezes and gives up after {} compilations; "
    "pass max_events={}"
)
SLIP: Final = (
    "FreezeOut: frozen layers were let train again, as by model.requires_grad_(True), and took part in the backward "
    "pass: their weights stay, but nothing was saved. Inside a compiled graph this goes unseen; give layers_of the "
    "compiled model, or let train only parameters that are not frozen"
)
HOW: Final = {"linear": 1, "squared": 2, "cubic": 3}


class FreezeOut(Policy):
    """Layer-wise annealing to zero, after which a layer leaves the backward pass.

        t_i = (t0 + (1 - t0) i / n)^p    with p = 1, 2, 3 for linear, squared, cubic
        lr_i(t) = a_i / 2 (1 + cos(pi t / t_i)) up to t_i, then frozen;    a_i = a / t_i if `scale_lr` else a

    t is the share of the budget spent, i = 0..n the layer's index and a the group's base rate; layer n never freezes.
    As in the released code an update right at t_i is made with rate 0, and still sees new statistics of batch norm.
    The scheduler freezes by itself, from progress alone: nothing extra is saved, and a checkpoint from before or after
    a freeze, or another budget, brings the layers to where they belong. A frozen layer's modules stay in evaluation
    mode, whatever `model.train()` says, and its parameters out of the backward pass, whatever
    `model.requires_grad_(True)` says; its gradients and optimizer state are dropped. A plan drives one optimizer; for
    several make a plan for each, from the same layers. Composes with schedules: `plan * Constant().after_warmup(0.05)`.

    Args:
        layers: from `layers_of`.
        t0: when the first layer freezes, before the power is taken; above 0, at most 1.
        how: which power.
        scale_lr: whether early layers start with a rate higher by 1 / t_i, so that all travel equally far; with a
            small `t0` that is a high rate (cubic, t0=0.5: 8 times).
        shape: of each layer's way to zero, from 1 to 0; `Cosine()` if not given.
        max_events: at how many moments at most to freeze, at least 1: layers then wait, at rate zero, for the last
            of their event. Under `torch.compile`, which compiles anew at each, at most 7 (its default limit is 8).

    Raises:
        TypeError: if `layers` are not from `layers_of`.
        ValueError: if another argument is out of its range.

    Source: Brock, Lim, Ritchie and Weston, "FreezeOut", 2017 (arXiv 1706.04983), whose text omits the 1/2.

    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Linear(8, 8), torch.nn.Linear(8, 1))
    >>> plan = FreezeOut(layers_of(model), t0=0.5, how="linear")
    >>> plan.ends
    (0.5, 0.75, 1.0)
    >>> optimizer = torch.optim.SGD(plan.param_groups(lr=0.1))
    >>> scheduler = Scheduler(optimizer, plan, Budget(steps=4))
    >>> for _ in range(4):
    ...     model(torch.ones(1, 2)).sum().backward(); optimizer.step(); scheduler.step()
    >>> plan.frozen, model[1].weight.requires_grad, model[2].weight.requires_grad
    (2, False, True)
    """

    def __init__(
        self,
        layers: Layers,
        *,
        t0: float = 0.8,
        how: Literal["linear", "squared", "cubic"] = "cubic",
        scale_lr: bool = True,
        shape: Schedule | None = None,
        max_events: int | None = None,
    ) -> None:
        shape = Cosine() if shape is None else shape
        _check(layers, how, shape)
        t0 = number_argument("FreezeOut: t0, a share of the budget,", t0, SMALLEST, 1.0)
        scale_lr = flag_argument("FreezeOut: scale_lr", scale_lr)
        if max_events is not None:
            max_events = whole_argument("FreezeOut: max_events", max_events)
        self.layers = layers
        self.t0 = t0
        self.how = how
        self.scale_lr = scale_lr
        self.shape = shape
        self.max_events = max_events
        self.ends = ends(len(layers), t0, how)
        self.schedules = tuple(shape.until(end) * (1.0 / end if scale_lr else 1.0) for end in self.ends)
        self.freezes_at = _in_events(self.ends[:-1], max_events)
        if layers.compiled and (events := len(set(self.freezes_at))) >= (limit := _recompile_limit()):
            warnings.warn(TOO_MANY.format(events, limit, limit - 1), BudgetWarning, stacklevel=2)
        self._optimizer: weakref.ref[Optimizer] | None = None
        self._groups: tuple[int, ...] = ()
        self._due = 0
        self._is_frozen = [False] * len(layers)
        self._looks: list[RemovableHandle] = []
        self._looks_at_layers: dict[int, list[RemovableHandle]] = {}
        self._ran = False
        self._additions: set[int] = set()
        self._zero: ZeroGradient | None = None
        self._warned = False

    @property
    def frozen(self) -> int:
        """How many layers are frozen now."""
        return sum(self._is_frozen)

    @property
    def follow(self) -> Follow:
        return Follow(*(self.schedules[layer] for layer in self._groups or range(len(self.layers))))

    def factors(self, moment: Moment) -> float | Sequence[float]:
        return self.follow.at(moment.progress)

    def param_groups(self, groups: Iterable[Any] | None = None, **options: Any) -> list[dict[str, Any]]:
        """Parameter groups for the optimizer, none of which mixes layers.

        Args:
            groups: existing ones, such as those without weight decay, which are split and keep their options;
                parameters that are in no layer stay together and never freeze. One group a layer if not given.
            options: for groups that do not have them, such as `lr=0.1`.

        Raises:
            ValueError: if `groups` hold a parameter twice.

        >>> model = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Linear(8, 1))
        >>> [len(group["params"]) for group in FreezeOut(layers_of(model)).param_groups(lr=0.1)]
        [2, 2]
        """
        given = [{"params": list(layer.parameters)} for layer in self.layers] if groups is None else groups
        return split(self.layers, given, options)

    def bind(self, optimizer: Any) -> None:
        """Told which optimizer it is to drive.

        Raises:
            ValueError: if a parameter group mixes layers, or none has any, the plan drives another optimizer, or the
                model's parameters are no longer those that `layers_of` saw.
        """
        before = self._optimizer() if self._optimizer is not None else None
        if before is not None and before is not optimizer:
            raise ValueError("FreezeOut: this plan drives another optimizer; make a second one from the same layers")
        if self._groups:  # they have changed in the middle of the run: what came with new ones trains to the end
            self._additions = {id(p) for group in optimizer.param_groups for p in group["params"]}
        self.layers.check_parameters("FreezeOut", self._additions)
        self._groups = layers_of_groups(self.layers, optimizer)
        self._optimizer = weakref.ref(optimizer)
        self._ran = False
        if not self._looks:
            caller, model = self.layers.caller, self.layers.model
            self._looks = Watch(self, FreezeOut._before_forward).on([model] if caller is model else [caller, model])

    def arrive(self, progress: float, factors: Sequence[float]) -> None:
        """Freeze the layers whose time has come, and thaw those that are to train again."""
        optimizer = self._optimizer() if self._optimizer is not None else None
        if self._zero is not None and optimizer is not None:
            self._zero.clear(optimizer)
        due = bisect_left(self.freezes_at, progress)
        slipped = self._have_slipped()
        if due == self._due == self.frozen and not slipped:
            return
        self._due = due
        each = factors if len(factors) == len(self._groups) else tuple(factors) * len(self._groups)
        still_moving = {layer for layer, factor in zip(self._groups, each, strict=True) if factor > 0.0}
        for index in range(len(self.layers)):
            if index < due and index not in still_moving:
                self._freeze(index)
            elif self._is_frozen[index]:
                self._thaw(index)
        self._fill_in_for_gradients(optimizer)

    def unfreeze(self) -> None:
        """Let all layers train again, as for fine-tuning after the run."""
        self._fill_in_for_gradients(None)
        for index in range(len(self.layers)):
            if self._is_frozen[index]:
                self._thaw(index)
        self._due = 0

    # -- one layer --------------------------------------------------------------------------------------------------

    def _freeze(self, index: int) -> None:
        layer, optimizer = self.layers[index], self._optimizer() if self._optimizer is not None else None
        freeze(layer, self.layers.model, optimizer)
        self._is_frozen[index] = True
        if index not in self._looks_at_layers:  # for parts that are called without the model
            self._looks_at_layers[index] = Watch(self, lambda plan: plan._renew(index)).on(
                _watchable(self.layers, layer)
            )

    def _thaw(self, index: int) -> None:
        thaw(self.layers[index], self.layers.model)
        self._is_frozen[index] = False
        for handle in self._looks_at_layers.pop(index, ()):
            handle.remove()

    def _renew(self, index: int) -> None:
        if has_slipped(self.layers[index]):
            self._freeze(index)

    # -- looks ------------------------------------------------------------------------------------------------------

    def _before_forward(self) -> None:
        """Called before the model runs."""
        if not self._ran:
            self._ran = True
            self.layers.check_parameters("FreezeOut", self._additions)
        check_for_plain_ddp()
        for index, frozen in enumerate(self._is_frozen):
            if frozen:
                self._renew(index)
        if self._zero is not None:
            self._zero.attach(self.layers.model.parameters())

    def _have_slipped(self) -> bool:
        """Whether somebody has let frozen layers train; the first time that it cost something, a warning says so."""
        frozen = (layer for layer, is_frozen in zip(self.layers, self._is_frozen, strict=True) if is_frozen)
        slipped = [layer for layer in frozen if has_slipped(layer)]
        parameters = [parameter for layer in slipped for parameter in layer.parameters]
        if not self._warned and any(p.requires_grad and p.grad is not None for p in parameters):
            self._warned = True
            warnings.warn(SLIP, BudgetWarning, stacklevel=2)
        return bool(slipped)

    def _fill_in_for_gradients(self, optimizer: Optimizer | None) -> None:
        """Have a gradient of zeros where nothing of the optimizer trains, and only there."""
        nothing = optimizer is not None and bool(self._groups) and all(self._is_frozen[layer] for layer in self._groups)
        if self._zero is not None and not nothing:
            self._zero.remove()
            self._zero = None
        elif self._zero is None and nothing and optimizer is not None:
            parameters = [p for index in set(self._groups) for p in self.layers[index].parameters]
            mine = {id(p) for group in optimizer.param_groups for p in group["params"]}
            smallest = min((p for p in parameters if id(p) in mine), key=nn.Parameter.numel)
            self._zero = ZeroGradient(smallest, optimizer)
            weakref.finalize(self, self._zero.remove).atexit = False
        if self._zero is not None:
            self._zero.attach(self.layers.model.parameters())

    def __getstate__(self) -> dict[str, Any]:
        """For copying and pickling: the copy's scheduler binds it, and freezes the copied model."""
        fresh = {"_optimizer": None, "_due": 0, "_is_frozen": [False] * len(self.layers)}
        return {**self.__dict__, **fresh, "_looks": [], "_looks_at_layers": {}, "_zero": None}

    def __repr__(self) -> str:
        arguments = [f"<{len(self.layers)} layers>", f"t0={self.t0!r}", f"how={self.how!r}"]
        arguments += [] if self.scale_lr else ["scale_lr=False"]
        arguments += [] if self.shape == Cosine() else [f"shape={self.shape!r}"]
        arguments += [] if self.max_events is None else [f"max_events={self.max_events}"]
        return f"FreezeOut({', '.join(arguments)})"


def ends(layers: int, t0: float, how: str) -> tuple[float, ...]:
    """The share of the budget after which each of so many layers freezes; 1 for the last, which does not."""
    first = ((t0 + (1.0 - t0) * index / (layers - 1)) ** HOW[how] for index in range(layers - 1))
    return (*first, 1.0)


def _recompile_limit() -> int:
    import torch._dynamo

    return int(torch._dynamo.config.recompile_limit)


def _in_events(moments: Sequence[float], most: int | None) -> tuple[float, ...]:
    """The moments at which layers freeze, put off so that there are at most so many different ones."""
    if most is None or most >= len(moments):
        return tuple(moments)
    last_of = [(event + 1) * len(moments) // most - 1 for event in range(most)]
    return tuple(moments[next(last for last in last_of if last >= index)] for index in range(len(moments)))


def _check(layers: Any, how: Any, shape: Any) -> None:
    if not isinstance(layers, Layers):
        raise TypeError(f"FreezeOut: layers must come from lehr.layers_of(model, example_input); got {shown(layers)}")
    if not isinstance(how, str) or how not in HOW:
        raise ValueError(f"FreezeOut: how must be {', '.join(map(repr, HOW))}; got {shown(how)}")
    if not isinstance(shape, Schedule) or abs(shape(0.0) - 1.0) > 1e-9 or shape(1.0) != 0.0:
        raise ValueError(f"FreezeOut: shape must be a schedule from 1 to 0, where layers freeze; got {shown(shape)}")


def _watchable(layers: Layers, layer: Layer) -> list[nn.Module]:
    """Where a layer is entered, save in blocks of an encoder: with hooks they refuse the nested tensors it makes."""
    encoder_layers = [part for part in layers.model.modules() if isinstance(part, nn.TransformerEncoderLayer)]
    inside = {id(part) for encoder_layer in encoder_layers for part in encoder_layer.modules()}
    return [module for module in layer.entrances if id(module) not in inside and module is not layers.model]
