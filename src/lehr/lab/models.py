"""The networks of the lab's tasks, small enough to train many times on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, relu, scaled_dot_product_attention


def mlp(inputs: int = 64, hidden: int = 128, outputs: int = 10) -> nn.Sequential:
    """Two hidden layers."""
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, outputs)
    )


def small_cnn(channels: int, size: int, classes: int = 10) -> nn.Sequential:
    """Three convolutions with batch norm, halving the image twice, and a mean over what is left."""

    def block(ins: int, outs: int) -> list[nn.Module]:
        return [nn.Conv2d(ins, outs, 3, padding=1, bias=False), nn.BatchNorm2d(outs), nn.ReLU()]

    return nn.Sequential(
        *block(channels, 16),
        nn.MaxPool2d(2),
        *block(16, 32),
        nn.MaxPool2d(2),
        *block(32, 64),
        nn.AvgPool2d(size // 4),
        nn.Flatten(),
        nn.Linear(64, classes),
    )


def caffe_quick(classes: int = 10) -> nn.Sequential:
    """Caffe's "CIFAR-10 quick" network: three 5 by 5 convolutions (32, 32, 64), pooling after each, two linear layers.

    Pooling is 3 by 3 at stride 2 with Caffe's rounding up, as its prototxt has it, so 32 becomes 16, 8 and 4: 145,578
    parameters. Weights start as torch's layers do, since the file's own (a deviation of 1e-4 in the first layer) are
    meant for pixels up to 255.

    Source: Jia et al., "Caffe", 2014 (arXiv 1408.5093), examples/cifar10/cifar10_quick_train_test.prototxt.
    """
    return nn.Sequential(
        nn.Conv2d(3, 32, 5, padding=2),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.ReLU(),
        nn.Conv2d(32, 32, 5, padding=2),
        nn.ReLU(),
        nn.AvgPool2d(3, 2, ceil_mode=True),
        nn.Conv2d(32, 64, 5, padding=2),
        nn.ReLU(),
        nn.AvgPool2d(3, 2, ceil_mode=True),
        nn.Flatten(),
        nn.Linear(64 * 4 * 4, 64),
        nn.Linear(64, classes),
    )


def caffe_full(classes: int = 10) -> nn.Sequential:
    """Caffe's "CIFAR-10 full" network: three 5 by 5 convolutions (32, 32, 64) with local response normalisation.

    Normalisation is within each channel after the first two poolings, as its prototxt has it, and there is one linear
    layer: 89,578 parameters. Weights start as torch's layers do, as in `caffe_quick`.

    Source: Jia et al., "Caffe", 2014 (arXiv 1408.5093), examples/cifar10/cifar10_full_train_test.prototxt.
    """
    return nn.Sequential(
        nn.Conv2d(3, 32, 5, padding=2),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.ReLU(),
        LocalResponseWithinChannel(size=3, alpha=5e-5, beta=0.75),
        nn.Conv2d(32, 32, 5, padding=2),
        nn.ReLU(),
        nn.AvgPool2d(3, 2, ceil_mode=True),
        LocalResponseWithinChannel(size=3, alpha=5e-5, beta=0.75),
        nn.Conv2d(32, 64, 5, padding=2),
        nn.ReLU(),
        nn.AvgPool2d(3, 2, ceil_mode=True),
        nn.Flatten(),
        nn.Linear(64 * 4 * 4, classes),
    )


class LocalResponseWithinChannel(nn.Module):
    """Local response normalisation over a square of each channel, which torch's own (across channels) is not.

        y = x / (1 + alpha mean_{size x size}(x^2))^beta

    Args:
        size: side of the square, odd.
        alpha: weight of the mean square.
        beta: power, above 0.

    Source: Caffe's LRN layer with `norm_region: WITHIN_CHANNEL`; the square counts the padding around the image.
    """

    def __init__(self, size: int, alpha: float, beta: float) -> None:
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta

    def forward(self, x: Tensor) -> Tensor:
        mean = avg_pool2d(x.square(), self.size, stride=1, padding=self.size // 2)
        return x * (1.0 + self.alpha * mean).pow(-self.beta)


class _Residual(nn.Module):
    """Two convolutions with batch norm and a path around them."""

    def __init__(self, ins: int, outs: int, stride: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(ins, outs, 3, stride, 1, bias=False)
        self.norm_one = nn.BatchNorm2d(outs)
        self.two = nn.Conv2d(outs, outs, 3, 1, 1, bias=False)
        self.norm_two = nn.BatchNorm2d(outs)
        self.around: nn.Module = nn.Identity()
        if stride != 1 or ins != outs:
            self.around = nn.Sequential(nn.Conv2d(ins, outs, 1, stride, bias=False), nn.BatchNorm2d(outs))

    def forward(self, x: Tensor) -> Tensor:
        inner = self.norm_two(self.two(relu(self.norm_one(self.one(x)))))
        return relu(inner + self.around(x))


def small_resnet(blocks: int = 1, width: int = 16, classes: int = 10) -> nn.Sequential:
    """The CIFAR form of ResNet: three stages of `blocks` residual blocks (He et al. 2015, section 4.2)."""
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    ins = width
    for stage in range(3):
        outs = width * 2**stage
        for block in range(blocks):
            layers.append(_Residual(ins, outs, 2 if stage and not block else 1))
            ins = outs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(ins, classes))


class _Block(nn.Module):
    """Causal self-attention and a two-layer network, each behind a norm and with a path around."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width, bias=False)
        self.mix = nn.Linear(width, width, bias=False)
        self.network = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        parts = self.queries_keys_values(self.norm_attention(x)).chunk(3, dim=-1)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        attended = scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.mix(attended.transpose(1, 2).flatten(2))
        out: Tensor = x + self.network(x)
        return out


class CharTransformer(nn.Module):
    """A small decoder over characters: learned positions, pre-norm blocks, output weights of its own."""

    def __init__(
        self, vocabulary: int = 65, context: int = 64, width: int = 96, depth: int = 3, heads: int = 4
    ) -> None:
        super().__init__()
        self.characters = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(0.02 * torch.randn(context, width))
        self.blocks = nn.Sequential(*(_Block(width, heads) for _ in range(depth)))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False))
        nn.init.normal_(self.characters.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.blocks(self.characters(x) + self.positions[: x.shape[1]]))
        return out
