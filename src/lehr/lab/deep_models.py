"""The networks on which FreezeOut was published: DenseNet-BC, wide ResNet and VGG, of any size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, relu


class _Bottleneck(nn.Module):
    """A 1 by 1 and a 3 by 3 convolution, whose outputs are put beside the inputs."""

    def __init__(self, ins: int, growth: int) -> None:
        super().__init__()
        self.norm_one = nn.BatchNorm2d(ins)
        self.one = nn.Conv2d(ins, 4 * growth, 1, bias=False)
        self.norm_two = nn.BatchNorm2d(4 * growth)
        self.two = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.two(relu(self.norm_two(self.one(relu(self.norm_one(x))))))
        return torch.cat((x, inner), 1)


class _Transition(nn.Module):
    """Half as many channels at a quarter of the places."""

    def __init__(self, ins: int, outs: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(ins)
        self.one = nn.Conv2d(ins, outs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return avg_pool2d(self.one(relu(self.norm(x))), 2)


def densenet_bc(growth: int = 12, depth: int = 76, classes: int = 10) -> nn.Sequential:
    """DenseNet-BC for images of 32 by 32: three blocks of bottlenecks, with half the channels from one to the next.

    Args:
        growth: channels that a layer adds, k.
        depth: convolutions and the linear layer, L: 4 more than a multiple of 6.
        classes: outputs.

    Source: Huang, Liu, van der Maaten and Weinberger 2017 (arXiv 1608.06993).
    """
    channels = 2 * growth
    layers: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1, bias=False)]
    for block in range(3):
        for _ in range((depth - 4) // 6):
            layers.append(_Bottleneck(channels, growth))
            channels += growth
        if block < 2:
            layers.append(_Transition(channels, channels // 2))
            channels //= 2
    head = [nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]
    return initialised(nn.Sequential(*layers, *head))


class _Wide(nn.Module):
    """Two convolutions with batch norm before each, and a path around them."""

    def __init__(self, ins: int, outs: int, stride: int) -> None:
        super().__init__()
        self.norm_one = nn.BatchNorm2d(ins)
        self.one = nn.Conv2d(ins, outs, 3, stride, 1, bias=False)
        self.norm_two = nn.BatchNorm2d(outs)
        self.two = nn.Conv2d(outs, outs, 3, 1, 1, bias=False)
        self.around = nn.Conv2d(ins, outs, 1, stride, bias=False) if ins != outs else None

    def forward(self, x: Tensor) -> Tensor:
        active = relu(self.norm_one(x))
        inner: Tensor = self.two(relu(self.norm_two(self.one(active))))
        return inner + (x if self.around is None else self.around(active))


def wide_resnet(depth: int = 16, width: int = 2, classes: int = 10) -> nn.Sequential:
    """The wide residual network for images of 32 by 32.

    Args:
        depth: convolutions and the linear layer: 4 more than a multiple of 6.
        width: how many times wider than 16, 32 and 64 channels.
        classes: outputs.

    Source: Zagoruyko and Komodakis 2016 (arXiv 1605.07146).
    """
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, padding=1, bias=False)]
    ins = 16
    for stage in range(3):
        outs = 16 * width * 2**stage
        for block in range((depth - 4) // 6):
            layers.append(_Wide(ins, outs, 2 if stage and not block else 1))
            ins = outs
    head = [nn.BatchNorm2d(ins), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(ins, classes)]
    return initialised(nn.Sequential(*layers, *head))


def vgg(channels: Sequence[Sequence[int]] = ((16,), (32,), (64, 64), (128, 128)), classes: int = 10) -> nn.Sequential:
    """VGG for images of 32 by 32: convolutions with batch norm, and pooling after each stage.

    Args:
        channels: of the convolutions of each stage.
        classes: outputs.

    Source: Simonyan and Zisserman 2015 (arXiv 1409.1556), with batch norm.
    """
    layers: list[nn.Module] = []
    ins = 3
    for stage in channels:
        for outs in stage:
            layers += [nn.Conv2d(ins, outs, 3, padding=1, bias=False), nn.BatchNorm2d(outs), nn.ReLU()]
            ins = outs
        layers.append(nn.MaxPool2d(2))
    return initialised(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(ins, classes)))


def initialised(model: nn.Sequential) -> nn.Sequential:
    """He's weights for the convolutions."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return model
