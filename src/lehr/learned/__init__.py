"""Learned: schedules that were themselves trained, as files that anyone can load."""

from lehr.learned.budget_network import BudgetNetwork as BudgetNetwork
from lehr.learned.courses import MetaStep as MetaStep
from lehr.learned.gamma import PublishedGamma as PublishedGamma
from lehr.learned.inner import InnerAdamW as InnerAdamW
from lehr.learned.inner import InnerSGD as InnerSGD
from lehr.learned.learned_schedule import LearnedSchedule as LearnedSchedule
from lehr.learned.meta_train import meta_train as meta_train
from lehr.learned.mlrsnet import MLRSNet as MLRSNet
from lehr.learned.network import MLRSNetwork as MLRSNetwork
