"""The published networks have the published sizes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from lehr.lab import published_models as published
from lehr.lab.networks import NETWORKS, network


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (published.resnet18, 11_689_512), (published.resnet50, 25_557_032), (published.vgg16, 138_357_544),
        (published.shufflenet_v2, 2_278_604), (published.lenet5, 61_706),
    ],
)  # fmt: skip
def test_sizes_as_published(make: Callable[[], nn.Module], size: int) -> None:
    with torch.device("meta"):
        assert count(make()) == size


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("caffe-full", 89_578), ("caffe-quick", 145_578), ("densenet-bc-12-100", 769_162), ("wrn-28-10", 36_479_194),
        ("densenet-bc-24-250", 15_324_406), ("wrn-16-8", 10_961_370), ("wrn-40-4", 8_949_210), ("lenet", 62_006),
        ("resnet18", 11_173_962), ("resnet50", 23_520_842), ("vgg16", 14_728_266), ("shufflenet-v2", 1_263_854),
    ],
)  # fmt: skip
def test_networks_for_small_images(name: str, size: int) -> None:
    """DenseNet-BC: 0.8 and 15.3 million in table 2; wide ResNets: 36.5, 11.0 and 8.9 million in table 4."""
    with torch.device("meta"):
        model = network(name, 3, 32, 10)()
        assert count(model) == size
        assert model(torch.empty(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize("size", [28, 64, 224])
@pytest.mark.parametrize("name", ["resnet18", "resnet50", "vgg16", "shufflenet-v2"])
def test_networks_for_images_of_other_sizes(name: str, size: int) -> None:
    with torch.device("meta"):
        assert network(name, 3, size, 7)()(torch.empty(2, 3, size, size)).shape == (2, 7)


@pytest.mark.parametrize("name", ["lenet", "resnet18", "shufflenet-v2"])
def test_every_weight_learns(name: str) -> None:
    model = network(name, 1, 28, 10)()
    model(torch.randn(4, 1, 28, 28)).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in model.parameters())


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("resnet19", 32, r"unknown network 'resnet19' \(did you mean resnet18\?\); known are caffe-full"),
        ("wrn-28-10", 28, "--network wrn-28-10 is for images of 3 by 32 by 32; these are 3 by 28 by 28"),
        ("wrn-27-10", 32, "its depth must be 4 more than a multiple of 6"),
        ("densenet-bc-0-100", 32, "its other number above 0"),
        ("lenet", 64, "LeNet-5 is for images of 28 or 32 pixels a side; these have 64"),
    ],
)
def test_networks_that_cannot_be_made(name: str, size: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network(name, 3, size, 10)()
    assert list(NETWORKS) == sorted(NETWORKS)
