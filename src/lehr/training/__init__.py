"""Training: one noun for how somebody makes an update; every procedure takes it."""

from lehr.training.probe import Probe as Probe
from lehr.training.training import Training as Training
