"""Learned: schedules that were themselves trained, as files that anyone can load."""

from lehr.learned.gamma import PublishedGamma as PublishedGamma
from lehr.learned.mlrsnet import MLRSNet as MLRSNet
from lehr.learned.network import MLRSNetwork as MLRSNetwork
