"""Small trainings, many at once: one network a run, stacked; what the learned schedule is meta-trained on.

Digits come from scikit-learn and text from Python's own documentation, so that none of the tasks on which the schedule
is judged is seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pydoc_data.topics import topics

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from torch.nn.functional import avg_pool2d, cross_entropy, mse_loss

Pair = tuple[Tensor, Tensor]
CONTEXT, KEPT = 16, 1_200


def _digits() -> Pair:
    pixels, classes = load_digits(return_X_y=True)
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(7))
    return ((torch.tensor(pixels, dtype=torch.float32) / 16 - 0.3) / 0.37)[order], torch.tensor(classes)[order]


def _relabelled(share: float) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    flipped = torch.rand(len(Y), generator=generator) < share
    flipped[KEPT:] = False  # judged by true classes
    return torch.where(flipped, torch.randint(0, 10, Y.shape, generator=generator), Y)


def _text() -> tuple[Tensor, int]:
    characters = "".join(topics[key] for key in sorted(topics))[:300_000]
    characters = "".join(c for c in characters if 32 <= ord(c) < 127 or c == "\n")
    known = {c: i for i, c in enumerate(sorted(set(characters)))}
    return torch.tensor([known[c] for c in characters]), len(known)


def _taught() -> Pair:
    """Noise, and the classes that a random convolutional network gives it."""
    torch.manual_seed(11)
    teacher = nn.Sequential(
        nn.Conv2d(3, 24, 3), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(24, 24, 3), nn.Tanh(), nn.Flatten(), nn.Linear(96, 6)
    )
    images = avg_pool2d(torch.randn(4_000, 3, 20, 20), 2) * 2.0
    with torch.no_grad():
        scores = teacher(images)
    return images, ((scores - scores.mean(0)) / scores.std(0)).argmax(1)


X, Y = _digits()
RELABELLED = {share: _relabelled(share) for share in (0.0, 0.15, 0.3)}
TEXT, CHARACTERS = _text()
TAUGHT = _taught()


def mlp(inputs: int = 64, outputs: int = 10, hidden: int = 64, depth: int = 2, norm: str = "", act: type = nn.ReLU):
    layers: list[nn.Module] = []
    for i in range(depth):
        layers.append(nn.Linear(inputs if i == 0 else hidden, hidden))
        if norm:
            layers.append(
                nn.BatchNorm1d(hidden, track_running_stats=False) if norm == "batch" else nn.LayerNorm(hidden)
            )
        layers.append(act())
    return nn.Sequential(*layers, nn.Linear(hidden, outputs))


def cnn(channels: int = 1, size: int = 8, *, norm: bool = True, outputs: int = 10) -> nn.Sequential:
    def scaled(width: int) -> nn.Module:
        return nn.BatchNorm2d(width, track_running_stats=False) if norm else nn.Identity()

    return nn.Sequential(
        nn.Unflatten(1, (channels, size, size)) if channels == 1 else nn.Identity(),
        nn.Conv2d(channels, 8, 3, padding=1), scaled(8), nn.ReLU(),
        nn.Conv2d(8, 16, 3, padding=1, stride=2), scaled(16), nn.ReLU(),
        nn.Flatten(), nn.Linear(16 * (size // 2) ** 2, outputs),
    )  # fmt: skip


class Recurrent(nn.Module):
    def __init__(self, width: int = 24, hidden: int = 40) -> None:
        super().__init__()
        self.embed = nn.Embedding(CHARACTERS, width)
        self.enter = nn.Linear(width, 2 * hidden)
        self.again = nn.Linear(hidden, 2 * hidden, bias=False)
        self.leave = nn.Linear(hidden, CHARACTERS)
        self.hidden = hidden

    def forward(self, x: Tensor) -> Tensor:
        h = x.new_zeros((x.shape[0], self.hidden), dtype=torch.float32)
        outputs, entered = [], self.enter(self.embed(x))
        for t in range(x.shape[1]):
            new, gate = (entered[:, t] + self.again(h)).chunk(2, -1)
            gate = torch.sigmoid(gate - 1.0)
            h = (1.0 - gate) * h + gate * torch.tanh(new)
            outputs.append(h)
        return self.leave(torch.stack(outputs, 1))


class Transformer(nn.Module):
    def __init__(self, width: int = 24, depth: int = 1) -> None:
        super().__init__()
        self.embed = nn.Embedding(CHARACTERS, width)
        self.place = nn.Parameter(0.02 * torch.randn(CONTEXT, width))
        self.looks = nn.ModuleList(nn.Linear(width, 3 * width) for _ in range(depth))
        self.mixes = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.before = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth))
        self.thinks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
            for _ in range(depth)
        )
        self.leave = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, CHARACTERS))
        self.register_buffer("mask", torch.triu(torch.full((CONTEXT, CONTEXT), -1e9), 1))

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x) + self.place
        for look, mix, norm, think in zip(self.looks, self.mixes, self.before, self.thinks, strict=True):
            q, k, v = look(norm(h)).chunk(3, -1)
            weights = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]) + self.mask, -1)
            h = h + mix(weights @ v)
            h = h + think(h)
        return self.leave(h)


@dataclass(frozen=True)
class Small:
    """A small task: its network, data, optimizer and the lengths of its runs."""

    make: Callable[[], nn.Module]
    data: str = "digits"
    noise: float = 0.0
    adaptive: bool = False
    batch: int = 32
    decay: float = 1e-4
    longest: int = 800

    def batches(self, generators: list[torch.Generator]) -> Pair:
        def drawn(most: int) -> Tensor:
            return torch.stack([torch.randint(0, most, (self.batch,), generator=g) for g in generators])

        if self.data == "text":
            windows = TEXT[drawn(len(TEXT) - 30_000)[..., None] + torch.arange(CONTEXT + 1)]
            return windows[..., :-1], windows[..., 1:]
        if self.data == "taught":
            chosen = drawn(3_000)
            return TAUGHT[0][chosen], TAUGHT[1][chosen]
        chosen = drawn(KEPT)
        if self.data == "halves":
            return X[chosen][..., :32], X[chosen][..., 32:]
        return X[chosen], RELABELLED[self.noise][chosen]

    def validation(self) -> Pair:
        if self.data == "text":
            places = len(TEXT) - 29_000 + torch.arange(0, 28_000, 120)
            windows = TEXT[places[:, None] + torch.arange(CONTEXT + 1)]
            return windows[:, :-1], windows[:, 1:]
        if self.data == "taught":
            return TAUGHT[0][3_000:], TAUGHT[1][3_000:]
        if self.data == "halves":
            return X[KEPT:, :32], X[KEPT:, 32:]
        return X[KEPT:], Y[KEPT:]

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if self.data == "halves":
            return mse_loss(outputs, targets)
        return cross_entropy(outputs.flatten(0, -2), targets.flatten())


TASKS: dict[str, Small] = {
    "mlp": Small(mlp, noise=0.15),
    "mlp, small batches": Small(mlp, batch=8, longest=1_600),
    "deep, batch norm": Small(partial(mlp, depth=3, norm="batch"), noise=0.3, decay=5e-4),
    "deep, tanh": Small(partial(mlp, depth=5, act=nn.Tanh), noise=0.15),
    "linear": Small(partial(mlp, depth=0, hidden=64)),
    "cnn, batch norm": Small(cnn, decay=5e-4, longest=400),
    "cnn": Small(partial(cnn, 3, 10, norm=False, outputs=6), "taught", longest=400),
    "taught, batch norm": Small(partial(cnn, 3, 10, outputs=6), "taught", longest=400, decay=5e-4),
    "halves": Small(partial(mlp, 32, 32), "halves"),
    "mlp, AdamW": Small(mlp, noise=0.15, adaptive=True),
    "layer norm, AdamW": Small(partial(mlp, depth=4, norm="layer", act=nn.GELU), noise=0.3, adaptive=True, decay=0.01),
    "cnn, AdamW": Small(partial(cnn, 3, 10, outputs=6), "taught", adaptive=True, longest=400, decay=0.01),
    "halves, AdamW": Small(partial(mlp, 32, 32, norm="layer"), "halves", adaptive=True),
    "recurrent, AdamW": Small(Recurrent, "text", adaptive=True, batch=12, decay=0.01, longest=400),
    "transformer, AdamW": Small(Transformer, "text", adaptive=True, batch=12, decay=0.1, longest=400),
}


class Stack:
    """As many runs of a task as seeds, each with weights and batches of its own, at rates of its own."""

    def __init__(self, task: Small, seeds: list[int]) -> None:
        self.task = task
        networks = []
        for seed in seeds:
            torch.manual_seed(seed)
            networks.append(task.make())
        params, self.buffers = stack_module_state(networks)
        self.params = {name: value.detach() for name, value in params.items()}
        self.one = networks[0]
        self.generators = [torch.Generator().manual_seed(1_000 + seed) for seed in seeds]
        self.first = {name: torch.zeros_like(value) for name, value in self.params.items()}
        self.second = {name: torch.zeros_like(value) for name, value in self.params.items()}
        self.updates = 0

        def loss(params, buffers, inputs, targets):
            return task.loss(functional_call(self.one, (params, buffers), (inputs,)), targets)

        self._gradients = vmap(grad_and_value(loss))
        self._losses = vmap(loss, in_dims=(0, 0, None, None))

    def gradients(self) -> tuple[dict[str, Tensor], Tensor]:
        return self._gradients(self.params, self.buffers, *self.task.batches(self.generators))

    @torch.no_grad()
    def update(self, gradients: dict[str, Tensor], rates: Tensor) -> None:
        self.updates += 1
        for name, gradient in gradients.items():
            value = self.params[name]
            rate = rates.view(-1, *[1] * (value.dim() - 1))
            if self.task.adaptive:
                first = self.first[name].lerp_(gradient, 0.1)
                second = self.second[name].mul_(0.99).addcmul_(gradient, gradient, value=0.01)
                step = first / (1 - 0.9**self.updates) / ((second / (1 - 0.99**self.updates)).sqrt() + 1e-8)
                self.params[name] = value * (1.0 - rate * self.task.decay) - rate * step
            else:
                first = self.first[name].mul_(0.9).add_(gradient).add_(value, alpha=self.task.decay)
                self.params[name] = value - rate * first

    @torch.no_grad()
    def judged(self) -> Tensor:
        """The loss on validation data, of each run; a run that broke counts as a very bad one."""
        losses = self._losses(self.params, self.buffers, *self.task.validation())
        return torch.nan_to_num(losses, nan=1e3, posinf=1e3).clamp(max=1e3)
