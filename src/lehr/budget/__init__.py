"""The budget: how much training there is to spend, and how much of it is spent. Standard library only."""

from lehr.budget.budget import Budget as Budget
from lehr.budget.clock import Clock as Clock
