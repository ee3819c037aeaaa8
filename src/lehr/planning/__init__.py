"""Planning: what a budget buys, measured before it is spent."""

from lehr.planning.plan import Estimate as Estimate
from lehr.planning.plan import Plan as Plan
from lehr.planning.plan import plan as plan
