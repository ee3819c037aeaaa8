"""A task as a world from which schedules learn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import lehr
from lehr.lab.finding import find_edge
from lehr.lab.loop import Trainable, Workload, check_trainable
from lehr.lab.methods import Method
from lehr.lab.placement import AUTO, Placement
from lehr.lab.run import Settings, train


@dataclass(frozen=True)
class TaskWorld:
    """Runs of a task, one after another: a `lehr.learned.World`.

    Args:
        name: of the task.
        workload: the task with its data.
        placement: on which device and how it computes.
    """

    name: str
    workload: Workload
    placement: Placement

    def edge(self, seed: int) -> float:
        """The edge of a range test, as the method `learned` of a comparison finds it."""
        return find_edge(self.workload.loop(seed, self.workload.placed(self.placement)))

    def judge(self, variants: Sequence[lehr.learned.Variant], updates: int) -> list[float]:
        """The validation loss at the end of each run; where a task measures none, its metric, the higher the worse."""
        settings = Settings(f"{updates}steps", evaluations=1, placement=self.placement)
        return [self._judge_one(variant, settings) for variant in variants]

    def _judge_one(self, variant: lehr.learned.Variant, settings: Settings) -> float:
        method = Method("learned", repr(variant.schedule), lambda loop: variant.schedule, "lehr")
        run = train(self.workload, method, settings, variant.seed, variant.rate, look_at_test=False)
        if run.validation is None or not run.curve:
            return math.inf
        loss = run.curve[-1].validation_loss
        if loss is not None:
            return loss
        return -run.validation if self.workload.criterion.higher_is_better else run.validation


def world(task: Trainable, name: str = "", *, placement: Placement = AUTO) -> TaskWorld:
    """The task as a world for `lehr.learned.evolve`.

    Args:
        task: any task; on its training data runs are made, by its validation data they are judged.
        name: for headers and reports; what the task says of itself if not given.
        placement: on which device and how it computes.

    >>> from lehr import lab
    >>> digits = lab.world(lab.load_task("digits"), "digits")
    >>> schedule = lehr.learned.evolve([digits], generations=1, pairs=1, updates=[10])
    >>> schedule.header["tasks"]
    ['digits']
    """
    check_trainable("world", task)
    return TaskWorld(name or task.about, task.workload(), placement)
