"""MLR-SNet: the published learned schedule, and the meta-training that makes one."""

from lehr.mlrsnet._meta_train import meta_train as meta_train
from lehr.mlrsnet.courses import MetaStep as MetaStep
from lehr.mlrsnet.gamma import PublishedGamma as PublishedGamma
from lehr.mlrsnet.inner import InnerAdamW as InnerAdamW
from lehr.mlrsnet.inner import InnerSGD as InnerSGD
from lehr.mlrsnet.network import MLRSNetwork as MLRSNetwork
from lehr.mlrsnet.policy import MLRSNet as MLRSNet
