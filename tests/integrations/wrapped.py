"""Layers that freeze in the wrappers of Fabric and Ignite, in two processes, started by `test_ranks.py`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
import torch.distributed as dist
from ignite.engine import Events, create_supervised_trainer
from lightning.fabric import Fabric
from torch import Tensor, nn

import lehr


def ended(scheduler: lehr.Scheduler, rates: list[float], model: nn.Module) -> dict[str, Any]:
    weights = torch.cat([p.detach().flatten() for p in model.parameters()])
    return {"updates": scheduler.updates, "rates": rates, "weights": weights.tolist()}


def refused(run: Any, *arguments: Any) -> str:
    """What a run says that is refused."""
    try:
        run(*arguments)
    except ValueError as error:
        return str(error)
    return ""


def layers_that_freeze() -> tuple[nn.Module, torch.optim.Optimizer, lehr.Scheduler, list[float]]:
    """A model whose first layer freezes half-way through 16 updates, and the rates of that layer."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))
    plan = lehr.FreezeOut(lehr.layers_of(net), t0=0.5, how="linear")
    optimizer = torch.optim.SGD(plan.param_groups(lr=0.01))
    rates: list[float] = []
    optimizer.register_step_post_hook(lambda one, *_: rates.append(one.param_groups[0]["lr"]))
    return net, optimizer, lehr.Scheduler(optimizer, plan, lehr.Budget(steps=16)), rates


def share() -> list[Tensor]:
    """The 16 batches of this rank."""
    return list(torch.randn(256, 4, generator=torch.Generator().manual_seed(dist.get_rank())).split(16))


def frozen_with_fabric(strategy: str) -> dict[str, Any]:
    fabric = Fabric(accelerator="cpu", devices=2, strategy=strategy)
    fabric.launch()
    net, inner, scheduler, rates = layers_that_freeze()
    model, optimizer = fabric.setup(net, inner)
    for x in share():
        optimizer.zero_grad()
        fabric.backward((model(x) - x.sum(1, keepdim=True)).square().mean())
        optimizer.step()
        scheduler.step()
    return ended(scheduler, rates, net)


def frozen_with_ignite(find: bool) -> dict[str, Any]:
    net, optimizer, scheduler, rates = layers_that_freeze()
    model = idist.auto_model(net, find_unused_parameters=find)
    trainer = create_supervised_trainer(model, idist.auto_optim(optimizer), nn.functional.mse_loss)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda *_: scheduler.step())
    trainer.run([(x, x.sum(1, keepdim=True)) for x in share()])
    return ended(scheduler, rates, net)


if __name__ == "__main__":
    idist.initialize("gloo")
    made = {
        "fabric": {
            "freezing": frozen_with_fabric("ddp_find_unused_parameters_true"),
            "freezing, plain": refused(frozen_with_fabric, "ddp"),
        },
        "ignite": {
            "freezing": frozen_with_ignite(True),
            "freezing, plain": refused(frozen_with_ignite, False),
        },
    }
    Path(sys.argv[2], f"{os.environ['RANK']}.json").write_text(json.dumps(made))
