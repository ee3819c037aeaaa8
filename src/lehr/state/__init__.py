"""The state of a run: in memory for a trial that leaves no trace, and on disk for a run that is killed."""

from lehr.state._untouched import parts_of as parts_of
from lehr.state._untouched import untouched as untouched
from lehr.state.batches import Batches as Batches
from lehr.state.checkpoints import Checkpoints as Checkpoints
from lehr.state.files import write_atomically as write_atomically
from lehr.state.random_state import RandomState as RandomState
