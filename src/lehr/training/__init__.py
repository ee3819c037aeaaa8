"""Training: one noun for how somebody makes an update; every procedure takes it."""

from lehr.training._fit import fit as fit
from lehr.training.probe import Probe as Probe
from lehr.training.result import Evaluation as Evaluation
from lehr.training.result import FitResult as FitResult
from lehr.training.training import Training as Training
