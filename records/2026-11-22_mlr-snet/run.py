"""MLR-SNet, the published checkpoints and the pretrained schedule beside tuned schedules: makes what is missing.

    python run.py

First MLR-SNet is meta-trained on the two home tasks, with momentum and without. Then, for each method that needs it,
the peak rate is chosen on validation from a grid; then the seeds that are reported. Killed at any time, the same
command goes on. The authors' checkpoints are looked for in $LEHR_DATA/mlr-snet.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import torch
from worlds import WORLDS, gamma_of, published, task_of

import lehr
from lehr import lab
from lehr.lab.files import write_json
from lehr.lab.finding import find_edge
from lehr.lab.loop import Loop
from lehr.lab.methods import Method
from lehr.lab.records import environment

HERE = Path(__file__).parent
NETWORKS = HERE / "networks"
SEEDS, SEARCH = 3, 1_000_003
META_UPDATES = 2_000
SCHEDULES = {
    "fixed": lehr.Constant(),
    "multistep": lehr.Steps(at=(0.5, 0.75)),
    "exponential": lehr.Exponential(end=0.01),
    "sgdr": lehr.WarmRestarts(cycles=3, growth=2),
    "cosine": lehr.Cosine(),
    "linear": lehr.Linear(),
}
GRIDS = {
    "momentum": (0.01, 0.03, 0.1, 0.3),
    "plain": (0.1, 0.3, 1.0, 3.0),
    "adam": (1e-3, 3e-3, 1e-2, 3e-2),
    "adamw": (1e-3, 3e-3, 1e-2, 3e-2),
    "hypergradient": (0.03, 0.1, 0.3, 1.0),
    "hypergradient momentum": (0.003, 0.01, 0.03, 0.1),
}
WEIGHTS = {
    "learned": lambda: repr(lehr.LearnedSchedule.pretrained()),
    "mlrsnet, shipped": lambda: repr(lehr.MLRSNet.pretrained()),
}
"""What each run says of the weights that it was made with."""

BELOW = 10.0
"""The untuned rivals start at the edge of their range test over this, which is about where the best rates of the small
tasks lie on which the schedule was meta-trained (`pretrain/references.json`)."""


class Job(NamedTuple):
    world: str
    kind: str
    method: str
    seed: int
    lr: float | None = None

    @property
    def file(self) -> Path:
        rate = f"_lr-{self.lr}" if self.seed >= SEARCH else ""
        name = f"{self.world}_{self.kind}_{self.method}{rate}_seed-{self.seed}.json"
        return HERE / "runs" / name.replace(" ", "-")


def network_file(home: str, kind: str) -> Path:
    return NETWORKS / f"{home}_{kind}.safetensors"


def method_of(job: Job) -> Method:
    """The policy; those that need no tuning set the optimizer's rate themselves."""

    def policy(loop: Loop) -> lehr.Schedule | lehr.Policy:
        name = job.method
        if name in SCHEDULES:
            return SCHEDULES[name]
        if name == "learned":
            return lab.METHODS["learned"].policy(loop)
        if name == "mlrsnet, shipped":
            return lehr.MLRSNet.pretrained()
        if name.endswith(", untuned"):
            loop.set_peak(find_edge(loop) / BELOW)
            return SCHEDULES[name.removesuffix(", untuned")]
        loop.set_peak(1.0)
        scale = 0.1 if job.kind == "momentum" else 1.0  # a step with momentum 0.9 is ten times as long in the end
        gamma, divided = gamma_of(job.world, scale), 4.174 if job.world == "text" else 1.0  # ln 65
        if name == "published":
            files = published(Path(os.environ["LEHR_DATA"]) / "mlr-snet")
            return lehr.MLRSNet.from_published(*files, gamma=gamma, loss_scale=divided)
        home = "resnet" if job.world == "resnet" else "fashion"
        trained = lehr.MLRSNet.load(network_file(home, "momentum" if job.kind == "momentum" else "plain"))
        return lehr.MLRSNet(*trained.networks, gamma=gamma, loss_scale=divided)

    finds = job.method == "learned" or job.method.endswith(", untuned")
    return Method(job.method, job.method, policy, "this record", finds_peak=finds)


