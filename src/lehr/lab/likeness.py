"""What a `Task` object is like, since it has no name or file by which it could be known again."""

from __future__ import annotations

import hashlib
import re

from lehr.lab.data import Data
from lehr.lab.loop import Loop
from lehr.lab.task import Task


def likeness(task: Task, data: Data) -> str:
    """A hash of a task's network, initial weights, first loss, optimizer, batch size and metric.

    Tasks that differ in nothing of that are taken for one; the data have a hash of their own.

    Args:
        task: the task.
        data: its data, loaded.
    """
    loop = Loop(task, data, 0)
    options = [{k: v for k, v in group.items() if k != "params"} for group in loop.optimizer.param_groups]
    loss = float(loop.training.loss_ahead())
    said = f"{loop.model!r} {type(loop.optimizer).__name__} {options!r} {task.batch_size} {task.clip_norm} "
    digest = hashlib.sha256(re.sub(r"0x[0-9a-f]+", "", f"{said}{task.metric.criterion} {loss:.5g}").encode())
    for weight in loop.model.parameters():
        digest.update(f"{float(weight.detach().double().sum()):.5g}".encode())
    return digest.hexdigest()[:16]
