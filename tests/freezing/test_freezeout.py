"""FreezeOut: its formula, its parameter groups, and what becomes of layers."""

from __future__ import annotations

import copy
import io
import math
from typing import Any, Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import lehr

How = Literal["linear", "squared", "cubic"]


def chain(layers: int, width: int = 4) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width), nn.Dropout(0.1)) for _ in range(layers - 1)),
        nn.Linear(width, width),
    )


def start(plan: lehr.FreezeOut, steps: int, *, lr: float = 0.1, kind: Any = torch.optim.SGD) -> lehr.Scheduler:
    return lehr.Scheduler(kind(plan.param_groups(lr=lr)), plan, lehr.Budget(steps=steps))


def update(model: nn.Module, scheduler: lehr.Scheduler) -> None:
    scheduler.optimizer.zero_grad()
    model(torch.randn(8, 4)).square().mean().backward()
    scheduler.optimizer.step()
    scheduler.step()


def released(layers: int, index: int, t0: float, how: str, scale_lr: bool, total: int) -> list[float]:
    """The rates of one layer as the released code sets them, update by update."""
    power = {"linear": 1, "squared": 2, "cubic": 3}[how]
    ratio = (t0 + (1 - t0) * float(index) / (layers - 1)) ** power
    last = total * ratio
    peak = 0.1 / ratio if scale_lr else 0.1
    return [0.0 if j > last else peak * 0.5 * (1 + math.cos(math.pi * j / last)) for j in range(total)]


@pytest.mark.parametrize("how", ["linear", "squared", "cubic"])
@pytest.mark.parametrize("scale_lr", [True, False])
@pytest.mark.parametrize("t0", [0.3, 0.5, 0.8, 1.0])
def test_parity_with_the_released_formula(how: How, scale_lr: bool, t0: float) -> None:
    model = nn.Sequential(*(nn.Linear(1, 1) for _ in range(40)))
    plan = lehr.FreezeOut(lehr.layers_of(model), t0=t0, how=how, scale_lr=scale_lr)
    preview = start(plan, 200).preview()
    for index in range(40):
        ours = [rates[index] for _, _, rates in preview]
        assert ours == pytest.approx(released(40, index, t0, how, scale_lr, 200), rel=0, abs=1e-12)


def test_the_papers_points_of_freezing() -> None:
    model = nn.Sequential(*(nn.Linear(1, 1) for _ in range(40)))
    plan = lehr.FreezeOut(lehr.layers_of(model), t0=0.8, how="cubic")
    assert [round(plan.ends[i], 3) for i in (0, 1, 13, 26, 38, 39)] == [0.512, 0.522, 0.651, 0.813, 0.985, 1.0]


@given(st.integers(2, 12), st.floats(0.01, 1.0), st.sampled_from(["linear", "squared", "cubic"]))
def test_scaled_layers_travel_equally_far_and_freeze_in_order(layers: int, t0: float, how: How) -> None:
    model = nn.Sequential(*(nn.Linear(1, 1) for _ in range(layers)))
    plan = lehr.FreezeOut(lehr.layers_of(model), t0=t0, how=how)
    assert list(plan.ends) == sorted(plan.ends)
    assert plan.ends[-1] == 1.0
    for schedule, end in zip(plan.schedules, plan.ends, strict=True):
        points = 400
        distance = sum(schedule(end * (k + 0.5) / points) for k in range(points)) * end / points
        assert distance == pytest.approx(0.5, rel=1e-6)


def test_layers_freeze_when_their_rate_is_zero_and_stay_so() -> None:
    model = chain(4)
    plan = lehr.FreezeOut(lehr.layers_of(model), t0=0.25, how="linear")
    scheduler = start(plan, 20, kind=torch.optim.AdamW)
    frozen, weights = [], []
    for _ in range(20):
        model.train()
        update(model, scheduler)
        frozen.append(plan.frozen)
        weights.append([copy.deepcopy(layer.state_dict()) for layer in model])
        for index, layer in enumerate(model):
            still = index < plan.frozen
            assert all(p.requires_grad is not still for p in layer.parameters())
            assert all(module.training is not still for module in layer.modules())
            assert all((p in scheduler.optimizer.state) is not still for p in layer.parameters())
            if still:
                assert scheduler.get_last_lr()[index] == 0.0
                assert all(p.grad is None for p in layer.parameters())
    assert frozen == [0] * 5 + [1] * 5 + [2] * 5 + [3] * 5
    for index in range(3):
        first = weights[frozen.index(index + 1)][index]
        assert all(torch.equal(value, weights[-1][index][key]) for key, value in first.items())
    assert len(scheduler.optimizer.param_groups) == 4


