"""Meta-trains the learned schedule by evolution strategies over whole short runs of many small tasks.

    python pretrain.py

A generation is one task at one length: sixteen directions in the space of weights, each gone a step forth and a step
back, on the same initial weights, batches and base rate. The base rate is the edge of a range test of the task, up to
twice, later four and eight times, more or less, so the schedule learns to start from edges as they are found. Killed at
any time, the same command goes on.
"""

from __future__ import annotations

import json
import math
import random
import time
from contextlib import suppress
from pathlib import Path

import torch
from stacked import TASKS, Small, Stack
from torch import Tensor
from torch.func import functional_call, vmap

import lehr
from lehr.learned import BudgetNetwork
from lehr.learned.network import Memory

HERE = Path(__file__).parent
PAIRS, SIGMA, META_LR, GENERATIONS = 16, 0.1, 0.03, 480
TESTS, LENGTHS = 4, (100, 200, 400)
WIDER = (65, 240)
"""From which generations on base rates lie within a factor of four of an edge, and of eight; before that, of two."""

LINE = 240
"""Over so many generations the meta rate falls to a tenth; then it starts anew."""

FACTORS = (1 / 300, 1 / 100, 1 / 30, 1 / 20, 1 / 10, 1 / 5, 1 / 3, 1 / 2)


def edges(task: Small, updates: int = 100) -> list[float]:
    """The edge of a range test from each of some seeds, from 1e-5 to 10: longer, if none shows one."""
    stack = Stack(task, [900 + k for k in range(TESTS)])
    rates = [1e-5 * 1e6 ** (k / (updates - 1)) for k in range(updates)]
    losses = []
    for rate in rates:
        gradients, loss = stack.gradients()
        losses.append(loss.tolist())
        stack.update(gradients, torch.full((TESTS,), rate))
    found = []
    for k in range(TESTS):
        own = [row[k] for row in losses]
        end = next((i for i, x in enumerate(own) if not x < 4.0 * min(own[: i + 1]) + own[0]), len(own))
        ending = "high" if end == len(own) else "diverged"
        with suppress(lehr.NoSuggestion):
            found.append(lehr.RangeTestResult(rates[:end], own[:end], ending=ending).edge())
    return found or edges(task, 2 * updates)


def scheduled(task: Small, params: dict[str, Tensor], seeds: list[int], bases: Tensor, updates: int) -> Tensor:
    """The validation loss of runs at the rates that networks set, one network a run: params are stacked."""
    network, adaptive = BudgetNetwork(), torch.tensor(float(task.adaptive))

    def start(params: dict[str, Tensor]) -> Memory:
        level = params["begin"][0] + adaptive * (params["begin"][1] - params["begin"][0])
        zero = torch.zeros_like(level)
        return Memory(level, torch.zeros(3), zero, zero + torch.nan, zero)

    def seen(params: dict[str, Tensor], loss: Tensor, progress: Tensor, memory: Memory) -> Memory:
        return functional_call(network, params, (loss, progress, adaptive, memory))

    stack = Stack(task, seeds)
    memory = vmap(start)(params)
    see = vmap(seen, in_dims=(0, 0, None, 0))
    for k in range(updates):
        gradients, losses = stack.gradients()
        with torch.no_grad():
            memory = see(params, losses, torch.tensor(k / updates), memory)
            stack.update(gradients, bases * memory.level.exp() * (1.0 - k / updates))
    return stack.judged()


def linear(task: Small, bases: Tensor, seeds: list[int], updates: int) -> Tensor:
    """The validation loss of runs that decay linearly to zero."""
    stack = Stack(task, seeds)
    for k in range(updates):
        gradients, _ = stack.gradients()
        stack.update(gradients, bases * (1.0 - k / updates))
    return stack.judged()


def unflat(flat: Tensor) -> dict[str, Tensor]:
    """Rows of numbers as stacked weights."""
    params, at = {}, 0
    for name, value in BudgetNetwork().named_parameters():
        params[name] = flat[:, at : at + value.numel()].reshape(-1, *value.shape)
        at += value.numel()
    return params


def first() -> Tensor:
    torch.manual_seed(0)
    return torch.cat([value.detach().flatten() for value in BudgetNetwork().parameters()])


def references() -> dict[str, dict]:
    """For each task: its edges, and linear at each factor of the edge, at the longest run and at 200 updates."""
    file = HERE / "pretrain" / "references.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    for name, task in TASKS.items():
        if name in known:
            continue
        found = edges(task)
        middle = math.exp(sum(map(math.log, found)) / len(found))
        row: dict = {"edges": found}
        for updates in sorted({200, task.longest}):
            seeds = [500 + k for k in range(4)]
            bases = torch.tensor([factor * middle for factor in FACTORS for _ in seeds])
            losses = linear(task, bases, seeds * len(FACTORS), updates).view(len(FACTORS), -1)
            row[str(updates)] = losses.tolist()
        known[name] = row
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(known))
        shown = {u: [f"{x:.3f}" for x in torch.tensor(row[u]).mean(1).tolist()] for u in row if u != "edges"}
        print(name, [f"{e:.3g}" for e in found], shown, flush=True)
    return known


