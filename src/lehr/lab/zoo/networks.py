"""The zoo's networks, narrow enough for a millisecond an update."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, relu

LONGEST: Final = 64
"""Places that attention can see at most."""

NORMS: Final[dict[str, Callable[[int], nn.Module]]] = {
    "batch": nn.BatchNorm1d,
    "layer": nn.LayerNorm,
    "none": lambda width: nn.Identity(),
}
"""What may stand between a layer and its rectifier, by name."""


def mlp(inputs: int, width: int, depth: int, outputs: int, norm: str = "none") -> nn.Sequential:
    """`depth` hidden layers of `width`, each with a norm and a rectifier."""
    layers: list[nn.Module] = []
    for index in range(depth):
        layers += [nn.Linear(width if index else inputs, width), NORMS[norm](width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def autoencoder(inputs: int, width: int, code: int) -> nn.Sequential:
    """A bottleneck of `code` numbers between two layers of `width` on either side."""
    return nn.Sequential(
        nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, code), nn.ReLU(),
        nn.Linear(code, width), nn.ReLU(), nn.Linear(width, inputs),
    )  # fmt: skip


class Mean(nn.Module):
    """The mean over an image."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def cnn(channels: int, width: int, classes: int, *, norm: bool) -> nn.Sequential:
    """Three convolutions, the last two at half of the resolution before them, and a mean over the image."""

    def block(ins: int, outs: int, stride: int) -> list[nn.Module]:
        convolution = nn.Conv2d(ins, outs, 3, stride, 1)
        return [convolution, *([nn.BatchNorm2d(outs)] if norm else []), nn.ReLU()]

    layers = [*block(channels, width, 1), *block(width, 2 * width, 2), *block(2 * width, 2 * width, 2)]
    return nn.Sequential(*layers, Mean(), nn.Linear(2 * width, classes))


class ResidualBranch(nn.Module):
    """x + a layer of x, behind a norm.

    Args:
        width: of x.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width)
        self.one = nn.Linear(width, width)
        self.two = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        inner: Tensor = self.two(relu(self.one(self.norm(x))))
        return x + inner


def residual(inputs: int, width: int, depth: int, outputs: int) -> nn.Sequential:
    """`depth` residual branches on a stream of `width`."""
    branches = [ResidualBranch(width) for _ in range(depth)]
    return nn.Sequential(nn.Linear(inputs, width), *branches, nn.ReLU(), nn.Linear(width, outputs))


class Recurrent(nn.Module):
    """A recurrent network over symbols, that says the next one at each place.

    Args:
        cell: the LSTM's or the GRU's, written out, since torch's own cannot be stacked.
        vocabulary: symbols.
        width: of the state.
    """

    def __init__(self, cell: type[LSTMCell | GRUCell], vocabulary: int, width: int) -> None:
        super().__init__()
        self.symbols = nn.Embedding(vocabulary, width)
        self.cell = cell(width)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, x: Tensor) -> Tensor:
        inputs = self.cell.inputs(self.symbols(x))
        state = self.cell.start(inputs[:, 0])
        outputs = []
        for place in inputs.unbind(1):
            state = self.cell(place, state)
            outputs.append(state[0])
        out: Tensor = self.head(torch.stack(outputs, 1))
        return out


class LSTMCell(nn.Module):
    """A cell of Hochreiter and Schmidhuber (1997) with forget gates; its weights start as torch's do.

    Args:
        width: of input and state.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.inputs = nn.Linear(width, 4 * width)
        self.states = nn.Linear(width, 4 * width)

    def start(self, like: Tensor) -> tuple[Tensor, ...]:
        """Output and memory of zeros."""
        zeros = torch.zeros_like(like[:, : self.width])
        return zeros, zeros

    def forward(self, inputs: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        output, memory = state
        enter, forget, new, leave = (inputs + self.states(output)).chunk(4, -1)
        memory = forget.sigmoid() * memory + enter.sigmoid() * new.tanh()
        return leave.sigmoid() * memory.tanh(), memory


class GRUCell(nn.Module):
    """A cell of Cho et al. (2014), with torch's form of the reset.

    Args:
        width: of input and state.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.inputs = nn.Linear(width, 3 * width)
        self.states = nn.Linear(width, 3 * width)

    def start(self, like: Tensor) -> tuple[Tensor, ...]:
        """An output of zeros."""
        return (torch.zeros_like(like[:, : self.width]),)

    def forward(self, inputs: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        (output,) = state
        x, h = inputs.chunk(3, -1), self.states(output).chunk(3, -1)
        reset, update = (x[0] + h[0]).sigmoid(), (x[1] + h[1]).sigmoid()
        new = (x[2] + reset * h[2]).tanh()
        return ((1.0 - update) * new + update * output,)


class Attention(nn.Module):
    """Self-attention and a two-layer network, each behind a norm and with a path around.

    Args:
        width: of the stream.
        heads: that divide it.
        causal: whether places see only those before them.
    """

    ahead: Tensor

    def __init__(self, width: int, heads: int, *, causal: bool) -> None:
        super().__init__()
        self.heads = heads
        self.causal = causal
        self.norm = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        self.register_buffer("ahead", torch.ones(LONGEST, LONGEST, dtype=torch.bool).triu(1), persistent=False)
        self.network = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        parts = self.queries_keys_values(self.norm(x)).chunk(3, dim=-1)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        if self.causal:
            scores = scores.masked_fill(self.ahead[: x.shape[1], : x.shape[1]], -torch.inf)
        attended = scores.softmax(-1) @ v
        x = x + self.mix(attended.transpose(1, 2).flatten(2))
        out: Tensor = x + self.network(x)
        return out


class Transformer(nn.Module):
    """Pre-norm blocks over symbols: a decoder says the next symbol at each place, an encoder one class for all.

    Args:
        vocabulary: symbols.
        length: places at most.
        width: of the stream.
        depth: blocks.
        outputs: symbols or classes.
        causal: whether it is a decoder.
    """

    def __init__(self, vocabulary: int, length: int, width: int, depth: int, outputs: int, *, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.symbols = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(0.02 * torch.randn(length, width))
        self.blocks = nn.Sequential(*(Attention(width, 4, causal=causal) for _ in range(depth)))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, outputs))
        nn.init.normal_(self.symbols.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        stream = self.blocks(self.symbols(x) + self.positions[: x.shape[1]])
        out: Tensor = self.head(stream if self.causal else stream.mean(1))
        return out


class Scale(nn.Module):
    """The parametrisation w = scale v: the same network at first, with another best rate.

    Args:
        scale: above 0. A gradient step on v is one on w with the rate times scale squared, a step of Adam's one with
            the rate times scale.
    """

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, v: Tensor) -> Tensor:
        return v * self.scale

    def right_inverse(self, w: Tensor) -> Tensor:
        """The v of a w."""
        return w / self.scale


def next_symbol_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of each place's next symbol."""
    return cross_entropy(outputs.flatten(0, 1), targets.flatten())