def test_the_frozen_prefix_builds_no_graph() -> None:
    model = chain(3)
    plan = lehr.FreezeOut(lehr.layers_of(model), t0=0.5, how="linear")
    scheduler = start(plan, 4)
    for _ in range(3):
        update(model, scheduler)
    assert plan.frozen == 1
    x = model[0](torch.randn(8, 4))
    assert not x.requires_grad
    assert model[1](x).requires_grad


def test_a_branch_that_trains_keeps_gradients_flowing() -> None:
    class TwoInputs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.shared, self.head = (nn.Linear(4, 4) for _ in range(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.head(self.shared(self.first(x) + self.second(x.flip(1))))
            return out

    model = TwoInputs()
    plan = lehr.FreezeOut(lehr.layers_of(model, torch.zeros(1, 4)), t0=0.25, how="linear")
    scheduler = start(plan, 8)
    for _ in range(3):
        update(model, scheduler)
    assert plan.frozen == 1
    model(torch.randn(2, 4)).sum().backward()
    assert model.first.weight.grad is None
    assert model.second.weight.grad is not None


def test_warm_up_does_not_freeze() -> None:
    model = chain(3)
    plan = lehr.FreezeOut(lehr.layers_of(model), t0=0.5, how="linear")
    scheduler = lehr.Scheduler(
        torch.optim.SGD(plan.param_groups(lr=0.1)), plan * lehr.Constant().after_warmup(0.25), lehr.Budget(steps=8)
    )
    assert scheduler.get_last_lr() == [0.0] * 3
    assert plan.frozen == 0
    rates = [rates[0] for _, _, rates in scheduler.preview()]
    assert rates[1] == pytest.approx(0.5 * plan.schedules[0](1 / 8) * 0.1)
    for _ in range(5):
        update(model, scheduler)
    assert plan.frozen == 1


def test_other_shapes_and_scheduled_momentum() -> None:
    model = chain(3)
    plan = lehr.FreezeOut(lehr.layers_of(model), t0=0.5, how="linear", shape=lehr.Linear(), scale_lr=False)
    optimizer = torch.optim.SGD(plan.param_groups(lr=1.0), momentum=0.9)
    scheduler = lehr.Scheduler(optimizer, plan, lehr.Budget(steps=4), also={"momentum": lehr.Linear().between(0.5)})
    assert [rates[0] for _, _, rates in scheduler.preview()] == [1.0, 0.5, 0.0, 0.0]
    update(model, scheduler)
    assert optimizer.param_groups[0]["momentum"] == pytest.approx(0.9 * 0.875)


def test_events_are_grouped() -> None:
    model = nn.Sequential(*(nn.Linear(1, 1) for _ in range(9)))
    layers = lehr.layers_of(model)
    every = lehr.FreezeOut(layers, t0=0.5)
    for most in range(1, 12):
        plan = lehr.FreezeOut(layers, t0=0.5, max_events=most)
        assert len(set(plan.freezes_at)) == min(most, 8)
        assert all(at >= end for at, end in zip(plan.freezes_at, plan.ends[:-1], strict=True))
        assert set(plan.freezes_at) <= set(every.freezes_at)
        assert plan.schedules == every.schedules


@pytest.mark.parametrize("stop", [3, 5, 9, 12])
def test_another_process_goes_on_across_a_freeze(stop: int) -> None:
    """Weights, statistics and optimizer state to the bit, and the layers that are frozen."""

    def made() -> tuple[nn.Sequential, lehr.FreezeOut, lehr.Scheduler]:
        model = chain(4)
        plan = lehr.FreezeOut(lehr.layers_of(model), t0=0.25, how="linear")
        return model, plan, start(plan, 12, kind=torch.optim.AdamW)

    def run(model: nn.Module, scheduler: lehr.Scheduler, first: int, last: int) -> None:
        for index in range(first, last):
            torch.manual_seed(index)
            model.train()
            update(model, scheduler)

    whole, plan, scheduler = made()
    run(whole, scheduler, 0, 12)
    one, plan_one, scheduler_one = made()
    run(one, scheduler_one, 0, stop)
    file = io.BytesIO()
    torch.save([one.state_dict(), scheduler_one.optimizer.state_dict(), scheduler_one.state_dict()], file)
    file.seek(0)
    weights, optimizer, state = torch.load(file, weights_only=True)
    two, plan_two, scheduler_two = made()
    two.load_state_dict(weights)
    scheduler_two.optimizer.load_state_dict(optimizer)
    scheduler_two.load_state_dict(state)
    assert plan_two.frozen == plan_one.frozen
    run(two, scheduler_two, stop, 12)
    assert plan_two.frozen == plan.frozen == 3
    assert all(torch.equal(value, two.state_dict()[key]) for key, value in whole.state_dict().items())


def test_an_earlier_checkpoint_thaws() -> None:
    model = chain(4)
    plan = lehr.FreezeOut(lehr.layers_of(model), t0=0.25, how="linear")
    scheduler = start(plan, 12)
    early = scheduler.state_dict()
    for _ in range(8):
        update(model, scheduler)
    assert plan.frozen == 2
    scheduler.load_state_dict(early)
    assert plan.frozen == 0
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(module.training for module in model.modules())
    model.eval()
    assert not any(module.training for module in model.modules())


def test_a_larger_budget_thaws_and_a_smaller_one_freezes() -> None:
    model = chain(4)
    plan = lehr.FreezeOut(lehr.layers_of(model), t0=0.25, how="linear")
    scheduler = start(plan, 12)
    for _ in range(4):
        update(model, scheduler)
    assert plan.frozen == 1
    scheduler.rebudget(lehr.Budget(steps=40), how="jump")
    assert plan.frozen == 0
    update(model, scheduler)
    assert model[0][0].weight.grad is not None
    scheduler.rebudget(lehr.Budget(steps=6), how="jump")
    assert plan.frozen == 3


def test_finishing_early_leaves_the_others_training_to_the_end() -> None:
    model = chain(4)
    plan = lehr.FreezeOut(lehr.layers_of(model), t0=0.25, how="linear")
    scheduler = start(plan, 100)
    for _ in range(30):
        update(model, scheduler)
    assert plan.frozen == 1
    scheduler.finish_by(lehr.Budget(steps=10))
    for _ in range(9):
        update(model, scheduler)
        assert plan.frozen == 1
        assert [rate > 0 for rate in scheduler.get_last_lr()] == [False, True, True, True]


def test_a_rate_that_is_not_quite_zero_at_its_end_freezes_at_the_next_update() -> None:
    """Progress is a rounded quotient, and a cosine a rounding error before its end is not zero."""
    plan = lehr.FreezeOut(lehr.layers_of(chain(3)), t0=0.5, how="linear")
    plan.bind(torch.optim.SGD(plan.param_groups(lr=0.1)))
    plan.arrive(0.5, [1e-25, 0.5, 1.0])
    assert plan.frozen == 0
    plan.arrive(0.51, [0.0, 0.5, 1.0])
    assert plan.frozen == 1


def test_unfreeze_for_fine_tuning() -> None:
    model = chain(3)
    plan = lehr.FreezeOut(lehr.layers_of(model), t0=0.5)
    scheduler = start(plan, 4)
    for _ in range(4):
        update(model, scheduler)
    assert plan.frozen == 2
    plan.unfreeze()
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(module.training for module in model.train().modules())
    assert not any("train" in vars(module) for module in model.modules())


def test_existing_groups_are_split_and_keep_their_options() -> None:
    model = chain(3)
    plan = lehr.FreezeOut(lehr.layers_of(model))
    decayed = [p for p in model.parameters() if p.dim() > 1]
    rest = [p for p in model.parameters() if p.dim() < 2]
    extra = nn.Parameter(torch.zeros(3))
    groups = plan.param_groups(
        [
            {"params": decayed, "weight_decay": 0.1},
            {"params": rest, "weight_decay": 0.0, "lr": 0.5},
            {"params": [extra]},
        ],
        lr=0.1,
    )
    assert [(len(g["params"]), g["lr"], g.get("weight_decay")) for g in groups] == [
        (1, 0.1, 0.1), (3, 0.5, 0.0), (1, 0.1, 0.1), (3, 0.5, 0.0), (1, 0.1, 0.1), (1, 0.5, 0.0), (1, 0.1, None),
    ]  # fmt: skip
    scheduler = lehr.Scheduler(torch.optim.SGD(groups), plan, lehr.Budget(steps=4))
    update(model, scheduler)
    assert scheduler.get_last_lr()[-1] == pytest.approx(0.1 * lehr.Cosine()(0.25))  # outside all layers: as the last


def test_groups_of_an_optimizer_can_be_split() -> None:
    model = chain(3)
    plan = lehr.FreezeOut(lehr.layers_of(model))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.3)
    groups = plan.param_groups(optimizer.param_groups)
    assert [group["weight_decay"] for group in groups] == [0.3] * 3
    lehr.Scheduler(torch.optim.AdamW(groups), plan, lehr.Budget(steps=4))
    assert len(plan.param_groups(model.parameters(), lr=0.1)) == 3


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"t0": 0.0}, "t0, a share of the budget, must be a number above 0"),
        ({"t0": 1.5}, "t0, a share of the budget, must be a number above 0"),
        ({"t0": True}, "t0, a share of the budget, must be a number above 0"),
        ({"how": "quartic"}, "how must be 'linear', 'squared', 'cubic'"),
        ({"shape": lehr.Cosine().between(0.1)}, "shape must be a schedule from 1 to 0"),
        ({"shape": lehr.Triangular(2)}, "shape must be a schedule from 1 to 0"),
        ({"max_events": 0}, "max_events must be a whole number"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        lehr.FreezeOut(lehr.layers_of(chain(3)), **arguments)


def test_a_group_that_mixes_layers_is_refused() -> None:
    model = chain(3)
    plan = lehr.FreezeOut(lehr.layers_of(model))
    with pytest.raises(ValueError, match=r"parameter group 0 mixes layers \(0, 1, 2\)"):
        lehr.Scheduler(torch.optim.SGD(model.parameters(), lr=0.1), plan, lehr.Budget(steps=4))
    with pytest.raises(TypeError, match="layers must come from"):
        lehr.FreezeOut(model)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="the same parameter twice"):
        plan.param_groups([{"params": model.parameters()}, {"params": [model[0][0].weight]}])
    with pytest.raises(ValueError, match="named parameters"):
        plan.param_groups([{"params": model.named_parameters()}])


