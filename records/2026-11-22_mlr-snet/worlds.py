"""The tasks of this record: two on which MLR-SNet is meta-trained, and those to which schedules are carried over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, cross_entropy

import lehr
from lehr import lab
from lehr.lab import models
from lehr.lab.data import Data

KEPT = 10_000
UPDATES = {"half": 150, "double": 600, "text": 200}
HOME = 300
WORLDS = {
    "fashion": "home: Fashion-MNIST at 14 x 14, a small CNN",
    "resnet": "home: CIFAR-10 at 16 x 16, a small ResNet",
    "half": "fashion in half the updates",
    "double": "fashion in twice the updates",
    "network": "fashion with a ResNet",
    "dataset": "CIFAR-10 at 16 x 16 with fashion's CNN",
    "few": "fashion with 1,000 images",
    "noise20": "fashion with 20 % of the labels wrong",
    "noise40": "fashion with 40 % of the labels wrong",
    "text": "Tiny Shakespeare, a small transformer",
}


class HypergradientSGD(torch.optim.SGD):
    """SGD whose rate follows its own gradient (Baydin et al. 2018).

    alpha_t = alpha_{t-1} + beta <g_t, u_{t-1}>, where u is the direction of the update before.
    """

    def __init__(self, params: Any, lr: float, momentum: float, beta: float, weight_decay: float) -> None:
        super().__init__(params, lr=lr, momentum=momentum, weight_decay=weight_decay)
        self.beta = beta
        self.moved = 0.0
        self.before: list[Tensor] = []

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:
        params = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        group = self.param_groups[0]
        gradients = [p.grad + group["weight_decay"] * p for p in params]
        if self.before:
            self.moved += self.beta * float(sum((g * u).sum() for g, u in zip(gradients, self.before, strict=True)))
        rate = group["lr"]
        group["lr"] = max(0.0, rate + self.moved)
        super().step(closure)
        group["lr"] = rate
        steps = [self.state[p]["momentum_buffer"] for p in params] if group["momentum"] else gradients
        self.before = [step.clone() for step in steps]


def optimizer_of(kind: str) -> Callable[[nn.Module], torch.optim.Optimizer]:
    """By the names of this record."""
    momentum = 0.9 if "momentum" in kind else 0.0
    if kind in ("momentum", "plain", "clipped"):
        return lambda model: torch.optim.SGD(
            model.parameters(), lr=1.0, momentum=momentum, weight_decay=5e-6 if kind == "clipped" else 5e-4
        )
    if kind.startswith("hypergradient"):
        beta = 1e-3
        return lambda model: HypergradientSGD(model.parameters(), 1.0, momentum, beta, 5e-4)
    if kind == "adam":
        return lambda model: torch.optim.Adam(model.parameters(), lr=1.0, weight_decay=5e-4)
    return lambda model: torch.optim.AdamW(model.parameters(), lr=1.0, betas=(0.9, 0.99), weight_decay=0.1)


def updates_of(world: str) -> int:
    """How long a run is."""
    return UPDATES.get(world, HOME)


@cache
def data_of(world: str) -> Data:
    """The world's data; test sets are whole, but for text and what is said above."""
    if world == "text":
        return lab.load_task("tinyshakespeare").load()
    cifar = world in ("resnet", "dataset")
    full = lab.load_task("cifar10" if cifar else "fashion-mnist").load()
    parts = {name: getattr(full, name) for name in ("train", "validation", "test")}
    keep = 1_000 if world == "few" else KEPT
    inputs, targets = parts["train"]
    chosen = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(1))[:keep]
    parts["train"] = (inputs[chosen], targets[chosen])
    for name, (inputs, targets) in parts.items():
        small = avg_pool2d(inputs, 2)
        parts[name] = (small.expand(-1, 3, -1, -1).contiguous() if world == "network" else small, targets)
    if world.startswith("noise"):
        parts["train"] = (parts["train"][0], relabelled(parts["train"][1], int(world[5:]) / 100))
    return Data(**parts)


def relabelled(targets: Tensor, share: float) -> Tensor:
    """Each label, with that probability, replaced by one of the other nine."""
    generator = torch.Generator().manual_seed(2)
    wrong = torch.rand(len(targets), generator=generator) < share
    return torch.where(wrong, (targets + torch.randint(1, 10, targets.shape, generator=generator)) % 10, targets)


def model_of(world: str) -> nn.Module:
    """A fresh network."""
    if world in ("resnet", "network"):
        return models.small_resnet(blocks=1, width=8)
    if world == "text":
        return models.CharTransformer(context=64, width=64, depth=2)
    return models.small_cnn(channels=3, size=16) if world == "dataset" else models.small_cnn(channels=1, size=12)


@cache
def task_of(world: str, kind: str) -> lab.Task:
    """The world with an optimizer."""
    text = world == "text"
    task = lab.Task(
        about=WORLDS[world],
        model=lambda: model_of(world),
        data=lambda: data_of(world),
        loss=lab.TOKEN_LOSS.compute if text else cross_entropy,
        optimizer=optimizer_of(kind),
        metric=lab.TOKEN_LOSS if text else lab.ACCURACY,
        batch_size=16 if text else 64,
        budget=f"{updates_of(world)}steps",
    )
    return replace(task, clip_norm={"clipped": 0.25, "adamw": 1.0}[kind]) if text else task


def published(folder: Path) -> list[Path]:
    """The authors' checkpoints, early, middle and late."""
    return [folder / f"mlr_snet_{k}.pth" for k in (1, 100, 200)]


def gamma_of(world: str, scale: float) -> Callable[[float], float]:
    """The authors' formula, times `scale`."""
    formula = lehr.mlrsnet.PublishedGamma(65, perplexity=True) if world == "text" else lehr.mlrsnet.PublishedGamma(10)

    def gamma(loss: float) -> float:
        return scale * formula(loss)

    return gamma
