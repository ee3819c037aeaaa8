"""What freezing saves, counted and by the released formula."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import lehr
from lehr.freezing.savings import saving_of_2017
from lehr.lab import deep_models, models

TABLE = {  # of calc_speedup for k = 12 and 12 layers a block, in per cent
    "linear": (31.5, 27.0, 22.5, 18.0, 13.5, 9.0, 4.5),
    "squared": (35.6, 32.1, 28.0, 23.5, 18.4, 12.8, 6.7),
    "cubic": (41.3, 38.5, 34.8, 30.3, 24.6, 17.8, 9.6),
}


def costs_of_2017(growth: int = 12, layers: int = 12) -> list[float]:
    """The released code's count of multiplications: DenseNet-BC's layers, without norms and transitions."""
    costs = [3.0 * (2 * growth) * 32**2 * 9]
    channels = 2
    for size in (32**2, 16**2, 8**2):
        for _ in range(layers):
            costs.append(channels * (4.0 * growth * growth) * size + 4 * 9 * growth * growth * size)
            channels += 1
        channels //= 2
    return costs


@pytest.mark.parametrize("how", TABLE)
def test_the_released_formula(how: str) -> None:
    found = [round(100 * saving_of_2017(costs_of_2017(), t0 / 10, how), 1) for t0 in range(3, 10)]
    assert tuple(found) == TABLE[how]


def test_the_released_formula_on_the_real_network() -> None:
    """Which has transitions that the released count leaves out."""
    model = deep_models.densenet_bc(growth=12, depth=76, classes=100)
    layers = lehr.layers_of(model)
    assert len(layers) == 40
    savings = lehr.freeze_savings(
        model, torch.zeros(1, 3, 32, 32), lehr.FreezeOut(layers, t0=0.8), formula="freezeout2017"
    )
    assert savings.time == pytest.approx(0.178, abs=0.005)
    counted = lehr.freeze_savings(model, torch.zeros(1, 3, 32, 32), lehr.FreezeOut(layers, t0=0.8))
    assert counted.time == pytest.approx(0.237, abs=0.01)  # with a backward pass that costs twice the forward


def counted(model: nn.Module, x: torch.Tensor, frozen: int, layers: lehr.freezing.Layers) -> int:
    for index, layer in enumerate(layers):
        for parameter in layer.parameters:
            parameter.requires_grad_(index >= frozen)
    with FlopCounterMode(display=False) as counter:
        model(x).sum().backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("make", [models.small_resnet, models.caffe_quick, deep_models.vgg])
def test_the_prediction_is_what_updates_cost_at_every_stage(make: object) -> None:
    model = make()  # type: ignore[operator]
    x = torch.randn(2, 3, 32, 32)
    layers = lehr.layers_of(model)
    plan = lehr.FreezeOut(layers, t0=0.5, how="linear")
    savings = lehr.freeze_savings(model, x, plan)
    whole = counted(model, x, 0, layers)
    for frozen, at in enumerate((0.0, *plan.freezes_at)):
        after = at + 1e-9 if frozen else 0.0
        assert counted(model, x, frozen, layers) / whole == pytest.approx(savings.speed_at(after), rel=1e-9)
    steps = 1000
    average = sum(savings.speed_at(k / steps) for k in range(steps)) / steps
    assert 1 - average == pytest.approx(savings.time, abs=2e-3)


def test_backward_costs_about_twice_the_forward() -> None:
    model = models.small_resnet()
    savings = lehr.freeze_savings(model, torch.zeros(1, 3, 32, 32), lehr.FreezeOut(lehr.layers_of(model)))
    assert savings.whole.backward / savings.whole.forward == pytest.approx(2.0, abs=0.1)
    assert sum(layer.forward for layer in savings.layers) == savings.whole.forward


def operations(model: nn.Module, x: torch.Tensor) -> lehr.freezing.Savings:
    return lehr.freeze_savings(model, x, lehr.FreezeOut(lehr.layers_of(model, x)))


def test_encoders_are_counted_as_they_train() -> None:
    """torch has a fused path for encoders that do not train, and its counter does not see it."""
    block = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    model = nn.Sequential(nn.TransformerEncoder(block, 2, enable_nested_tensor=False), nn.Linear(16, 2))
    batch, length, width, hidden = 3, 5, 16, 32
    products = 4 * width * width + 2 * width * hidden + 2 * length * width  # of a block, for each token
    savings = operations(model, torch.zeros(batch, length, width))
    assert savings.whole.forward == 2 * batch * length * (2 * products + width * 2)
    assert savings.whole.backward == pytest.approx(2 * savings.whole.forward, rel=0.3)


def test_depthwise_convolutions_are_counted() -> None:
    model = nn.Sequential(
        nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 8, 1)
    )
    savings = operations(model, torch.zeros(1, 8, 10, 10))
    first, second, last = savings.layers
    assert first.forward == 2 * 8 * 9 * 100
    assert savings.whole.backward == 2 * savings.whole.forward - first.forward  # the input wants no gradient
    assert (first.backward, second.backward) == (2 * first.forward, second.forward + last.forward)


def test_transposed_convolutions_are_counted() -> None:
    model = nn.Sequential(nn.ConvTranspose2d(8, 4, 2, stride=2), nn.ConvTranspose2d(4, 4, 2, stride=2, groups=2))
    savings = operations(model, torch.zeros(1, 8, 5, 5))
    assert [layer.forward for layer in savings.layers] == [2 * 25 * 8 * 4 * 4, 2 * 100 * 4 * 2 * 4]
    assert savings.whole.backward == 2 * savings.whole.forward - savings.layers[0].forward


def test_recurrent_layers_are_counted() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.LSTM(8, 16, batch_first=True), nn.LSTM(16, 16, batch_first=True)
            self.head = nn.Linear(16, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.head(self.two(self.one(x)[0])[0])
            return out

    savings = operations(Recurrent(), torch.zeros(3, 5, 8))
    assert [layer.forward for layer in savings.layers] == [
        2 * 3 * 5 * 64 * (8 + 16), 2 * 3 * 5 * 64 * (16 + 16), 2 * 3 * 5 * 16 * 2,
    ]  # fmt: skip
    assert savings.whole.backward >= 2 * sum(layer.forward for layer in savings.layers[:2])


def test_lists_as_layers_are_counted() -> None:
    class Listed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
            self.head = nn.Linear(8, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for block in self.blocks:
                x = block(x)
            out: torch.Tensor = self.head(x)
            return out

    model, x = Listed(), torch.zeros(1, 8)
    savings = lehr.freeze_savings(model, x, lehr.FreezeOut(lehr.layers_of(model, x, depth=1)))
    assert [layer.forward for layer in savings.layers] == [2 * 3 * 64, 2 * 16]


def test_shares_do_not_depend_on_the_batch() -> None:
    model = models.small_resnet()
    plan = lehr.FreezeOut(lehr.layers_of(model))
    one, eight = (lehr.freeze_savings(model, torch.zeros(n, 3, 32, 32), plan).time for n in (1, 8))
    assert one == pytest.approx(eight)


def test_tied_embeddings_are_not_promised_savings_they_do_not_give() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(50, 32)
            self.blocks = nn.Sequential(*(nn.Sequential(nn.Linear(32, 32), nn.Tanh()) for _ in range(4)))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.blocks(self.embedding(x)) @ self.embedding.weight.T
            return out

    model, x = Tied(), torch.zeros(2, 8, dtype=torch.long)
    layers = lehr.layers_of(model, x)
    savings = lehr.freeze_savings(model, x, lehr.FreezeOut(layers))
    for layer in savings.layers[:-1]:  # the gradient on its way to the embedding still goes through
        assert layer.backward == pytest.approx(layer.forward)


def test_the_solver_and_the_longer_run() -> None:
    model = models.small_resnet()
    x = torch.zeros(1, 3, 32, 32)
    savings = lehr.freeze_savings(model, x, lehr.FreezeOut(lehr.layers_of(model), how="squared", scale_lr=False))
    plan = savings.plan_for(0.2)
    again = lehr.freeze_savings(model, x, plan)
    assert again.time == pytest.approx(0.2, abs=1e-6)
    assert (plan.how, plan.scale_lr) == ("squared", False)
    assert again.const_time(lehr.Budget(steps=1_000)) == lehr.Budget(steps=1_250)
    longer = again.const_time(lehr.Budget(epochs=4, steps_per_epoch=10))
    assert longer.amount == pytest.approx(5.0)
    with pytest.raises(ValueError, match="a budget in seconds"):
        again.const_time(lehr.Budget(seconds=10))
    with pytest.raises(ValueError, match="time must be above 0 and at most"):
        savings.plan_for(0.9)
    assert savings.plan_for(0.05).t0 > plan.t0


def test_memory_and_events() -> None:
    model = models.small_resnet()
    x = torch.zeros(1, 3, 32, 32)
    layers = lehr.layers_of(model)
    every, once = (lehr.freeze_savings(model, x, lehr.FreezeOut(layers, max_events=n)) for n in (None, 1))
    assert 0 < once.time < every.time < every.most
    assert 0.5 < every.memory < 1
    assert every.memory == once.memory


def test_what_is_frozen_now_does_not_matter() -> None:
    model = models.small_resnet()
    x, plan = torch.zeros(1, 3, 32, 32), lehr.FreezeOut(lehr.layers_of(model), t0=0.5)
    before = lehr.freeze_savings(model, x, plan).time
    plan.bind(torch.optim.SGD(plan.param_groups(lr=0.1)))
    plan.arrive(0.9, [0.0] * len(plan.layers))
    assert plan.frozen
    assert lehr.freeze_savings(model, x, plan).time == before
    assert not model[0].weight.requires_grad


def test_the_model_is_left_as_it_was() -> None:
    model = models.small_resnet()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    lehr.freeze_savings(model, torch.randn(1, 3, 32, 32), lehr.FreezeOut(lehr.layers_of(model)))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert all(module.training for module in model.modules())


def test_errors() -> None:
    model, other = models.small_resnet(), models.small_resnet()
    plan = lehr.FreezeOut(lehr.layers_of(model))
    with pytest.raises(ValueError, match="plan is for another model"):
        lehr.freeze_savings(other, torch.zeros(1, 3, 32, 32), plan)
    with pytest.raises(ValueError, match="formula must be"):
        lehr.freeze_savings(model, torch.zeros(1, 3, 32, 32), plan, formula="2017")  # type: ignore[arg-type]
