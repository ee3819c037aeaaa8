"""Tuning: the learning rate from a local look at the loss."""

from lehr.tuning.parabola import Parabola as Parabola
from lehr.tuning.parabola import fit_parabola as fit_parabola
from lehr.tuning.probe import Probe as Probe
from lehr.tuning.published import LQA as LQA
from lehr.tuning.published import GeN as GeN
from lehr.tuning.published import QLABGrad as QLABGrad
from lehr.tuning.tuner import LRTuner as LRTuner