def test_copies_freeze_on_their_own() -> None:
    model = chain(3)
    plan = lehr.FreezeOut(lehr.layers_of(model), t0=0.5, how="linear")
    scheduler = start(plan, 4)
    for _ in range(3):
        update(model, scheduler)
    file = io.BytesIO()
    torch.save((model, scheduler), file)
    file.seek(0)
    for copied, of_copy in (copy.deepcopy((model, scheduler)), torch.load(file, weights_only=False)):
        assert of_copy.policy.frozen == plan.frozen == 1
        copied.train()
        assert [layer.training for layer in copied] == [False, True, True]
        for _ in range(1):
            update(copied, of_copy)
        assert of_copy.policy.frozen == 2
        of_copy.policy.unfreeze()
        assert all(layer.training for layer in copied.train())
    assert plan.frozen == 1
    assert not model.train()[0].training


def test_averaged_weights_get_statistics_of_their_own() -> None:
    model = chain(3)
    plan = lehr.FreezeOut(lehr.layers_of(model), t0=0.5, how="linear")
    scheduler = start(plan, 4)
    for _ in range(3):
        update(model, scheduler)
    averaged = torch.optim.swa_utils.AveragedModel(model)
    torch.optim.swa_utils.update_bn([torch.randn(64, 4) + 5.0], averaged)
    assert float(averaged.module[0][1].running_mean.abs().max()) > 0.1
    assert all(module.training for module in averaged.train().modules())