def main() -> None:
    torch.set_num_threads(1)
    known = references()
    file = HERE / "pretrain" / "state.pt"
    centre = torch.nn.Parameter(first())
    adam = torch.optim.Adam([centre], lr=META_LR, betas=(0.9, 0.99))
    done, spent = 0, 0.0
    if file.exists():
        kept = torch.load(file, weights_only=True)
        centre.data, done, spent = kept["centre"], kept["done"], kept["spent"]
        adam.load_state_dict(kept["adam"])
    names = sorted(TASKS)
    while done < GENERATIONS:
        began = time.monotonic()
        chance = random.Random(done)  # noqa: S311
        turn = random.Random(done // len(names)).sample(names, len(names))  # noqa: S311
        name = turn[done % len(names)]
        task = TASKS[name]
        updates = chance.choice([length for length in LENGTHS if length <= task.longest])
        noise = torch.randn(PAIRS, len(centre), generator=torch.Generator().manual_seed(done))
        weights = torch.cat((centre.detach() + SIGMA * noise, centre.detach() - SIGMA * noise))
        seeds = [10_000 + PAIRS * done + k for k in range(PAIRS)]
        wide = 1 + sum(done >= generation for generation in WIDER)
        bases = torch.tensor([chance.choice(known[name]["edges"]) * 2.0 ** chance.uniform(-wide, wide) for _ in seeds])
        judged = scheduled(task, unflat(weights), seeds * 2, bases.repeat(2), updates).log()
        forth, back = judged[:PAIRS], judged[PAIRS:]
        gap = (forth - back).clamp(-2.0, 2.0)
        gap = (gap / gap.square().mean().sqrt().clamp(min=1e-6)).clamp(-2.5, 2.5)
        centre.grad = (gap[:, None] * noise).mean(0)
        rate = META_LR * max(0.1, 1.0 - done % LINE / LINE)
        adam.param_groups[0]["lr"] = rate
        adam.step()
        done += 1
        spent += time.monotonic() - began
        middle = float(judged.median())
        print(f"{done:4} {name:22} {updates:5} {middle:8.4f} {time.monotonic() - began:6.1f} s", flush=True)
        if done % 5 == 0:
            kept = {"centre": centre.data, "done": done, "spent": spent, "adam": adam.state_dict()}
            torch.save(kept, file.with_suffix(".new"))
            file.with_suffix(".new").replace(file)
    write(centre.detach(), done, spent)
    judge(centre.detach(), known)


def write(centre: Tensor, generations: int, seconds: float) -> None:
    """The file that comes with lehr."""
    network = BudgetNetwork()
    network.load_state_dict({name: value[0] for name, value in unflat(centre[None]).items()})
    header = {
        "algorithm": "evolution strategies with antithetic pairs over whole runs (Salimans et al. 2017)",
        "script": "records/2026-11-22_mlr-snet/pretrain.py",
        "tasks": list(TASKS), "optimizers": ["SGD with momentum 0.9", "AdamW"], "updates of a run": list(LENGTHS),
        "generations": generations, "runs": 2 * PAIRS * generations, "seconds": round(seconds),
        "torch": str(torch.__version__),
    }  # fmt: skip
    lehr.LearnedSchedule(network, header=header).save(HERE / "pretrain" / "learned-schedule.safetensors")


def judge(centre: Tensor, known: dict[str, dict]) -> None:
    """Against linear at the best of the factors, on the seeds of the references, from edges of seeds of their own."""
    rows = {}
    for name, task in TASKS.items():
        for updates in sorted({200, task.longest}):
            seeds = [500 + k for k in range(4)]
            edges = torch.tensor([known[name]["edges"][k % len(known[name]["edges"])] for k in range(4)])
            params = unflat(centre.expand(4, -1))
            ours = scheduled(task, params, seeds, edges, updates).tolist()
            tuned = min(known[name][str(updates)], key=sum)
            tenth = linear(task, edges / 10.0, seeds, updates).tolist()
            rows[f"{name}, {updates}"] = {"learned": ours, "tuned linear": tuned, "linear at edge / 10": tenth}
            ratio = [sum(math.log(x / y) for x, y in zip(a, tuned, strict=True)) / 4 for a in (ours, tenth)]
            print(
                f"{name:22} {updates:5} log ratio to tuned linear {ratio[0]:+.3f}, edge / 10 {ratio[1]:+.3f}",
                flush=True,
            )
    (HERE / "pretrain" / "judged.json").write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
