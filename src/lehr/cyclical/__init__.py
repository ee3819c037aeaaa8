"""Cyclical learning rates in the words of their paper."""

from lehr.cyclical.cycle_plan import CyclePlan as CyclePlan
from lehr.cyclical.cycle_plan import plan_cycles as plan_cycles
from lehr.cyclical.cyclic_lr import CyclicLR as CyclicLR