def test_what_was_in_evaluation_mode_stays_there() -> None:
    model = chain(3)
    plan = lehr.FreezeOut(lehr.layers_of(model), t0=0.5, how="linear")
    scheduler = start(plan, 4)
    model[0][1].eval()
    for _ in range(2):
        update(model, scheduler)
    plan.unfreeze()
    assert [part.training for part in model[0]] == [True, False, True]


def test_what_somebody_thaws_is_frozen_again() -> None:
    model = chain(3)
    plan = lehr.FreezeOut(lehr.layers_of(model), t0=0.5, how="linear")
    scheduler = start(plan, 8, kind=torch.optim.AdamW)
    for _ in range(5):
        update(model, scheduler)
        model.requires_grad_(True)
    update(model, scheduler)
    assert not model[0][0].weight.requires_grad
    assert model[0][0].weight.grad is None
    assert model[0][0].weight not in scheduler.optimizer.state


def test_one_optimizer_a_plan_and_two_plans_of_the_same_layers() -> None:
    model = chain(4)
    layers = lehr.layers_of(model)
    body = [p for layer in layers[:3] for p in layer.parameters]
    plans = [lehr.FreezeOut(layers, t0=0.25, how="linear") for _ in range(2)]
    optimizers = [
        torch.optim.AdamW(plans[0].param_groups(body, lr=0.1)),
        torch.optim.SGD(plans[1].param_groups(layers[3].parameters, lr=0.1), momentum=0.9),
    ]
    schedulers = [lehr.Scheduler(o, p, lehr.Budget(steps=8)) for o, p in zip(optimizers, plans, strict=True)]
    for _ in range(7):
        model(torch.randn(8, 4)).square().mean().backward()
        for optimizer, scheduler in zip(optimizers, schedulers, strict=True):
            optimizer.step()
            optimizer.zero_grad()
            scheduler.step()
    assert [plan.frozen for plan in plans] == [3, 3]
    assert not optimizers[0].state
    assert len(optimizers[1].state) == 2
    with pytest.raises(ValueError, match="this plan drives another optimizer"):
        lehr.Scheduler(optimizers[1], plans[0], lehr.Budget(steps=8))


