"""The networks by name that the image tasks can train, whatever the size of their images."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from functools import partial
from typing import Final

from torch import nn

from lehr.lab import models
from lehr.lab.deep_models import densenet_bc, wide_resnet
from lehr.lab.published_models import lenet5, resnet18, resnet50, shufflenet_v2, vgg16

Network = Callable[[int, int, int], nn.Module]
"""channels, pixels a side, classes -> a network."""

NETWORKS: Final[dict[str, tuple[str, str]]] = {
    "caffe-full": ("Caffe's full net for CIFAR-10, with local response normalisation", "Jia et al. 2014"),
    "caffe-quick": ("Caffe's quick net for CIFAR-10, without normalisation", "Jia et al. 2014"),
    "densenet-bc-K-L": ("DenseNet-BC of growth K and L layers, such as densenet-bc-12-100", "Huang et al. 2017"),
    "lenet": ("LeNet-5", "LeCun et al. 1998"),
    "resnet18": ("ResNet-18", "He et al. 2016"),
    "resnet50": ("ResNet-50", "He et al. 2016"),
    "shufflenet-v2": ("ShuffleNetV2 of width 1", "Ma et al. 2018"),
    "small": ("three convolutions with batch norm", "lehr's own"),
    "small-resnet": ("an 8-layer ResNet", "after He et al. 2016"),
    "vgg16": ("VGG-16", "Simonyan and Zisserman 2015"),
    "wrn-D-W": ("a wide ResNet of depth D and width W, such as wrn-28-10", "Zagoruyko and Komodakis 2016"),
}
"""What each is, and from whom; capitals stand for numbers."""

_ANY_SIZE: Final[dict[str, Network]] = {
    "lenet": lenet5, "resnet18": resnet18, "resnet50": resnet50, "shufflenet-v2": shufflenet_v2,
    "small": models.small_cnn, "vgg16": vgg16,
}  # fmt: skip

_OF_32_PIXELS: Final[dict[str, Callable[..., nn.Module]]] = {
    r"caffe-full": models.caffe_full, r"caffe-quick": models.caffe_quick, r"densenet-bc-(\d+)-(\d+)": densenet_bc,
    r"small-resnet": models.small_resnet, r"wrn-(\d+)-(\d+)": wide_resnet,
}  # fmt: skip


def network(name: str, channels: int, size: int, classes: int) -> Callable[[], nn.Module]:
    """What makes the network of that name for such images.

    Args:
        name: from `NETWORKS`, with numbers for its capitals.
        channels: of an image.
        size: pixels a side.
        classes: outputs.

    Raises:
        ValueError: if there is none of that name, its numbers make none, or it is not for such images.

    >>> sum(weight.numel() for weight in network("wrn-28-10", 3, 32, 10)().parameters())
    36479194
    """
    if name in _ANY_SIZE:
        return partial(_ANY_SIZE[name], channels, size, classes)
    for pattern, make in _OF_32_PIXELS.items():
        match = re.fullmatch(pattern, name)
        if not match:
            continue
        if (channels, size) != (3, 32):
            raise ValueError(
                f"--network {name} is for images of 3 by 32 by 32; these are {channels} by {size} by {size}"
            )
        numbers = [int(part) for part in match.groups()]
        if numbers and not _makes_blocks(name, numbers):
            raise ValueError(
                f"--network {name}: its depth must be 4 more than a multiple of 6, its other number above 0"
            )
        return partial(make, *numbers, classes=classes)
    near = difflib.get_close_matches(name, NETWORKS, n=1)
    raise ValueError(
        f"unknown network {name!r}{f' (did you mean {near[0]}?)' if near else ''}; known are {', '.join(NETWORKS)}"
    )


def _makes_blocks(name: str, numbers: list[int]) -> bool:
    depth, other = numbers if name.startswith("wrn") else numbers[::-1]
    return depth >= 10 and (depth - 4) % 6 == 0 and 0 < other <= 1_000 and depth <= 10_000
