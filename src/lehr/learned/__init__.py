"""The learned schedule: a small network that sets the rate from the loss and the share of the budget."""

from lehr.learned.network import BudgetNetwork as BudgetNetwork
from lehr.learned.schedule import LearnedSchedule as LearnedSchedule
