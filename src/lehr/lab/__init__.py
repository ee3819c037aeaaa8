"""The lab: which schedule gets the most out of a budget, measured fairly on your task. Needs `lehr[lab]`."""

from lehr.lab.comparison import Comparison as Comparison
from lehr.lab.data import Data as Data
from lehr.lab.data import split as split
from lehr.lab.finding import find as find
from lehr.lab.methods import METHODS as METHODS
from lehr.lab.methods import Method as Method
from lehr.lab.methods import load_methods as load_methods
from lehr.lab.report import verdict as verdict
from lehr.lab.report import write_report as write_report
from lehr.lab.run import Run as Run
from lehr.lab.run import Settings as Settings
from lehr.lab.run import train as train
from lehr.lab.suite import run_comparison as run_comparison
from lehr.lab.task import ACCURACY as ACCURACY
from lehr.lab.task import MEAN_SQUARED_ERROR as MEAN_SQUARED_ERROR
from lehr.lab.task import TOKEN_LOSS as TOKEN_LOSS
from lehr.lab.task import Metric as Metric
from lehr.lab.task import Task as Task
from lehr.lab.tasks import TASKS as TASKS
from lehr.lab.tasks import load_task as load_task

__all__ = [
    "ACCURACY",
    "Comparison",
    "Data",
    "MEAN_SQUARED_ERROR",
    "METHODS",
    "Method",
    "Metric",
    "Run",
    "Settings",
    "TASKS",
    "TOKEN_LOSS",
    "Task",
    "find",
    "load_methods",
    "load_task",
    "run_comparison",
    "split",
    "train",
    "verdict",
    "write_report",
]
