"""lehr chooses, runs, tunes, learns and compares learning-rate schedules for PyTorch under a training budget."""

import typing as _typing

from lehr.autopilot import Autopilot as Autopilot
from lehr.autopilot import FitResult as FitResult
from lehr.autopilot import RateChoice as RateChoice
from lehr.autopilot import find_rate as find_rate
from lehr.autopilot import fit as fit
from lehr.budget import Budget as Budget
from lehr.cyclical import CyclicLR as CyclicLR
from lehr.cyclical import plan_cycles as plan_cycles
from lehr.freezing import FreezableDataParallel as FreezableDataParallel
from lehr.freezing import FreezeOut as FreezeOut
from lehr.freezing import freeze_savings as freeze_savings
from lehr.freezing import layers_of as layers_of
from lehr.learned import LearnedSchedule as LearnedSchedule
from lehr.mlrsnet import MLRSNet as MLRSNet
from lehr.mlrsnet import meta_train as meta_train
from lehr.policy import Moment as Moment
from lehr.policy import Policy as Policy
from lehr.scheduler import BudgetWarning as BudgetWarning
from lehr.scheduler import LinearLR as LinearLR
from lehr.scheduler import Scheduler as Scheduler
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
from lehr.schedules import knee as knee
from lehr.schedules import one_cycle as one_cycle
from lehr.schedules import parse_schedule as parse_schedule
from lehr.schedules import warmup_stable_decay as warmup_stable_decay
from lehr.state import Batches as Batches
from lehr.state import Checkpoints as Checkpoints
from lehr.state import RandomState as RandomState
from lehr.state import untouched as untouched
from lehr.training import Probe as Probe
from lehr.training import Training as Training
from lehr.trials import NoSuggestion as NoSuggestion
from lehr.trials import RangeTestResult as RangeTestResult
from lehr.trials import plan as plan
from lehr.trials import range_test as range_test
from lehr.tuning import LRTuner as LRTuner

if _typing.TYPE_CHECKING:
    from lehr.lab import compare as compare

__version__ = "0.1.0"

__all__ = [
    "Autopilot",
    "Batches",
    "Budget",
    "BudgetWarning",
    "Checkpoints",
    "Constant",
    "Cosine",
    "CyclicLR",
    "Exponential",
    "FitResult",
    "FreezableDataParallel",
    "FreezeOut",
    "HyperbolicTangent",
    "InverseSqrt",
    "LRTuner",
    "LearnedSchedule",
    "Linear",
    "LinearLR",
    "MLRSNet",
    "Moment",
    "NoSuggestion",
    "OneMinusSqrt",
    "Policy",
    "Polynomial",
    "Probe",
    "RandomState",
    "RangeTestResult",
    "RateChoice",
    "Rex",
    "Schedule",
    "Scheduler",
    "Steps",
    "Training",
    "Triangular",
    "WarmRestarts",
    "find_rate",
    "fit",
    "freeze_savings",
    "knee",
    "layers_of",
    "meta_train",
    "one_cycle",
    "parse_schedule",
    "plan",
    "plan_cycles",
    "range_test",
    "untouched",
    "warmup_stable_decay",
]


def __getattr__(name: str) -> _typing.Any:
    """`lehr.compare`, the lab's front door, which is opened when it is asked for, since it needs more than torch."""
    if name != "compare":
        raise AttributeError(f"module 'lehr' has no attribute {name!r}")
    try:
        from lehr import lab
    except ImportError as error:
        raise ImportError(f"lehr.compare needs {error.name}: pip install 'lehr[lab]'") from error
    return lab.compare
