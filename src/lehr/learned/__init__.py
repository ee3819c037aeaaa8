"""The learned schedule: a small network that sets the rate from the loss and the share of the budget."""

from lehr.learned.evolution import Generation as Generation
from lehr.learned.evolution import Variant as Variant
from lehr.learned.evolution import World as World
from lehr.learned.evolution import evolve as evolve
from lehr.learned.network import BudgetNetwork as BudgetNetwork
from lehr.learned.schedule import LearnedSchedule as LearnedSchedule
