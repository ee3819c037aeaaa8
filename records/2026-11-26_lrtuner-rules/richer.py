"""The learned schedule with richer signals, trained and judged as `learned.py` does it without them.

python records/2026-11-26_lrtuner-rules/richer.py

Beside the ten signals of `BudgetNetwork` it sees five more of each update: the cosine of the gradient and the step
before it, the curvature along that step over its slope (1 / r*), the cosine of two gradients in a row (one without
noise), by how much the gradient is clipped, and the batch size. Its weights begin as the pretrained ones, with nothing
for the new signals, so that only what they add can differ. What is there is not made again.
"""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from statistics import fmean, median

import torch
from torch import Tensor
from zoo_half import FAMILY_NAMES, grids

import lehr
from lehr.lab.zoo import FAMILIES, MemberWorld
from lehr.lab.zoo.family import Member
from lehr.lab.zoo.stack import Stack
from lehr.learned.evolution import differences
from lehr.learned.network import FARTHEST, FASTEST, LONGEST, SIGNALS, WINDOWS

HERE = Path(__file__).parent
WEIGHTS, RUNS = HERE / "richer-weights.json", HERE / "richer.json"
LEARNED, JUDGED, SEEDS = (1, 2, 3), (4, 5, 6), (20, 21)
GENERATIONS, PAIRS, LENGTHS, SIGMA, META_LR, OCTAVES = 180, 16, (100, 200, 400), 0.1, 0.02, 2.0
MORE, HIDDEN = 5, 16
SIZE = 2 + HIDDEN * (SIGNALS + MORE) + HIDDEN + HIDDEN + 1


def pretrained() -> Tensor:
    """The weights that come with lehr, in a row, with nothing for the new signals."""
    network = lehr.LearnedSchedule.pretrained().network
    enter = torch.cat((network.enter.weight, torch.zeros(HIDDEN, MORE)), 1)
    parts = (network.begin, enter, network.enter.bias, network.leave.weight, network.leave.bias)
    return torch.cat([part.detach().flatten() for part in parts])


class Schedules:
    """Many schedules at once, one a row: `BudgetNetwork` with more signals."""

    def __init__(self, weights: Tensor, member: Member) -> None:
        parts = weights.split([2, HIDDEN * (SIGNALS + MORE), HIDDEN, HIDDEN, 1], 1)
        self.begin, enter, self.bias, self.leave, self.leave_bias = parts
        self.enter = enter.view(len(weights), HIDDEN, SIGNALS + MORE)
        self.adaptive = float(member.recipe.optimizer == "adamw")
        self.size = 0.5 * math.log2(member.recipe.batch / 32)
        self.level = self.begin[:, int(self.adaptive)].clone()
        self.means: Tensor | None = None
        self.first = self.spread = self.last = torch.zeros(len(weights))
        self.more = torch.zeros(len(weights), MORE - 1)

    def __call__(self, loss: Tensor, more: Tensor, progress: float) -> Tensor:
        """The factors, without the line to zero, once a loss and the new signals were seen."""
        sound = torch.isfinite(loss) & (loss > 0.0)
        now = torch.where(sound, loss, 1.0).log()
        if self.means is None:
            self.means, self.first = now[:, None].repeat(1, len(WINDOWS)), now
            passed = torch.zeros_like(now)
        else:
            passed = progress - self.last
        decay = torch.exp(-passed[:, None] / torch.tensor(WINDOWS))
        means = now[:, None] + (self.means - now[:, None]) * decay
        away = now - means[:, 0]
        spread = away.abs() + (self.spread - away.abs()) * decay[:, 1]
        self.more = more.nan_to_num(0.0) + (self.more - more.nan_to_num(0.0)) * decay[:, :1]
        count = torch.ones_like(now)
        signals = torch.stack(
            (
                progress * count, math.exp(-progress / 0.02) * count, math.exp(-progress / 0.1) * count,
                0.5 * (means[:, 1] - self.first), 5.0 * (means[:, 0] - means[:, 1]), 3.0 * (means[:, 1] - means[:, 2]),
                5.0 * spread, 2.0 * away, 0.5 * (self.level - self.begin.mean(1)), self.adaptive * count,
                *(2.0 * self.more).unbind(1), self.size * count,
            ),
            1,
        ).clamp(-3.0, 3.0)  # fmt: skip
        hidden = torch.tanh(torch.einsum("rhs,rs->rh", self.enter, signals) + self.bias)
        speed = FASTEST * torch.tanh((self.leave * hidden).sum(1) + self.leave_bias[:, 0])
        level = (self.level + speed * passed.clamp(max=LONGEST)).clamp(-FARTHEST, FARTHEST)
        self.level = torch.where(sound, level, self.level)
        self.means = torch.where(sound[:, None], means, self.means)
        self.spread = torch.where(sound, spread, self.spread)
        self.last = torch.where(sound, progress, self.last)
        return self.level.exp()


