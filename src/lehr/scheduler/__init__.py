"""The scheduler: a policy drives a torch optimizer under a budget."""

from lehr.scheduler.budget_warnings import BudgetWarning as BudgetWarning
from lehr.scheduler.cycle_plan import CyclePlan as CyclePlan
from lehr.scheduler.cycle_plan import plan_cycles as plan_cycles
from lehr.scheduler.drop_in import CyclicLR as CyclicLR
from lehr.scheduler.drop_in import LinearLR as LinearLR
from lehr.scheduler.history import History as History
from lehr.scheduler.preview import Preview as Preview
from lehr.scheduler.scheduler import Scheduler as Scheduler
