"""A Lightning run in two processes, which `test_lightning.py` starts: each writes what it ended with."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

import lehr
from lehr.integrations.lightning import Lehr


class Model(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = torch.nn.Linear(4, 1)
        self.rates: list[float] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return (self.net(batch) - batch.sum(1, keepdim=True)).square().mean()

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=1e-6)
        optimizer.register_step_post_hook(lambda one, *_: self.rates.append(one.param_groups[0]["lr"]))
        return optimizer


class Freezes(Model):
    """Two layers, of which the first freezes half-way."""

    def __init__(self) -> None:
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 1))
        self.plan = lehr.FreezeOut(lehr.layers_of(self.net), t0=0.5, how="linear")

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.plan.param_groups(lr=0.01))
        optimizer.register_step_post_hook(lambda one, *_: self.rates.append(one.param_groups[0]["lr"]))
        return optimizer


def fit(model: Model, driver: Lehr, loader: Any, strategy: str) -> int:
    """The rank of this process, after six epochs of two batches an update."""
    trainer = Trainer(
        max_epochs=6, callbacks=[driver], accelerator="cpu", devices=2, strategy=strategy, accumulate_grad_batches=2,
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(model, loader)
    return trainer.global_rank


def main(folder: Path) -> None:
    torch.manual_seed(0)
    loader = torch.utils.data.DataLoader(torch.randn(256, 4), batch_size=8, shuffle=True)
    drivers = {
        "tuner": Lehr(lehr.LRTuner()),
        "range test": Lehr(
            lehr.Linear(), find_peak=lambda training: lehr.range_test(training, low=1e-4, steps=60).edge() / 3
        ),
    }
    for name, driver in drivers.items():
        model = Model()
        rank = fit(model, driver, loader, "ddp")
        ended = {
            "updates": driver.scheduler.updates,
            "rates": model.rates[-48:],
            "weights": model.net.weight.detach().flatten().tolist(),
        }
        (folder / f"{name} {rank}.json").write_text(json.dumps(ended))

    freezes = Freezes()
    rank = fit(freezes, Lehr(freezes.plan), loader, "ddp_find_unused_parameters_true")
    ended = {
        "rates": freezes.rates,
        "weights": [one.detach().flatten().tolist() for one in freezes.net.parameters()],
    }
    (folder / f"freezing {rank}.json").write_text(json.dumps(ended))
    freezes = Freezes()
    try:
        fit(freezes, Lehr(freezes.plan), loader, "ddp")
    except ValueError as refused:
        (folder / f"plain {rank}.txt").write_text(str(refused))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
