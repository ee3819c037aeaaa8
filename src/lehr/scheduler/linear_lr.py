"""Budgeted training's own scheduler, for code that was written against it."""

from __future__ import annotations

from torch.optim import Optimizer

from lehr._arguments import number_argument, whole_argument
from lehr._numbers import LARGEST, SMALLEST
from lehr.budget import Budget
from lehr.scheduler.scheduler import Scheduler
from lehr.schedules import Linear


def LinearLR(optimizer: Optimizer, T: float, last_epoch: int = -1) -> Scheduler:  # noqa: N802, N803 - as published
    """The scheduler of "Budgeted Training" as its authors published it: linear to zero after `T` calls of `step()`.

        lr of call t = base lr * max(0, 1 - t / T)

    Call `step()` after each iteration, or once an epoch, in which case `T` is the number of epochs. The published class
    goes negative past `T`; this one stays at zero. torch's class of this name is something else: a warm-up from a
    third of the rate over five calls. New code says `Scheduler(optimizer, Linear(), Budget(steps=T))`, which counts
    the updates themselves.

    Args:
        optimizer: whose rate to set.
        T: after how many calls the rate is zero, above 0.
        last_epoch: the number of the last call of the run to go on from; -1 starts anew.

    Raises:
        ValueError: if `T` is not above 0, or a run is to go on whose groups have no `initial_lr`.

    Source: Li, Yumer and Ramanan, "Budgeted Training", ICLR 2020 (arXiv 1905.04753).

    >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    >>> scheduler = LinearLR(optimizer, T=4)
    >>> optimizer.step(); scheduler.step(); scheduler.get_last_lr()
    [0.75]
    """
    calls = number_argument("LinearLR: T, the calls of step(),", T, SMALLEST, LARGEST)
    last_epoch = whole_argument("LinearLR: last_epoch", last_epoch, -1)
    if last_epoch > -1 and any("initial_lr" not in group for group in optimizer.param_groups):
        raise ValueError(
            "LinearLR: last_epoch goes on with a run, for which every parameter group needs its 'initial_lr'; load the "
            "optimizer's checkpoint first"
        )
    scheduler = Scheduler(optimizer, Linear(), Budget(steps=calls), count="calls")
    if last_epoch > -1:
        scheduler.clock.tick(last_epoch + 1)
        scheduler.rebudget(scheduler.budget, how="jump")
        scheduler._run.begin(scheduler.updates)
    return scheduler
