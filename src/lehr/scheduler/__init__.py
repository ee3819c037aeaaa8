"""The scheduler: a policy drives an optimizer under a budget."""

from lehr.scheduler.budget_warnings import BudgetWarning as BudgetWarning
from lehr.scheduler.history import History as History
from lehr.scheduler.linear_lr import LinearLR as LinearLR
from lehr.scheduler.preview import Preview as Preview
from lehr.scheduler.scheduler import Scheduler as Scheduler
