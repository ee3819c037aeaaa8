"""What users write must type-check; nothing here is run."""

import torch

import lehr


def schedules() -> lehr.Schedule:
    factor: float = lehr.Cosine().after_warmup(0.1)(0.5)
    table: torch.Tensor = lehr.Linear()(torch.linspace(0, 1, 11))
    assert factor and table is not None
    return 0.5 * lehr.Linear().then(lehr.Constant(), at=0.3).clip(low=0.1) * lehr.Triangular(cycles=4)


def training(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> float:
    scheduler = lehr.Scheduler(
        optimizer,
        lehr.Linear(),
        lehr.Budget(epochs=3, steps_per_epoch=10),
        also={"weight_decay": lehr.Cosine(), "momentum": [lehr.Linear(1, 0.9)]},
    )
    torch_scheduler: torch.optim.lr_scheduler.LRScheduler = scheduler
    while not scheduler.finished:
        optimizer.step()
        scheduler.step()
        with scheduler.paused():
            pass
    scheduler.load_state_dict(scheduler.state_dict(), accept=["budget"])
    scheduler.rebudget(lehr.Budget(steps=40), how="continue")
    rates: list[float] = scheduler.get_last_lr()
    assert torch_scheduler is scheduler
    for _spent, _progress, row in scheduler.preview():
        rates.append(row[0])
    return scheduler.remaining + sum(rates)


class Halving(lehr.Policy):
    needs = ("loss",)

    def __init__(self) -> None:
        self.factor = 1.0

    def factors(self, moment: lehr.Moment) -> float:
        if moment.loss is not None and moment.loss > 1.0:
            self.factor /= 2
        return self.factor

    def __repr__(self) -> str:
        return "Halving()"


policy: lehr.Policy = Halving() * lehr.Linear()
