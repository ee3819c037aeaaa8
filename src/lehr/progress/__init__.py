"""Progress: how much training there is to spend, and how much of it is spent. Standard library only."""

from lehr.progress.budget import Budget as Budget
from lehr.progress.clock import Clock as Clock
