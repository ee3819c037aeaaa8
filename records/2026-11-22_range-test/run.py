"""`lehr.range_test` beside torch-lr-finder: time, what is put back, and training from each one's suggestion.

    pip install torch-lr-finder==0.2.2
    python run.py

Makes the runs that are missing. Both get the same fresh network, rates and number of updates; training is linear to
zero from the suggestion, with the lab's own loop and seeds.
"""

from __future__ import annotations

import contextlib
import io
import json
import time
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch.utils.data import DataLoader, TensorDataset

import lehr
from lehr import lab
from lehr.lab.files import write_json
from lehr.lab.records import environment
from lehr.lab.tensors import TensorLoop, TensorWorkload

HERE = Path(__file__).parent
TASKS = {"digits": "10ep", "fashion-mnist": "300steps", "cifar10-quick": "300steps", "tinyshakespeare": "300steps"}
NAMES = {"lehr": ("valley", "edge / 3"), "torch-lr-finder": ("suggestion",)}
LOW, HIGH, STEPS, SEEDS = 1e-5, 10.0, 100, 3


@cache
def workload_of(name: str) -> TensorWorkload:
    task = lab.load_task(name)
    assert isinstance(task, lab.Task)
    return task.workload()


def state(loop: TensorLoop) -> dict[str, Any]:
    return {
        "model": deepcopy(loop.model.state_dict()),
        "optimizer": deepcopy(loop.optimizer.state_dict()),
        "random": torch.get_rng_state(),
    }


def same(one: Any, two: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(same, one, two))
    return bool(one == two)


def plain(loop: TensorLoop) -> float:
    """Seconds for as many updates without any test."""
    began = time.perf_counter()
    for _ in range(STEPS):
        loop.training.step().item()
    return time.perf_counter() - began


def ours(loop: TensorLoop) -> lehr.RangeTestResult:
    return lehr.range_test(loop.training, low=LOW, high=HIGH, steps=STEPS)


def theirs(loop: TensorLoop, data: lab.Data) -> tuple[float | None, int]:
    from torch_lr_finder import LRFinder

    loader = DataLoader(TensorDataset(*data.train), batch_size=loop.task.batch_size, shuffle=True, drop_last=True)
    finder = LRFinder(loop.model, loop.optimizer, loop.task.loss, device="cpu")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        finder.range_test(loader, start_lr=LOW, end_lr=HIGH, num_iter=STEPS)
        try:
            _, suggestion = finder.plot(ax=Figure().add_subplot(), suggest_lr=True)
        except (ValueError, TypeError):
            suggestion = None
        finder.reset()
    return suggestion, len(finder.history["lr"])


def one(task_name: str, seed: int) -> dict[str, Any]:
    workload = workload_of(task_name)
    row: dict[str, Any] = {"task": task_name, "seed": seed, "environment": environment()}
    row["plain_seconds"] = plain(workload.loop(seed))
    for tool in ("lehr", "torch-lr-finder"):
        loop = workload.loop(seed)
        before = state(loop)
        began = time.perf_counter()
        if tool == "lehr":
            found = ours(loop)
            made = len(found.rates)
            suggestions = {name: rate for name, rate in found.suggestions().items() if rate is not None}
        else:
            suggestion, made = theirs(loop, workload.data)
            suggestions = {} if suggestion is None else {"suggestion": suggestion}
        seconds = time.perf_counter() - began
        after = state(loop)
        row[tool] = {
            "updates": made,
            "seconds": seconds,
            "seconds_an_update": seconds / made,
            "suggestions": suggestions,
            "put_back": {part: same(before[part], after[part]) for part in before},
            "trained": {},
        }
    return row


def train_from(row: dict[str, Any]) -> bool:
    """Train from the suggestions of a row that are not trained from yet; whether there were any."""
    wanted = []
    for tool, names in NAMES.items():
        kept = row[tool]["suggestions"]
        rates = {**kept, "edge / 3": kept["edge"] / 3} if "edge" in kept else kept
        wanted += [(row[tool]["trained"], name, rates[name]) for name in names if name in rates]
    missing = [(trained, name, rate) for trained, name, rate in wanted if name not in trained]
    for trained, name, rate in missing:
        settings = lab.Settings(TASKS[row["task"]], 4)
        run = lab.train(workload_of(row["task"]), lab.METHODS["linear"], settings, row["seed"], rate)
        trained[name] = {"lr": rate, "test": run.test, "validation": run.validation}
    return bool(missing)


def main() -> None:
    torch.set_num_threads(1)
    for task in TASKS:
        for seed in range(SEEDS):
            out = HERE / "runs" / f"{task}_seed-{seed}.json"
            if not out.exists():
                write_json(out, one(task, seed), indent=None)
            row = json.loads(out.read_text())
            if train_from(row):
                write_json(out, row, indent=None)
            print(task, seed, f"plain {row['plain_seconds'] / STEPS * 1e3:.1f} ms an update", flush=True)
            for tool in ("lehr", "torch-lr-finder"):
                kept = row[tool]
                print(f"  {tool}: {kept['updates']} updates, {1e3 * kept['seconds_an_update']:.1f} ms each,",
                      kept["put_back"], kept["trained"], flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
