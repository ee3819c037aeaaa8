"""The loss along the step that the optimizers are about to make."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol, final, runtime_checkable

from lehr._numbers import real, shown

NEARBY: Final = 1e-3
"""How far to either side a function is asked for its slope."""


@runtime_checkable
class Look(Protocol):
    """The loss after a trial step, which leaves everything as it was.

        phi(r) = L(theta + r Delta),    Delta what the optimizers would add now

    `lehr.Probe` is one. A plain function of r becomes one, whose losses are taken for exact.

    >>> isinstance(ExactLook(lambda r: (1.0 - r) ** 2), Look)
    True
    """

    batches: int
    """How many batches `losses` looks at unless told otherwise."""

    def __call__(self, factor: float) -> float:
        """The mean loss over the batches after a trial step of that factor."""

    def losses(self, factor: float, batches: int | None = None) -> list[float]:
        """The loss of each batch after a trial step of that factor."""

    def slope(self) -> float:
        """By how much the loss behind the gradient falls at first for a whole step."""


@final
class ExactLook:
    """A function from factor to loss as a `Look`: one batch, and no noise.

    Args:
        function: factor -> loss after a trial step of that factor.

    >>> look = ExactLook(lambda r: (1.0 - r) ** 2)
    >>> look(1.0), look.losses(0.0), round(look.slope(), 6)
    (0.0, [1.0], 2.0)
    """

    batches = 1

    def __init__(self, function: Callable[[float], float]) -> None:
        self.function = function

    def __call__(self, factor: float) -> float:
        """The function's value.

        Raises:
            ValueError: if it is no number.
        """
        loss = self.function(factor)
        number = real(loss)
        if number is None:
            raise ValueError(f"loss_at must give one real number; at the factor {factor:g} it gave {shown(loss)}")
        return number

    def losses(self, factor: float, batches: int | None = None) -> list[float]:
        """The function's value, once."""
        return [self(factor)]

    def slope(self) -> float:
        """The central difference about 0, with the sign of a fall."""
        return (self(-NEARBY) - self(NEARBY)) / (2.0 * NEARBY)


def as_look(value: Look | Callable[[float], float] | None) -> Look | None:
    """`value` as a look: a function is taken for exact.

    Raises:
        TypeError: if it can't be called.
    """
    if value is None or isinstance(value, Look):
        return value
    if not callable(value):
        raise TypeError(f"loss_at must be a lehr.Probe or a function from factor to loss; got {shown(value)}")
    return ExactLook(value)
