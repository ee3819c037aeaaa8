"""The trainers of other libraries, and what to write in each where a scheduler alone is not enough."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Trainer:
    """What to write in one trainer, or in a loop of one's own.

    Args:
        modules: how the names of its modules begin.
        loss: for a policy that sees the loss.
        look: for a policy that looks along the step.
        step: for whoever calls `step` with an argument.
        compose: for whoever sets `last_epoch`, as schedulers do that hold others.
    """

    modules: tuple[str, ...]
    loss: str
    look: str
    step: str
    compose: str


_CURVES: Final = "put curves one after the other with .then or .after_warmup"

OWN_LOOP: Final = Trainer(
    modules=(),
    loss="let lehr make the updates (for loss in training.run(scheduler)), or call observe between backward() and "
    "optimizer.step()",
    look="let lehr make the updates (for loss in training.run(scheduler)), or call observe between backward() and "
    "optimizer.step(), with loss_at=lehr.Probe(training)",
    step="write scheduler.step(), and as a handler lambda *_: scheduler.step()",
    compose=f"call step() after each, and instead of torch's SequentialLR {_CURVES}",
)

TRAINERS: Final = (
    Trainer(
        modules=("transformers.",),
        loss="with Transformers write Trainer(callbacks=[lehr.integrations.transformers.Lehr(policy)]) and give it no "
        "scheduler",
        look="a Transformers Trainer shows its batches to nobody, so write lehr.fit(lehr.Training(model, optimizer, "
        "loader, lambda model, batch: model(**batch).loss), budget, policy)",
        step="leave out what gives it one",
        compose=f"call step() after each, and {_CURVES}",
    ),
    Trainer(
        modules=("lightning.pytorch.", "pytorch_lightning."),
        loss="with Lightning return only the optimizer from configure_optimizers, and write "
        "Trainer(callbacks=[lehr.integrations.lightning.Lehr(policy)])",
        look="with Lightning return only the optimizer from configure_optimizers, and write "
        "Trainer(callbacks=[lehr.integrations.lightning.Lehr(policy)])",
        step='leave "reduce_on_plateau" out of what configure_optimizers returns',
        compose=f"return it from configure_optimizers as it is, and instead of torch's SequentialLR {_CURVES}",
    ),
    Trainer(
        modules=("ignite.",),
        loss="with Ignite write Engine(lambda engine, batch: training.step(scheduler).item()) around a lehr.Training",
        look="with Ignite write Engine(lambda engine, batch: training.step(scheduler).item()) around a lehr.Training",
        step="write as a handler lambda *_: scheduler.step()",
        compose="instead of Ignite's LRScheduler write add_event_handler(Events.ITERATION_COMPLETED, lambda *_: "
        "scheduler.step()), for a warm-up schedule.after_warmup(0.1), and to see the rates scheduler.preview()",
    ),
    Trainer(
        modules=("accelerate.",),
        loss="with Accelerate call observe(loss=loss) between backward and optimizer.step() on the lehr.Scheduler, "
        "which after prepare is scheduler.scheduler",
        look="with Accelerate write lehr.fit(lehr.Training(model, optimizer, loader, loss), budget, policy) with what "
        "accelerator.prepare returned",
        step="write scheduler.step()",
        compose=f"call step() after each, and {_CURVES}",
    ),
)
"""The outermost first: some are made of others."""


def calling() -> Trainer:
    """The trainer in whose loop this is asked, or a loop of one's own."""
    modules = set(_modules())
    return next((one for one in TRAINERS if any(name.startswith(one.modules) for name in modules)), OWN_LOOP)


def _modules() -> Iterator[str]:
    frame = sys._getframe()
    while frame is not None:
        yield f"{frame.f_globals.get('__name__', '')}."
        frame = frame.f_back  # type: ignore[assignment]
