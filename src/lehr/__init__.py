"""lehr chooses, runs, tunes, learns and compares learning-rate schedules for PyTorch under a training budget."""

from lehr.finder import Found as Found
from lehr.finder import NoSuggestion as NoSuggestion
from lehr.finder import clr_bounds as clr_bounds
from lehr.finder import edge_rate as edge_rate
from lehr.finder import minimum_rate as minimum_rate
from lehr.finder import range_test as range_test
from lehr.finder import slide_rate as slide_rate
from lehr.finder import steepest_rate as steepest_rate
from lehr.finder import valley_rate as valley_rate
from lehr.freezing import FreezableDataParallel as FreezableDataParallel
from lehr.freezing import FreezeOut as FreezeOut
from lehr.freezing import FrozenPrefix as FrozenPrefix
from lehr.freezing import Layer as Layer
from lehr.freezing import Layers as Layers
from lehr.freezing import Savings as Savings
from lehr.freezing import freeze_savings as freeze_savings
from lehr.freezing import layers_of as layers_of
from lehr.learned import BudgetNetwork as BudgetNetwork
from lehr.learned import InnerAdamW as InnerAdamW
from lehr.learned import InnerSGD as InnerSGD
from lehr.learned import LearnedSchedule as LearnedSchedule
from lehr.learned import MetaStep as MetaStep
from lehr.learned import MLRSNet as MLRSNet
from lehr.learned import MLRSNetwork as MLRSNetwork
from lehr.learned import PublishedGamma as PublishedGamma
from lehr.learned import meta_train as meta_train
from lehr.planning import Estimate as Estimate
from lehr.planning import Plan as Plan
from lehr.planning import plan as plan
from lehr.policy import Follow as Follow
from lehr.policy import Moment as Moment
from lehr.policy import Policy as Policy
from lehr.progress import Budget as Budget
from lehr.progress import Clock as Clock
from lehr.scheduler import BudgetWarning as BudgetWarning
from lehr.scheduler import CyclePlan as CyclePlan
from lehr.scheduler import CyclicLR as CyclicLR
from lehr.scheduler import History as History
from lehr.scheduler import LinearLR as LinearLR
from lehr.scheduler import Preview as Preview
from lehr.scheduler import Scheduler as Scheduler
from lehr.scheduler import plan_cycles as plan_cycles
from lehr.schedules import Constant as Constant
from lehr.schedules import Cosine as Cosine
from lehr.schedules import Exponential as Exponential
from lehr.schedules import HyperbolicTangent as HyperbolicTangent
from lehr.schedules import InverseSqrt as InverseSqrt
from lehr.schedules import Linear as Linear
from lehr.schedules import OneMinusSqrt as OneMinusSqrt
from lehr.schedules import Polynomial as Polynomial
from lehr.schedules import Rex as Rex
from lehr.schedules import Schedule as Schedule
from lehr.schedules import Steps as Steps
from lehr.schedules import Triangular as Triangular
from lehr.schedules import WarmRestarts as WarmRestarts
from lehr.schedules import clr_decay as clr_decay
from lehr.schedules import exp_range as exp_range
from lehr.schedules import exp_range_amplitude as exp_range_amplitude
from lehr.schedules import knee as knee
from lehr.schedules import one_cycle as one_cycle
from lehr.schedules import parse_schedule as parse_schedule
from lehr.schedules import triangular2 as triangular2
from lehr.schedules import warmup_stable_decay as warmup_stable_decay
from lehr.state import Batches as Batches
from lehr.state import Checkpoints as Checkpoints
from lehr.state import RandomState as RandomState
from lehr.state import untouched as untouched
from lehr.tuning import Decision as Decision
from lehr.tuning import LRTuner as LRTuner
from lehr.tuning import Parabola as Parabola
from lehr.tuning import Probe as Probe
from lehr.tuning import fit_parabola as fit_parabola

__version__ = "0.1.0"

__all__ = [
    "Batches",
    "Budget",
    "BudgetNetwork",
    "BudgetWarning",
    "Checkpoints",
    "Clock",
    "Constant",
    "Cosine",
    "CyclePlan",
    "CyclicLR",
    "Decision",
    "Estimate",
    "Exponential",
    "Follow",
    "Found",
    "FreezableDataParallel",
    "FreezeOut",
    "FrozenPrefix",
    "History",
    "HyperbolicTangent",
    "InnerAdamW",
    "InnerSGD",
    "InverseSqrt",
    "LRTuner",
    "Layer",
    "Layers",
    "LearnedSchedule",
    "Linear",
    "LinearLR",
    "MLRSNet",
    "MLRSNetwork",
    "MetaStep",
    "Moment",
    "NoSuggestion",
    "OneMinusSqrt",
    "Parabola",
    "Plan",
    "Policy",
    "Polynomial",
    "Preview",
    "Probe",
    "PublishedGamma",
    "RandomState",
    "Rex",
    "Savings",
    "Schedule",
    "Scheduler",
    "Steps",
    "Triangular",
    "WarmRestarts",
    "clr_bounds",
    "clr_decay",
    "edge_rate",
    "exp_range",
    "exp_range_amplitude",
    "fit_parabola",
    "freeze_savings",
    "knee",
    "layers_of",
    "meta_train",
    "minimum_rate",
    "one_cycle",
    "parse_schedule",
    "plan",
    "plan_cycles",
    "range_test",
    "slide_rate",
    "steepest_rate",
    "triangular2",
    "untouched",
    "valley_rate",
    "warmup_stable_decay",
]
