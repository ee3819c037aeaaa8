"""Tuning: the learning rate from a local look at the loss."""

from lehr.tuning.gen import GeN as GeN
from lehr.tuning.lqa import LQA as LQA
from lehr.tuning.parabola import Parabola as Parabola
from lehr.tuning.parabola import fit_parabola as fit_parabola
from lehr.tuning.qlabgrad import QLABGrad as QLABGrad
from lehr.tuning.tuner import LRTuner as LRTuner
