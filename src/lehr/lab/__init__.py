"""The lab: which schedule gets the most out of a budget, measured fairly on your task. Needs `lehr[lab]`."""

from lehr.lab.claims import Claim as Claim
from lehr.lab.claims import Finding as Finding
from lehr.lab.claims import examine as examine
from lehr.lab.comparison import Comparison as Comparison
from lehr.lab.data import Data as Data
from lehr.lab.data import split as split
from lehr.lab.finding import find as find
from lehr.lab.front import compare as compare
from lehr.lab.methods import METHODS as METHODS
from lehr.lab.methods import Method as Method
from lehr.lab.methods import load_methods as load_methods
from lehr.lab.metric import ACCURACY as ACCURACY
from lehr.lab.metric import MEAN_SQUARED_ERROR as MEAN_SQUARED_ERROR
from lehr.lab.metric import TOKEN_LOSS as TOKEN_LOSS
from lehr.lab.metric import Criterion as Criterion
from lehr.lab.metric import MeanOverExamples as MeanOverExamples
from lehr.lab.metric import Metric as Metric
from lehr.lab.on_ray import RayCluster as RayCluster
from lehr.lab.placement import Placement as Placement
from lehr.lab.report import read_results as read_results
from lehr.lab.report import write_report as write_report
from lehr.lab.results import BudgetShare as BudgetShare
from lehr.lab.results import MethodResult as MethodResult
from lehr.lab.results import Results as Results
from lehr.lab.results import verdict as verdict
from lehr.lab.run import Evaluation as Evaluation
from lehr.lab.run import Run as Run
from lehr.lab.run import Settings as Settings
from lehr.lab.run import train as train
from lehr.lab.statistics import Pairing as Pairing
from lehr.lab.statistics import Summary as Summary
from lehr.lab.suite import run_comparison as run_comparison
from lehr.lab.task import Task as Task
from lehr.lab.task_folder import tasks_in as tasks_in
from lehr.lab.task_world import world as world
from lehr.lab.tasks import TASKS as TASKS
from lehr.lab.tasks import load_task as load_task
from lehr.lab.training_task import TrainingTask as TrainingTask

__all__ = [
    "ACCURACY",
    "BudgetShare",
    "Claim",
    "Comparison",
    "Criterion",
    "Data",
    "Evaluation",
    "Finding",
    "MEAN_SQUARED_ERROR",
    "METHODS",
    "MeanOverExamples",
    "Method",
    "MethodResult",
    "Metric",
    "Pairing",
    "Placement",
    "RayCluster",
    "Results",
    "Run",
    "Settings",
    "Summary",
    "TASKS",
    "TOKEN_LOSS",
    "Task",
    "TrainingTask",
    "compare",
    "examine",
    "find",
    "load_methods",
    "load_task",
    "read_results",
    "run_comparison",
    "split",
    "tasks_in",
    "train",
    "verdict",
    "world",
    "write_report",
]
