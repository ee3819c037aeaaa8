"""Runs of Accelerate in two processes, which `test_ranks.py` starts with torchrun."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import accelerate
import torch
from torch import nn

import lehr


def ended(scheduler: lehr.Scheduler, rates: list[float], model: nn.Module) -> dict[str, Any]:
    weights = torch.cat([p.detach().flatten() for p in model.parameters()])
    return {"updates": scheduler.updates, "rates": rates, "weights": float(weights.double().sum())}


def prepared(policy: Any, budget: Any, lr: float) -> dict[str, Any]:
    """A run of a training made of what Accelerate has prepared, two batches an update."""
    torch.manual_seed(0)
    accelerator = accelerate.Accelerator(cpu=True)
    net, inputs = nn.Linear(4, 1), torch.randn(256, 4)
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)
    rates: list[float] = []
    optimizer.register_step_post_hook(lambda one, *_: rates.append(one.param_groups[0]["lr"]))
    model, optimizer, loader = accelerator.prepare(
        net, optimizer, torch.utils.data.DataLoader(inputs, batch_size=8, shuffle=True)
    )
    training = lehr.Training(
        model, optimizer, loader, lambda one, x: (one(x) - x.sum(1, keepdim=True)).square().mean(), accumulate=2
    )
    rates.clear()
    scheduler = lehr.Scheduler(training, policy, training.budget(budget))
    for _ in training.run(scheduler):
        pass
    return ended(scheduler, rates, net)


def looped(folder: Path, resume: bool) -> dict[str, Any]:
    """The loop of Accelerate's documentation, with everything prepared, saved after two of four epochs."""
    torch.manual_seed(0)
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    net = nn.Linear(4, 1)
    inner = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    loader = torch.utils.data.DataLoader(torch.randn(256, 4), batch_size=8)
    budget = lehr.Budget.over(loader, epochs=4, accumulate=2, ranks=accelerator.num_processes)
    ours = lehr.Scheduler(inner, lehr.LearnedSchedule.pretrained(), budget)
    model, optimizer, loader, scheduler = accelerator.prepare(net, inner, loader, ours)
    rates: list[float] = []
    inner.register_step_post_hook(lambda one, *_: rates.append(one.param_groups[0]["lr"]))
    if resume:
        accelerator.load_state(str(folder))
    for epoch in range(2 if resume else 0, 4):
        for x in loader:
            with accelerator.accumulate(model):
                loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    scheduler.scheduler.observe(loss=loss)
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
        if epoch == 1 and not resume:
            accelerator.save_state(str(folder))
    return ended(ours, rates, net) | {"finished": ours.finished}


def with_accelerate(folder: Path) -> dict[str, Any]:
    return {
        "schedule": prepared(lehr.Linear(), "3ep", 0.01),
        "tuner": prepared(lehr.LRTuner(), "10ep", 1e-6),
        "loop": looped(folder / "state", resume=False),
        "resumed": looped(folder / "state", resume=True),
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    (folder / f"{os.environ['RANK']}.json").write_text(json.dumps(with_accelerate(folder)))
