"""What a policy asks to be done with the weights: keep a copy of them, or put it back."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from torch.optim import Optimizer

from lehr.policy import Recovery
from lehr.state.fallback import Fallback


def recover(
    asked: Recovery, kept: Fallback | None, optimizers: Sequence[Optimizer], modules: Sequence[nn.Module]
) -> Fallback | None:
    """Do it; the copy that there is afterwards.

    Args:
        asked: by the policy.
        kept: the copy so far; None if there is none.
        optimizers: whose parameters and state.
        modules: whose buffers.
    """
    if asked == "keep":
        return Fallback(optimizers, modules)
    if kept is not None:
        kept.put_back(optimizers, modules)
        return kept
    for optimizer in optimizers:  # there is nothing to go back to, but this update must not be made
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.grad.zero_()
    return None