class Watch:
    """The new signals of every run of a stack."""

    def __init__(self, stack: Stack, clip: float | None) -> None:
        self._weights, self._clip = list(stack._weights.values()), clip
        self._gradient: Tensor | None = None
        self._step: Tensor | None = None

    def flat(self) -> Tensor:
        return torch.cat([weight.detach().flatten(1) for weight in self._weights], 1)

    def look(self) -> Tensor:
        """Cosine of gradient and step, curvature over slope, cosine of gradients, how far it is clipped."""
        gradient = torch.cat([weight.grad.flatten(1) for weight in self._weights if weight.grad is not None], 1)
        zero = torch.zeros(len(gradient))
        clipped = zero if self._clip is None else (gradient.norm(dim=1) / self._clip).clamp(min=1.0).log()
        along, bends, alike = zero, zero, zero
        if self._gradient is not None and self._step is not None:
            slope, later = -(self._gradient * self._step).sum(1), -(gradient * self._step).sum(1)
            along = torch.cosine_similarity(gradient, self._step)
            bends = torch.asinh((slope - later) / slope.abs().clamp(min=1e-30))
            alike = torch.cosine_similarity(gradient, self._gradient)
        self._gradient = gradient
        return torch.stack((along, bends, alike, 0.5 * clipped), 1)

    def stepped(self, before: Tensor) -> None:
        self._step = self.flat() - before


def judge(member: Member, weights: Tensor, seeds: list[int], rates: list[float], updates: int) -> list[float]:
    """The validation error at the end of runs, side by side."""
    stack, peaks = Stack(member, seeds, updates), torch.tensor(rates)
    schedules, watch = Schedules(weights, member), Watch(stack, member.recipe.clip)
    for update in range(updates):
        progress = update / updates
        loss = stack.backward()
        factors = schedules(loss, watch.look(), progress)
        before = watch.flat()
        stack.step(peaks * factors * (1.0 - progress))
        watch.stepped(before)
    return [stack.error(index) for index in range(len(seeds))]


def evolve() -> Tensor:
    """As many generations, with the same constants, as `learned.py`."""
    members = [(f"{name} {k}", FAMILIES[name].member(k)) for k in LEARNED for name in FAMILY_NAMES]
    centre = torch.nn.Parameter(pretrained())
    adam = torch.optim.Adam([centre], betas=(0.9, 0.99))
    edges: dict[str, list[float]] = {}
    for done in range(GENERATIONS):
        chance = random.Random(done)  # noqa: S311 - no secret
        turn, place = divmod(done, len(members))
        name, member = random.Random(f"order {turn}").sample(members, len(members))[place]  # noqa: S311
        if name not in edges:
            edges[name] = [MemberWorld(name, member).edge(seed) for seed in (0, 1, 2)]
        noise = torch.randn(PAIRS, SIZE, generator=torch.Generator().manual_seed(done))
        seeds = [chance.getrandbits(31) for _ in range(PAIRS)]
        rates = [chance.choice(edges[name]) * 2.0 ** chance.uniform(-OCTAVES, OCTAVES) for _ in range(PAIRS)]
        weights = torch.cat((centre.detach() + SIGMA * noise, centre.detach() - SIGMA * noise))
        weights[:, :2].clamp_(-FARTHEST, FARTHEST)
        scores = judge(member, weights, seeds * 2, rates * 2, chance.choice(LENGTHS))
        centre.grad = (differences(scores[:PAIRS], scores[PAIRS:])[:, None] * noise).mean(0)
        adam.param_groups[0]["lr"] = META_LR * max(0.1, 1.0 - done / GENERATIONS)
        adam.step()
        print(done, name, round(median(scores), 4), flush=True)
    return centre.detach()


def main() -> None:
    torch.set_num_threads(1)
    if not WEIGHTS.exists():
        WEIGHTS.write_text(json.dumps(evolve().tolist()) + "\n")
    trained = {"pretrained": pretrained(), "richer": torch.tensor(json.loads(WEIGHTS.read_text()))}
    rows = json.loads(RUNS.read_text()) if RUNS.exists() else []
    if not rows:
        for grid in grids():
            if grid.number not in JUDGED:
                continue
            edges = [MemberWorld(grid.family, grid.member).edge(seed) for seed in SEEDS]
            for name, weights in trained.items():
                errors = judge(grid.member, weights.expand(len(SEEDS), -1), list(SEEDS), edges, 1_000)
                rows += [
                    {"schedule": name, "family": grid.family, "number": grid.number, "seed": seed, "error": error,
                     "edge": edge, "worth": grid.worth(error)}
                    for seed, edge, error in zip(SEEDS, edges, errors, strict=True)
                ]  # fmt: skip
        RUNS.write_text(json.dumps(rows, indent=1) + "\n")
    for name in trained:
        worth = sorted(row["worth"] for row in rows if row["schedule"] == name)
        print(
            f"{name:10} n {len(worth)}  median {median(worth):.2f}  mean {fmean(worth):.2f}  "
            f"lowest tenth {worth[len(worth) // 10]:.2f}"
        )


if __name__ == "__main__":
    main()
