"""The autopilot's search alone."""

from __future__ import annotations

from dataclasses import replace

from lehr.autopilot.autopilot import check_search
from lehr.autopilot.rate_choice import RateChoice
from lehr.autopilot.search import WARM_UP, RateSearch, with_end
from lehr.budget import Budget
from lehr.schedules import Linear
from lehr.training import Training
from lehr.training.training import check_training


def find_rate(training: Training, budget: str | Budget, *, search: float = 0.1) -> RateChoice:
    """Find the peak rate for a run of that budget by short trials, which leave no trace.

    For a loop of your own: `training.set_peak(choice.rate)`, then `choice.schedule` over `choice.rest`.

    Args:
        training: what to train, at its start.
        budget: what there is to spend, the search included, as text such as "30min" or as a `Budget`.
        search: share of it that trials may take, above 0 and at most 0.5.

    Raises:
        ValueError: if an argument makes no sense, or the budget has no end.
        NoSuggestion: if no rate lowers the loss.

    >>> model = torch.nn.Linear(4, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> loader = torch.utils.data.DataLoader(torch.randn(64, 4), batch_size=16)
    >>> training = Training(model, optimizer, loader, lambda model, x: (model(x) - x[:, :1]).square().mean())
    >>> choice = find_rate(training, "1000steps")
    >>> training.set_peak(choice.rate)
    >>> scheduler = Scheduler(training, choice.schedule, choice.rest)
    >>> 800 <= scheduler.budget.total < 1000
    True
    """
    check_training("find_rate", training)
    share = check_search("find_rate", search)
    with training.untouched():
        total = with_end("find_rate", training.budget(budget))
        choice = RateSearch(training, total, share, "find_rate", goes_on=False).run()
    return replace(choice, begun=0.0, schedule=Linear().after_warmup(WARM_UP))
