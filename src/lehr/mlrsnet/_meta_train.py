"""Meta-training: a schedule learns from the training of other networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from os import PathLike
from typing import Any, Final

import torch

from lehr._arguments import function_argument, number_argument, path_argument, whole_argument
from lehr._numbers import FARTHEST_STEP, LARGEST, MOST_SEEDS, SMALLEST, shown
from lehr.mlrsnet.courses import Course, Learnable, MetaStep, MetaTraining, name_of
from lehr.mlrsnet.gamma import PublishedGamma
from lehr.mlrsnet.inner import Inner, InnerSGD
from lehr.mlrsnet.network import WIDEST, Cell, MLRSNetwork
from lehr.mlrsnet.policy import MLRSNet
from lehr.mlrsnet.unroll import Order
from lehr.state import Checkpoints, RandomState

LEAST_TRAINED: Final = 1e-6
"""The share of the data that is not held out, at least."""

LAST_SEED: Final = MOST_SEEDS // 2
"""Seeds of later tasks and attempts are a few thousand above it."""


def meta_train(
    tasks: Learnable | Sequence[Learnable],
    *,
    updates: int = 1_000,
    every: int = 5,
    unroll: int = 1,
    order: Order = "first",
    inner: Inner | None = None,
    gamma: float | PublishedGamma | None = None,
    meta_lr: float = 1e-3,
    meta_weight_decay: float = 1e-4,
    held_out: float = 0.1,
    hidden: int = 50,
    cell: Cell = "meta-test",
    stages: int = 1,
    seed: int = 0,
    folder: str | PathLike[str] | None = None,
    save_every: int = 200,
    report: Callable[[MetaStep], None] = lambda step: None,
) -> MLRSNet:
    """Train a network that sets learning rates while the networks of some tasks are trained at the rates it sets.

        phi <- Adam(d/dphi L_meta(w - gamma network(L_train(w); phi) direction(w)))

    Every task has a run of its own; they take turns, `every` updates at a time, each turn ending with a meta-update on
    a batch that its network is never trained on.

    Args:
        tasks: one task, or several.
        updates: how long each task is trained, in updates, at least `every`.
        every: updates from one meta-update to the next, at least 1. The authors' code makes one in an epoch.
        unroll: over how many virtual updates the meta-loss looks ahead, at least 1; the authors take 1.
        order: "first" takes gradients for constants, as the authors' code does; "second" is exact. Without difference
            when `unroll` is 1.
        inner: the optimizer of the tasks; `InnerSGD(weight_decay=5e-4)`, the authors', if not given.
        gamma: the largest rate, or a formula for it; `PublishedGamma` at the first loss if not given. Formulas need
            targets that are classes.
        meta_lr: Adam's rate for the schedule, above 0.
        meta_weight_decay: and its weight decay.
        held_out: the share of each task's training data that only the meta-loss sees, above 0 and below 1.
        hidden: size of the network's state.
        cell: which of the published cells to train.
        stages: how many copies of the network to return, from evenly through meta-training, for equal shares of a run.
        seed: of everything.
        folder: where to keep checkpoints; meta-training goes on from what is there.
        save_every: meta-updates from one checkpoint to the next.
        report: told after each meta-update.

    Returns:
        The schedule; its header says how it was trained.

    Raises:
        ValueError: if an argument is out of range, or training diverges again and again.

    Source: Shu et al. 2022 (MLR-SNet), algorithm 1, and the authors' code, with meta data that is truly held out.

    >>> from types import SimpleNamespace
    >>> inputs = torch.randn(200, 4)
    >>> data = SimpleNamespace(train=(inputs, (inputs.sum(1) > 0).long()))
    >>> task = SimpleNamespace(
    ...     model=lambda: torch.nn.Linear(4, 2), load=lambda: data, loss=torch.nn.functional.cross_entropy,
    ...     batch_size=16,
    ... )
    >>> schedule = meta_train(task, updates=20)
    >>> schedule.rates([0.7, 0.6]).shape
    torch.Size([2])
    """
    listed = list(tasks) if isinstance(tasks, Sequence) else [tasks]
    rule = inner if inner is not None else InnerSGD(weight_decay=5e-4)
    _check(listed, rule, order)
    function_argument("meta_train: report", report, "a MetaStep")
    folder = None if folder is None else path_argument("meta_train: folder", folder)
    updates, every = whole_argument("meta_train: updates", updates), whole_argument("meta_train: every", every)
    unroll, stages = whole_argument("meta_train: unroll", unroll), whole_argument("meta_train: stages", stages)
    save_every = whole_argument("meta_train: save_every", save_every)
    hidden = whole_argument("meta_train: hidden", hidden, 2, WIDEST)
    seed = whole_argument("meta_train: seed", seed, 0, LAST_SEED)
    meta_lr = number_argument("meta_train: meta_lr", meta_lr, SMALLEST, FARTHEST_STEP)
    meta_weight_decay = number_argument("meta_train: meta_weight_decay", meta_weight_decay, 0.0, FARTHEST_STEP)
    if not isinstance(gamma, PublishedGamma | None):
        gamma = number_argument("meta_train: gamma, where it is no PublishedGamma,", gamma, SMALLEST, LARGEST)
    held_out = number_argument("meta_train: held_out", held_out, SMALLEST, 1.0 - LEAST_TRAINED)
    _check_lengths(len(listed), updates, every, stages)
    header = {
        "algorithm": "Shu et al. 2022, algorithm 1",
        "updates": updates, "every": every, "unroll": unroll, "order": order, "inner": repr(rule), "gamma": repr(gamma),
        "meta_lr": meta_lr, "meta_weight_decay": meta_weight_decay, "held_out": held_out, "seed": seed,
        "tasks": [name_of(task) for task in listed], "torch": str(torch.__version__),
    }  # fmt: skip
    random = RandomState()
    before = random.state_dict()
    try:
        torch.manual_seed(seed)
        network = MLRSNetwork(hidden, cell)
        courses = [Course(task, rule, gamma, held_out, seed + 1_000 * i) for i, task in enumerate(listed)]
        training = MetaTraining(network, courses, meta_lr, meta_weight_decay)
        training.arguments = {**header, "stages": stages, "hidden": hidden, "cell": cell}
        checkpoints = None if folder is None else Checkpoints(folder, training=training, random=RandomState())
        done = (checkpoints.resume() or 0) if checkpoints else 0
        turns = len(listed) * (updates // every)
        for turn in range(done, turns):
            step = training.turn(turn % len(listed), every, unroll, order)
            training.keep_stage(turn + 1, turns, stages)
            report(replace(step, progress=(turn + 1) / turns, updates=(turn + 1) * every))
            if checkpoints and ((turn + 1) % save_every == 0 or turn + 1 == turns):
                checkpoints.save(turn + 1)
    finally:
        random.load_state_dict(before)
    return MLRSNet(*training.stages, header=header)


def _check(tasks: list[Any], inner: Any, order: Any) -> None:
    if not tasks or not all(callable(getattr(task, "load", None)) for task in tasks):
        raise ValueError("meta_train: tasks must be a task, or several, with model, load, loss and batch_size")
    if not isinstance(inner, Inner):
        raise TypeError(f"meta_train: inner must be a rule such as InnerSGD(momentum=0.9); got {shown(inner)}")
    if order not in ("first", "second"):
        raise ValueError(f"meta_train: order must be 'first' or 'second'; got {shown(order)}")


def _check_lengths(tasks: int, updates: int, every: int, stages: int) -> None:
    if updates < every:
        raise ValueError(f"meta_train: updates must be at least every; got {updates} and {every}")
    if stages > tasks * (updates // every):
        raise ValueError(
            f"meta_train: stages is {stages}, but there are only {tasks * (updates // every)} meta-updates"
        )
