"""The policy: a rule from a moment of training to factors of the learning rate. Standard library only."""

from lehr.policy.decision import Decision as Decision
from lehr.policy.policy import Follow as Follow
from lehr.policy.policy import Moment as Moment
from lehr.policy.policy import Policy as Policy
from lehr.policy.policy import as_policy as as_policy
