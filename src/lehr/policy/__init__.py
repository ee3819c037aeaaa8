"""The policy: a rule from a moment of training to factors of the learning rate. Standard library only."""

from lehr.policy.decision import Decision as Decision
from lehr.policy.look import ExactLook as ExactLook
from lehr.policy.look import Look as Look
from lehr.policy.look import as_look as as_look
from lehr.policy.moment import Moment as Moment
from lehr.policy.policy import Follow as Follow
from lehr.policy.policy import Policy as Policy
from lehr.policy.policy import Recovery as Recovery
from lehr.policy.policy import as_policy as as_policy
