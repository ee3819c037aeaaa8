"""Trials: short runs that leave no trace, and say what a rate or a budget is worth."""

from lehr.trials._plan import Estimate as Estimate
from lehr.trials._plan import Plan as Plan
from lehr.trials._plan import plan as plan
from lehr.trials._range_test import range_test as range_test
from lehr.trials.result import RangeTestResult as RangeTestResult
from lehr.trials.rules import NoSuggestion as NoSuggestion
from lehr.trials.rules import clr_bounds as clr_bounds
from lehr.trials.rules import edge_rate as edge_rate
from lehr.trials.rules import minimum_rate as minimum_rate
from lehr.trials.rules import slide_rate as slide_rate
from lehr.trials.rules import steepest_rate as steepest_rate
from lehr.trials.rules import valley_rate as valley_rate
