"""What freezing saves: predicted before training, from the operations that the backward pass will leave out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from torch import nn

from lehr._numbers import shown
from lehr.budget import Budget
from lehr.freezing.cost import LayerCost, layer_costs
from lehr.freezing.freezeout import HOW, FreezeOut

EMPIRICAL_2017: Final = 1.3
"""By what the released code multiplies the savings of its linear strategy, without saying why."""


@dataclass(frozen=True)
class SavingsRow:
    """What a plan means for one layer.

    Args:
        index: of the layer.
        name: of the layer.
        freezes_at: the share of the budget after which it freezes; None for never.
        factor: what its rate starts with.
        size: how many numbers its parameters hold.
        cost: its share of an update.
        saves: the share of the run that its freezing saves.
    """

    index: int
    name: str
    freezes_at: float | None
    factor: float
    size: int
    cost: float
    saves: float


@dataclass(frozen=True, eq=False)
class Savings:
    """What a plan saves, in shares of what the run would cost without it; printing shows the layers.

    Args:
        plan: the plan.
        layers: what each layer costs.
        whole: what the model costs.
        formula: "counted" or "freezeout2017".

    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 8), torch.nn.Linear(8, 8))
    >>> savings = freeze_savings(model, torch.ones(1, 8), FreezeOut(layers_of(model), t0=0.5, how="linear"))
    >>> savings.time, savings.speed_at(0.6)
    (0.1875, 0.75)
    """

    plan: FreezeOut
    layers: tuple[LayerCost, ...]
    whole: LayerCost
    formula: str = "counted"

    @property
    def time(self) -> float:
        """The share of the run's operations that is saved, which predicts its time."""
        if self.formula == "freezeout2017":
            return saving_of_2017([layer.forward for layer in self.layers], self.plan.t0, self.plan.how)
        saved = sum(c.backward * (1.0 - end) for c, end in zip(self.layers, self._freezes_at, strict=True))
        return saved / (self.whole.forward + self.whole.backward)

    @property
    def memory(self) -> float:
        """The share of the memory for gradients and for what the backward pass needs that is free at the end."""
        rest = self.layers[-1]
        each = [layer.memory + 4.0 * layer.size for layer in (self.whole, rest)]
        return 1.0 - each[1] / each[0]

    @property
    def most(self) -> float:
        """The share of operations saved once all but the last layer are frozen, which no plan exceeds."""
        return sum(cost.backward for cost in self.layers[:-1]) / (self.whole.forward + self.whole.backward)

    def speed_at(self, progress: float) -> float:
        """How long an update takes at `progress`, as a share of one with nothing frozen."""
        saved = sum(c.backward for c, at in zip(self.layers, self._freezes_at, strict=True) if at < progress < 1.0)
        return 1.0 - saved / (self.whole.forward + self.whole.backward)

    def const_time(self, budget: Budget) -> Budget:
        """The budget lengthened by what is saved, so that the run takes the time that it would have taken.

        A budget in seconds needs no such thing: it buys more updates by itself.

        Raises:
            ValueError: if the budget is in seconds.

        >>> model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 8), torch.nn.Linear(8, 8))
        >>> plan = FreezeOut(layers_of(model), t0=0.5, how="linear")
        >>> freeze_savings(model, torch.ones(1, 8), plan).const_time(Budget(steps=1000))
        Budget(steps=1231)
        """
        if budget.unit == "seconds":
            raise ValueError("const_time: a budget in seconds is spent in full anyway; use it as it is")
        longer = budget.amount / (1.0 - self.time)
        return budget.scaled((round(longer) if budget.unit == "steps" else longer) / budget.amount)

    def plan_for(self, time: float) -> FreezeOut:
        """The plan with another `t0` that saves this share of the operations.

        Args:
            time: above 0.

        Raises:
            ValueError: if no `t0` saves that much.

        >>> model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 8), torch.nn.Linear(8, 8))
        >>> savings = freeze_savings(model, torch.ones(1, 8), FreezeOut(layers_of(model), how="linear"))
        >>> round(savings.plan_for(0.2).t0, 6)
        0.466667
        """
        low, high = 1e-6, 1.0
        if not 0.0 < time <= self._with(low).time:
            raise ValueError(
                f"plan_for: time must be above 0 and at most {self._with(low).time:.3f}, the most that "
                f"how={self.plan.how!r} saves here; got {shown(time)}"
            )
        for _ in range(60):
            middle = (low + high) / 2.0
            low, high = (middle, high) if self._with(middle).time > time else (low, middle)
        return self._with((low + high) / 2.0).plan

    def rows(self) -> list[SavingsRow]:
        """What the plan means for each layer."""
        total = self.whole.forward + self.whole.backward
        last = len(self.layers) - 1
        return [
            SavingsRow(
                index, cost.name, None if index == last else at, schedule(0.0), cost.size,
                (cost.forward + cost.backward) / total, cost.backward * (1.0 - at) / total,
            )
            for index, (cost, schedule, at) in enumerate(
                zip(self.layers, self.plan.schedules, self._freezes_at, strict=True)
            )
        ]  # fmt: skip

    def __str__(self) -> str:
        width = max(len("layer"), *(len(layer.name) for layer in self.layers))
        lines = [f"    {'layer':<{width}}     freezes   rate at start   parameters   cost   saves"]
        for row in self.rows():
            freezes = "never" if row.freezes_at is None else f"{row.freezes_at:.1%}"
            lines.append(
                f"{row.index:>3} {row.name:<{width}}  {freezes:>10}  {row.factor:>13.3g}x  {row.size:>11,}  "
                f"{row.cost:>5.1%}  {row.saves:>5.1%}"
            )
        lines.append(f"predicted to save {self.time:.1%} of the time; at the end {self.memory:.0%} of the memory")
        return "\n".join(lines)

    @property
    def _freezes_at(self) -> tuple[float, ...]:
        return (*self.plan.freezes_at, 1.0)

    def _with(self, t0: float) -> Savings:
        plan = self.plan
        other = FreezeOut(
            plan.layers, t0=t0, how=plan.how, scale_lr=plan.scale_lr, shape=plan.shape, max_events=plan.max_events
        )
        return replace(self, plan=other)


