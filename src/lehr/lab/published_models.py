"""Networks in the sizes in which they were published, for images of any size: ResNet, VGG-16, ShuffleNetV2, LeNet-5."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from lehr.lab.deep_models import initialised

SMALL: Final = 64
"""Images of at most so many pixels a side keep them in the first layer, as is usual for CIFAR."""


class _Bottleneck(nn.Module):
    """A 1 by 1, a 3 by 3 and a 1 by 1 convolution with batch norm, and a path around them."""

    def __init__(self, ins: int, width: int, stride: int) -> None:
        super().__init__()
        outs = 4 * width
        self.inner = nn.Sequential(
            *_normed(ins, width, 1, 1),
            nn.ReLU(),
            *_normed(width, width, 3, stride),
            nn.ReLU(),
            *_normed(width, outs, 1, 1),
        )
        self.around = _around(ins, outs, stride)

    def forward(self, x: Tensor) -> Tensor:
        return relu(self.inner(x) + self.around(x))


class _Basic(nn.Module):
    """Two 3 by 3 convolutions with batch norm, and a path around them."""

    def __init__(self, ins: int, width: int, stride: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(*_normed(ins, width, 3, stride), nn.ReLU(), *_normed(width, width, 3, 1))
        self.around = _around(ins, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        return relu(self.inner(x) + self.around(x))


def resnet18(channels: int = 3, size: int = 224, classes: int = 1000) -> nn.Sequential:
    """ResNet-18: 11,689,512 parameters for 1,000 classes, 11,173,962 for CIFAR-10.

    Args:
        channels: of an image.
        size: pixels a side. Up to 64 the first layer is 3 by 3 without stride or pooling, as is usual for CIFAR;
            otherwise it is the paper's.
        classes: outputs.

    Source: He, Zhang, Ren and Sun 2016 (arXiv 1512.03385), table 1.
    """
    return _resnet(_Basic, 1, (2, 2, 2, 2), channels, size, classes)


def resnet50(channels: int = 3, size: int = 224, classes: int = 1000) -> nn.Sequential:
    """ResNet-50, with the stride in the 3 by 3 convolutions: 25,557,032 parameters for 1,000 classes.

    Args:
        channels: of an image.
        size: pixels a side, as for `resnet18`.
        classes: outputs.

    Source: He, Zhang, Ren and Sun 2016 (arXiv 1512.03385), table 1; the stride is where Torch's release has it.
    """
    return _resnet(_Bottleneck, 4, (3, 4, 6, 3), channels, size, classes)


def _resnet(
    block: type[_Basic | _Bottleneck], widens: int, depths: Sequence[int], channels: int, size: int, classes: int
) -> nn.Sequential:
    layers: list[nn.Module] = [*_normed(channels, 64, *((3, 1) if size <= SMALL else (7, 2))), nn.ReLU()]
    if size > SMALL:
        layers.append(nn.MaxPool2d(3, 2, padding=1))
    ins = 64
    for stage, depth in enumerate(depths):
        width = 64 * 2**stage
        for place in range(depth):
            layers.append(block(ins, width, 2 if stage and not place else 1))
            ins = widens * width
    return initialised(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(ins, classes)))


def vgg16(channels: int = 3, size: int = 224, classes: int = 1000) -> nn.Sequential:
    """VGG-16, configuration D: 138,357,544 parameters for 1,000 classes.

    Args:
        channels: of an image.
        size: pixels a side. Up to 64 there is batch norm after each convolution and one linear layer, as is usual for
            CIFAR (14,728,266 parameters for CIFAR-10); otherwise it is the paper's.
        classes: outputs.

    Source: Simonyan and Zisserman 2015 (arXiv 1409.1556), table 1.
    """
    layers: list[nn.Module] = []
    ins = channels
    for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(depth):
            norm = [nn.BatchNorm2d(width)] if size <= SMALL else []
            layers += [nn.Conv2d(ins, width, 3, padding=1), *norm, nn.ReLU()]
            ins = width
        layers.append(nn.MaxPool2d(2, ceil_mode=size <= SMALL))  # or nothing would be left of 28 pixels
    if size <= SMALL:
        return initialised(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes)))
    head = [
        nn.AdaptiveAvgPool2d(7), nn.Flatten(), nn.Linear(512 * 49, 4096), nn.ReLU(), nn.Dropout(),
        nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, classes),
    ]  # fmt: skip
    return initialised(nn.Sequential(*layers, *head))


class _Shuffled(nn.Module):
    """Half of the channels through three convolutions, the other half beside them, then interleaved."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.inner = nn.Sequential(
            *_normed(half, half, 1, 1), nn.ReLU(), *_normed(half, half, 3, 1, groups=half),
            *_normed(half, half, 1, 1), nn.ReLU(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        beside, through = x.chunk(2, 1)
        return _interleaved(beside, self.inner(through))


class _Halving(nn.Module):
    """All channels through two branches of stride 2, then interleaved."""

    def __init__(self, ins: int, outs: int) -> None:
        super().__init__()
        half = outs // 2
        self.left = nn.Sequential(*_normed(ins, ins, 3, 2, groups=ins), *_normed(ins, half, 1, 1), nn.ReLU())
        self.right = nn.Sequential(
            *_normed(ins, half, 1, 1), nn.ReLU(), *_normed(half, half, 3, 2, groups=half), *_normed(half, half, 1, 1),
            nn.ReLU(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return _interleaved(self.left(x), self.right(x))


def shufflenet_v2(channels: int = 3, size: int = 224, classes: int = 1000) -> nn.Sequential:
    """ShuffleNetV2 of width 1: 2,278,604 parameters for 1,000 classes.

    Args:
        channels: of an image.
        size: pixels a side. Up to 64 the first layer has neither stride nor pooling.
        classes: outputs.

    Source: Ma, Zhang, Zheng and Sun 2018 (arXiv 1807.11164), table 5.
    """
    layers: list[nn.Module] = [*_normed(channels, 24, 3, 1 if size <= SMALL else 2), nn.ReLU()]
    if size > SMALL:
        layers.append(nn.MaxPool2d(3, 2, padding=1))
    ins = 24
    for outs, depth in ((116, 4), (232, 8), (464, 4)):
        layers += [_Halving(ins, outs), *(_Shuffled(outs) for _ in range(depth - 1))]
        ins = outs
    layers += [*_normed(ins, 1024, 1, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1024, classes)]
    return initialised(nn.Sequential(*layers))


def lenet5(channels: int = 1, size: int = 32, classes: int = 10) -> nn.Sequential:
    """LeNet-5 with maxima for subsampling and rectifiers: 61,706 parameters for grey images of 32 or 28 pixels.

    Args:
        channels: of an image.
        size: pixels a side, 28 (padded to 32) or 32.
        classes: outputs.

    Source: LeCun, Bottou, Bengio and Haffner 1998, figure 2, whose third layer is not fully connected.

    Raises:
        ValueError: if the images have another size.
    """
    if size not in (28, 32):
        raise ValueError(f"LeNet-5 is for images of 28 or 32 pixels a side; these have {size}")
    return nn.Sequential(
        nn.Conv2d(channels, 6, 5, padding=2 if size == 28 else 0), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5),
        nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(),
        nn.Linear(84, classes),
    )  # fmt: skip


def _normed(ins: int, outs: int, kernel: int, stride: int, *, groups: int = 1) -> tuple[nn.Module, nn.Module]:
    """A convolution that keeps the size but for its stride, and batch norm."""
    convolution = nn.Conv2d(ins, outs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return convolution, nn.BatchNorm2d(outs)


def _around(ins: int, outs: int, stride: int) -> nn.Module:
    return nn.Identity() if ins == outs and stride == 1 else nn.Sequential(*_normed(ins, outs, 1, stride))


def _interleaved(left: Tensor, right: Tensor) -> Tensor:
    return torch.stack((left, right), 2).flatten(1, 2)
