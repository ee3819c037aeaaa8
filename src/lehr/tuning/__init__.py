"""Tuning: the learning rate from a local look at the loss."""

from lehr.tuning.decision import Decision as Decision
from lehr.tuning.parabola import Parabola as Parabola
from lehr.tuning.parabola import fit_parabola as fit_parabola
from lehr.tuning.probe import Probe as Probe
from lehr.tuning.tuner import LRTuner as LRTuner