def train(job: Job) -> str:
    if job.file.exists():
        return f"{job.file.name}: there already"
    torch.set_num_threads(1)
    task = task_of(job.world, job.kind)
    settings = lab.Settings(task.budget, evaluations=2)
    began = time.monotonic()
    run = lab.train(task.workload(), method_of(job), settings, job.seed, job.lr, look_at_test=job.seed < SEARCH)
    weights = WEIGHTS.get(job.method, lambda: "")()
    kept = {"job": job._asdict(), "weights": weights, "run": asdict(run), "environment": environment()}
    write_json(job.file, kept, indent=None)
    return f"{job.file.name}: {run.validation}, {time.monotonic() - began:.1f} s"


def meta_train(home: str, kind: str) -> str:
    file = network_file(home, kind)
    if file.exists():
        return f"{file.name}: there already"
    torch.set_num_threads(1)
    momentum = kind == "momentum"
    began = time.monotonic()
    course: list[dict[str, float]] = []
    schedule = lehr.meta_train(
        task_of(home, kind), updates=META_UPDATES, every=5, stages=3,
        inner=lehr.mlrsnet.InnerSGD(0.9 if momentum else 0.0, 5e-4),
        gamma=0.1 * lehr.mlrsnet.PublishedGamma(10)(2.302585) if momentum else lehr.mlrsnet.PublishedGamma(10),
        report=lambda step: course.append(asdict(step)),
    )  # fmt: skip
    seconds = time.monotonic() - began
    schedule.save(file)
    write_json(file.with_suffix(".json"), {"seconds": seconds, "course": course[::10], "header": schedule.header})
    return f"{file.name}: {seconds:.0f} s"


def ship() -> None:
    """The last third of the one from Fashion-MNIST with momentum is what comes with lehr."""
    trained = lehr.MLRSNet.load(network_file("fashion", "momentum"))
    header = {**trained.header, "tasks": ["Fashion-MNIST, 10,000 images at 14 x 14"], "network": "last of three"}
    lehr.MLRSNet(trained.networks[-1], header=header).save(NETWORKS / "mlr-snet.safetensors")


def tuned() -> list[tuple[str, str, str]]:
    """What gets a peak rate from a grid: world, optimizer, method."""
    home = [
        (world, kind, method)
        for world in ("fashion", "resnet")
        for kind in ("momentum", "plain")
        for method in SCHEDULES
    ]
    others = [
        (world, kind, "fixed")
        for world in ("fashion", "resnet")
        for kind in ("adam", "hypergradient", "hypergradient momentum")
    ]
    carried = [
        (world, "adamw" if world == "text" else "momentum", method)
        for world in WORLDS
        if world not in ("fashion", "resnet")
        for method in ("linear", "cosine")
    ]
    shipped = [(world, "adamw" if world == "text" else "momentum", "mlrsnet, shipped") for world in WORLDS]
    return [*home, *others, *carried, *shipped]


def untuned() -> list[tuple[str, str, str]]:
    """What sets its own."""
    found = []
    for world in WORLDS:
        first, second = ("clipped", "adamw") if world == "text" else ("plain", "momentum")
        found += [(world, first, "published")]  # as the authors have it
        found += [(world, first if world == "text" else second, "mlrsnet")]
        found += [(world, second, method) for method in ("learned", "linear, untuned", "cosine, untuned")]
        if world in ("fashion", "resnet"):
            found += [(world, "plain", "mlrsnet"), (world, "momentum", "published")]
    return found


def chosen(world: str, kind: str, method: str) -> float:
    """The rate that is best on validation."""
    higher = task_of(world, kind).criterion.higher_is_better
    scores = {}
    for lr in GRIDS[kind]:
        value = json.loads(Job(world, kind, method, SEARCH, lr).file.read_text())["run"]["validation"]
        scores[lr] = -float("inf") if value is None else value if higher else -value
    return max(GRIDS[kind], key=lambda lr: scores[lr])


def main() -> None:
    with ProcessPoolExecutor(int(sys.argv[1]) if sys.argv[1:] else 2, multiprocessing.get_context("spawn")) as pool:
        homes = [(home, kind) for home in ("fashion", "resnet") for kind in ("momentum", "plain")]
        for said in pool.map(meta_train, *zip(*homes, strict=True)):
            print(said, flush=True)
        ship()
        search = [Job(*what, SEARCH, lr) for what in tuned() for lr in GRIDS[what[1]]]
        for said in pool.map(train, search):
            print(said, flush=True)
        final = [Job(*what, seed, chosen(*what)) for seed in range(SEEDS) for what in tuned()]
        final += [Job(*what, seed) for seed in range(SEEDS) for what in untuned()]
        for said in pool.map(train, final):
            print(said, flush=True)


if __name__ == "__main__":
    main()
