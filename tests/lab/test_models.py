"""The networks: shapes, sizes, and that every part learns."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from lehr.lab import models


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (models.mlp, (5, 64)),
        (lambda: models.small_cnn(1, 28), (5, 1, 28, 28)),
        (lambda: models.small_cnn(3, 32), (5, 3, 32, 32)),
        (models.caffe_quick, (5, 3, 32, 32)),
        (models.small_resnet, (5, 3, 32, 32)),
        (lambda: models.small_resnet(blocks=3), (5, 3, 32, 32)),
    ],
)
def test_images_become_ten_scores(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    model = make()
    outputs = model(torch.randn(shape))
    assert outputs.shape == (5, 10)
    outputs.square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in model.parameters())


def test_the_quick_net_has_the_published_shapes() -> None:
    model = models.caffe_quick()
    x, shapes = torch.randn(1, 3, 32, 32), []
    for layer in model:
        x = layer(x)
        shapes.append(tuple(x.shape[1:]))
    assert [shape for shape in shapes if len(shape) == 3][::3] == [(32, 32, 32), (32, 16, 16), (64, 8, 8)]
    assert shapes[8] == (64, 4, 4)
    assert [tuple(p.shape) for p in model.parameters() if p.dim() > 1] == [
        (32, 3, 5, 5), (32, 32, 5, 5), (64, 32, 5, 5), (64, 1024), (10, 64),
    ]  # fmt: skip
    assert count(model) == 145_578


def test_resnet_20_has_the_published_size() -> None:
    """He et al. 2015, table 6: 0.27 million parameters with three blocks a stage."""
    assert count(models.small_resnet(blocks=3)) == pytest.approx(0.27e6, rel=0.02)


def test_the_transformer_does_not_look_ahead() -> None:
    model = models.CharTransformer(vocabulary=11, context=16, width=16, depth=2, heads=2).eval()
    text = torch.randint(0, 11, (1, 16))
    changed = text.clone()
    changed[0, 9] = (changed[0, 9] + 1) % 11
    before, after = model(text), model(changed)
    assert before.shape == (1, 16, 11)
    assert torch.allclose(before[0, :9], after[0, :9], atol=1e-6)
    assert not torch.allclose(before[0, 9:], after[0, 9:], atol=1e-6)


def test_caffe_full_has_the_published_shapes_and_parameters() -> None:
    """Layer by layer as in cifar10_full_train_test.prototxt."""
    network = models.caffe_full()
    shapes = []
    x = torch.zeros(2, 3, 32, 32)
    for layer in network:
        x = layer(x)
        shapes.append(tuple(x.shape[1:]))
    assert shapes == [
        (32, 32, 32), (32, 16, 16), (32, 16, 16), (32, 16, 16),
        (32, 16, 16), (32, 16, 16), (32, 8, 8), (32, 8, 8),
        (64, 8, 8), (64, 8, 8), (64, 4, 4), (1024,), (10,),
    ]  # fmt: skip
    counts = [sum(p.numel() for p in layer.parameters()) for layer in network if list(layer.parameters())]
    assert counts == [2_432, 25_632, 51_264, 10_250]


def test_local_response_is_within_the_channel_over_the_square() -> None:
    """Against the formula, written out pixel by pixel."""
    x = torch.randn(1, 2, 4, 5, generator=torch.Generator().manual_seed(0))
    y = models.LocalResponseWithinChannel(size=3, alpha=0.5, beta=0.75)(x)
    padded = torch.zeros(1, 2, 6, 7)
    padded[:, :, 1:-1, 1:-1] = x
    for c in range(2):
        for i in range(4):
            for j in range(5):
                mean = float(padded[0, c, i : i + 3, j : j + 3].square().sum()) / 9
                assert float(y[0, c, i, j]) == pytest.approx(float(x[0, c, i, j]) / (1 + 0.5 * mean) ** 0.75, rel=1e-5)
