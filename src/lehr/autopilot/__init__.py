"""The autopilot: training within a budget, with a rate, a warm-up and a schedule that nobody had to choose."""

from lehr.autopilot._find_rate import find_rate as find_rate
from lehr.autopilot._fit import fit as fit
from lehr.autopilot.autopilot import Autopilot as Autopilot
from lehr.autopilot.guarded import Guarded as Guarded
from lehr.autopilot.rate_choice import RateChoice as RateChoice
from lehr.autopilot.result import Evaluation as Evaluation
from lehr.autopilot.result import FitResult as FitResult
from lehr.autopilot.trial import Trial as Trial
