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