def freeze_savings(
    model: nn.Module, example_input: Any, plan: FreezeOut, *, formula: Literal["counted", "freezeout2017"] = "counted"
) -> Savings:
    """What a FreezeOut plan saves on this model, predicted from operations.

        saved = sum_i B_i (1 - t_i) / (F + B)

    F and B are the operations of a forward and a backward pass, B_i those that layer i's freezing takes out of the
    backward pass, counted by running it with one more layer frozen at a time. Forward passes are not shortened. Time
    that is not operations (norms, activations, loading data) makes the real savings smaller or larger.

    Args:
        model: the model of the plan; it is left as it was.
        example_input: as for `layers_of`; shares do not depend on the size of the batch.
        plan: which layers freeze when.
        formula: "freezeout2017" is the released code's: backward costs as much as forward, and savings of the linear
            strategy are multiplied by 1.3.

    Raises:
        ValueError: if the plan is for another model, or for parameters that are not the model's any more, or no
            operations are counted.

    Source: Brock et al. 2017, `calc_speedup` of the released code, for any model.

    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 8), torch.nn.Linear(8, 8))
    >>> plan = FreezeOut(layers_of(model), t0=0.5, how="linear")
    >>> print(freeze_savings(model, torch.ones(1, 8), plan))
        layer     freezes   rate at start   parameters   cost   saves
      0 0           50.0%              2x           72  37.5%  12.5%
      1 1           75.0%           1.33x           72  37.5%   6.2%
      2 2           never              1x           72  25.0%   0.0%
    predicted to save 18.8% of the time; at the end 67% of the memory
    """
    if formula not in ("counted", "freezeout2017"):
        raise ValueError(f"freeze_savings: formula must be 'counted' or 'freezeout2017'; got {shown(formula)}")
    plan.layers.check_parameters("freeze_savings")
    if {id(p) for p in model.parameters()}.isdisjoint(id(p) for layer in plan.layers for p in layer.parameters):
        raise ValueError("freeze_savings: plan is for another model")
    costs, whole = layer_costs(plan.layers, example_input)
    return Savings(plan, tuple(costs), whole, formula)


def saving_of_2017(costs: Sequence[float], t0: float, how: str) -> float:
    """The released code's estimate: a backward pass costs what the forward pass does, c_i.

    1 - (sum_i c_i + sum_i c_i (t0 + (1 - t0) i / N)^p) / (2 sum_i c_i), times 1.3 for linear
    """
    frozen = sum(c * (t0 + (1.0 - t0) * i / len(costs)) ** HOW[how] for i, c in enumerate(costs))
    saved = 1.0 - (sum(costs) + frozen) / (2.0 * sum(costs))
    return EMPIRICAL_2017 * saved if how == "linear" else saved
