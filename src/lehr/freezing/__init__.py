"""Freezing: layers that stop training, one after the other."""

from lehr.freezing.data_parallel import FreezableDataParallel as FreezableDataParallel
from lehr.freezing.freezeout import FreezeOut as FreezeOut
from lehr.freezing.layers import Layer as Layer
from lehr.freezing.layers import Layers as Layers
from lehr.freezing.layers import layers_of as layers_of
from lehr.freezing.prefix import FrozenPrefix as FrozenPrefix
from lehr.freezing.savings import Savings as Savings
from lehr.freezing.savings import freeze_savings as freeze_savings
