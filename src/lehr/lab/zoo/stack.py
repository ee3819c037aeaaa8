"""Many runs of one member at once, their weights stacked: the same numbers up to rounding, several times faster."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call

import lehr
from lehr.lab.seeds import seed_everything
from lehr.lab.zoo.family import Member, epoch

STEADY = 1e-8
"""What Adam adds to the root of its second moment."""


@dataclass(frozen=True)
class StackRun:
    """One of the runs.

    Args:
        seed: of initial weights and data order.
        rate: the peak.
        schedule: of the rate.
        share: of the updates, over which the schedule is spread and after which the run ends.
    """

    seed: int
    rate: float
    schedule: lehr.Schedule
    share: float = 1.0


class Stack:
    """Runs side by side, each with its own weights, batches and rate.

    Args:
        member: with a single optimizer, SGD or AdamW.
        seeds: of the runs, which need not differ.
        updates: of the longest.
    """

    def __init__(self, member: Member, seeds: Sequence[int], updates: int) -> None:
        self._member = member
        recipe, data = member.recipe, member.problem()
        different = sorted(set(seeds))
        which = self._which = torch.tensor([different.index(seed) for seed in seeds])
        models, rows = [], []
        for seed in different:
            seed_everything(seed)
            models.append(member.training(seed).modules[0])
            wanted = updates * recipe.accumulate
            epochs = math.ceil(wanted / (len(data.train[0]) // recipe.batch))
            rows.append(torch.cat([epoch(len(data.train[0]), recipe.batch) for _ in range(epochs)])[:wanted])
        model = self.model = models[0]
        self._weights = {
            name: torch.stack([dict(one.named_parameters())[name].detach() for one in models])[which].requires_grad_()
            for name, _ in model.named_parameters()
        }
        self._buffers = {
            name: torch.stack([dict(one.named_buffers())[name].detach() for one in models])[which]
            for name, _ in model.named_buffers()
        }
        self._forward = torch.vmap(lambda w, b, x, y: member.loss(functional_call(model, (w, b), (x,)), y))
        self._optimizer = _Optimizer(list(self._weights.values()), member)
        self._batches, self._pairs, self._at = torch.stack(rows), data.train, 0

    def backward(self) -> Tensor:
        """The gradients of the next update, and the loss of each run."""
        recipe, means = self._member.recipe, []
        for _ in range(recipe.accumulate):
            drawn = self._batches[:, self._at]
            self._at += 1
            x, y = self._pairs[0][drawn][self._which], self._pairs[1][drawn][self._which]
            losses = self._forward(self._weights, self._buffers, x, y) * recipe.loss_scale
            (losses.sum() / recipe.accumulate).backward()  # type: ignore[no-untyped-call]
            means.append(losses.detach())
        return torch.stack(means).mean(0)

    def step(self, rates: Tensor) -> None:
        """The update, at a rate for each run."""
        self._optimizer.step(rates)

    @torch.no_grad()
    def error(self, index: int) -> float:
        """The validation error of a run now; infinite if it diverged."""
        weights, buffers = ({k: v[index] for k, v in part.items()} for part in (self._weights, self._buffers))
        self.model.eval()
        error = self._member.mean_error(lambda x: functional_call(self.model, (weights, buffers), (x,)), "validation")
        self.model.train()
        return error if math.isfinite(error) else math.inf


def train_stack(member: Member, runs: Sequence[StackRun], updates: int) -> list[float]:
    """The validation error of each run at its end; infinite for one that diverged.

    Args:
        member: with a single optimizer, SGD or AdamW.
        runs: to make side by side.
        updates: of a run whose share is 1.
    """
    stack = Stack(member, [run.seed for run in runs], updates)
    lengths = [round(updates * run.share) for run in runs]
    errors = [math.inf] * len(runs)
    for update in range(updates):
        stack.backward()
        rates = [
            run.rate * run.schedule(update / length) if update < length else 0.0
            for run, length in zip(runs, lengths, strict=True)
        ]
        stack.step(torch.tensor(rates))
        for index, length in enumerate(lengths):
            if length == update + 1:
                errors[index] = stack.error(index)
    return errors


class _Optimizer:
    """SGD or AdamW as torch has them, each run with its own rate and its own clipping."""

    def __init__(self, weights: list[Tensor], member: Member) -> None:
        self.weights = weights
        self.recipe = member.recipe
        self.first = [torch.zeros_like(w) for w in weights]
        self.second = [torch.zeros_like(w) for w in weights]
        self.made = 0

    @torch.no_grad()
    def step(self, rates: Tensor) -> None:
        recipe, gradients = self.recipe, [w.grad for w in self.weights if w.grad is not None]
        if recipe.clip is not None:
            norm = torch.stack([g.flatten(1).norm(dim=1) for g in gradients]).norm(dim=0)
            share = (recipe.clip / (norm + 1e-6)).clamp(max=1.0)
            for g in gradients:
                g.mul_(_wide(share, g))
        self.made += 1
        for w, g, one, two in zip(self.weights, gradients, self.first, self.second, strict=True):
            rate = _wide(rates, w)
            if recipe.optimizer == "adamw":
                beta, gamma = recipe.betas
                w.mul_(1.0 - rate * recipe.decay)
                one.lerp_(g, 1.0 - beta)
                two.mul_(gamma).addcmul_(g, g, value=1.0 - gamma)
                root = (two / (1.0 - gamma**self.made)).sqrt_().add_(STEADY)
                w.sub_(rate / (1.0 - beta**self.made) * one / root)
                continue
            gradient = g + recipe.decay * w if recipe.decay else g
            if recipe.optimizer == "sgd":
                w.sub_(rate * gradient)
                continue
            one.mul_(0.9).add_(gradient)
            w.sub_(rate * (gradient + 0.9 * one if recipe.optimizer == "nesterov" else one))
        for w in self.weights:
            w.grad = None


def _wide(values: Tensor, like: Tensor) -> Tensor:
    return values.view(-1, *([1] * (like.ndim - 1)))
