"""Schedules: progress -> factor. They know neither optimizer nor run length and need the standard library only."""

from lehr.schedules.cycles import Triangular as Triangular
from lehr.schedules.cycles import WarmRestarts as WarmRestarts
from lehr.schedules.parse import parse_schedule as parse_schedule
from lehr.schedules.recipes import clr_decay as clr_decay
from lehr.schedules.recipes import exp_range as exp_range
from lehr.schedules.recipes import exp_range_amplitude as exp_range_amplitude
from lehr.schedules.recipes import knee as knee
from lehr.schedules.recipes import one_cycle as one_cycle
from lehr.schedules.recipes import triangular2 as triangular2
from lehr.schedules.recipes import warmup_stable_decay as warmup_stable_decay
from lehr.schedules.schedule import Constant as Constant
from lehr.schedules.schedule import Schedule as Schedule
from lehr.schedules.shapes import Cosine as Cosine
from lehr.schedules.shapes import Exponential as Exponential
from lehr.schedules.shapes import HyperbolicTangent as HyperbolicTangent
from lehr.schedules.shapes import InverseSqrt as InverseSqrt
from lehr.schedules.shapes import Linear as Linear
from lehr.schedules.shapes import OneMinusSqrt as OneMinusSqrt
from lehr.schedules.shapes import Polynomial as Polynomial
from lehr.schedules.shapes import Rex as Rex
from lehr.schedules.shapes import Steps as Steps
