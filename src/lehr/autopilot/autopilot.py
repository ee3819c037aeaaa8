"""The autopilot: what `fit` uses when it is given no policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lehr._numbers import plain, shown
from lehr.autopilot.rate_choice import RateChoice
from lehr.autopilot.search import RateSearch, with_end
from lehr.budget import Budget
from lehr.training.training import Training, check_training


@dataclass(frozen=True)
class Autopilot:
    """Finds the peak rate by short trials, and trains with what is left of the budget.

    The loss along the first step says where to begin. Trials then climb and descend by factors of four, and two, until
    the best has a worse one on either side; each looks like the main run, starts from the same weights, sees the same
    batches, and leaves no trace. The main run warms up for a fifth of its length and comes down to zero in a line.
    Should its loss break down, or stand still for a third of it, earlier weights are put back and the rate is divided
    by four.

    Args:
        search: share of the budget that trials may take, above 0 and at most 0.5. While no trial has lowered the loss,
            up to twice as much.

    Raises:
        ValueError: if `search` is out of range.

    >>> model = torch.nn.Linear(4, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=1e-9)
    >>> loader = torch.utils.data.DataLoader(torch.randn(64, 4), batch_size=16)
    >>> training = Training(model, optimizer, loader, lambda model, x: (model(x) - x[:, :1]).square().mean())
    >>> result = fit(training, "400steps", Autopilot(search=0.3), progress=False)
    >>> result.choice.share < 0.31, result.losses[-1][1] < 0.01
    (True, True)
    """

    search: float = 0.1

    def __post_init__(self) -> None:
        object.__setattr__(self, "search", check_search("Autopilot", self.search))

    def begin(self, training: Training, budget: str | Budget) -> RateChoice:
        """Find the rate and leave the training where its main run begins, as `fit` does: set there, at the new peak.

        Args:
            training: at its start.
            budget: what there is to spend, the search included.

        Raises:
            ValueError: if an argument makes no sense, or the budget has no end.
            NoSuggestion: if no rate lowers the loss; then the weights are as they were at first.

        >>> model = torch.nn.Linear(4, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> loader = torch.utils.data.DataLoader(torch.randn(64, 4), batch_size=16)
        >>> training = Training(model, optimizer, loader, lambda model, x: (model(x) - x[:, :1]).square().mean())
        >>> choice = Autopilot().begin(training, "1000steps")
        >>> scheduler = Scheduler(training, choice.policy(), choice.rest)
        >>> len(list(training.run(scheduler))) == choice.rest.total, training.peak == choice.rate
        (True, True)
        """
        check_training("Autopilot.begin", training)
        total = with_end("Autopilot.begin", training.budget(budget))
        choice = RateSearch(training, total, self.search, "Autopilot.begin").run()
        training.set_peak(choice.rate)
        return choice


def check_search(who: str, search: Any) -> float:
    """`search` as a share of the budget.

    Raises:
        ValueError: if it is none.
    """
    share = plain(search)
    if share is None or not 0.0 < share <= 0.5:
        raise ValueError(
            f"{who}: search is the share of the budget that trials may take, above 0 and at most 0.5; got "
            f"{shown(search)}"
        )
    return share