def test_an_optimizer_of_another_model_is_refused() -> None:
    plan = lehr.FreezeOut(lehr.layers_of(chain(3)))
    with pytest.raises(ValueError, match="none of the layers' parameters"):
        lehr.Scheduler(torch.optim.SGD(chain(3).parameters(), lr=0.1), plan, lehr.Budget(steps=8))


def test_accumulation_and_scaled_gradients() -> None:
    model = chain(3)
    plan = lehr.FreezeOut(lehr.layers_of(model), t0=0.5, how="linear")
    scheduler = start(plan, 8)
    scaler = torch.amp.GradScaler("cpu")
    for _ in range(8):
        for _ in range(3):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = model(torch.randn(8, 4)).square().mean() / 3
            scaler.scale(loss).backward()
        scaler.step(scheduler.optimizer)
        scaler.update()
        scheduler.step()
        scheduler.optimizer.zero_grad()
    assert plan.frozen == 2
    assert scheduler.spent == 8


def test_gradient_checkpointing() -> None:
    """Without re-entrance, as torch recommends, gradients arrive behind a frozen prefix."""
    from torch.utils.checkpoint import checkpoint

    model = chain(3)
    plan = lehr.FreezeOut(lehr.layers_of(model), t0=0.5, how="linear")
    scheduler = start(plan, 8)
    for _ in range(5):
        x = torch.randn(8, 4)
        for layer in model:
            x = checkpoint(layer, x, use_reentrant=False)
        scheduler.optimizer.zero_grad()
        x.square().mean().backward()
        scheduler.optimizer.step()
        scheduler.step()
    assert plan.frozen == 1
    assert model[1][0].weight.grad is not None
