"""The scale of MLR-SNet's rates."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lehr._arguments import number_argument, whole_argument
from lehr._numbers import LARGEST, SMALLEST, shown


@dataclass(frozen=True)
class PublishedGamma:
    """mean training loss -> the learning rate that MLR-SNet's output is a share of.

        gamma = max(floor, |sqrt(L) ln(L C) / C^(1/4)| / 4)

    For language models L is the perplexity and C the size of the vocabulary. The formula is zero at L = 1 / C, where
    training would stand still; hence the floor, which is this library's.

    Args:
        classes: C, at least 2.
        perplexity: whether L is e to the loss.
        floor: the least value, above 0.

    Raises:
        ValueError: if an argument is out of range.

    Source: the code of Shu et al. 2022 (MLR-SNet).

    >>> gamma = PublishedGamma(classes=10)
    >>> round(gamma(2.302585), 3), gamma(0.1)
    (0.669, 0.001)
    >>> round(PublishedGamma(classes=10_000, perplexity=True)(9.21034), 1)
    46.1
    """

    classes: int
    perplexity: bool = False
    floor: float = 1e-3

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", whole_argument("PublishedGamma: classes", self.classes, 2))
        object.__setattr__(self, "floor", number_argument("PublishedGamma: floor", self.floor, SMALLEST, LARGEST))

    def __call__(self, loss: float) -> float:
        """The scale at that mean training loss, above 0.

        Raises:
            ValueError: if `loss` is not finite, or below 0, where the formula says nothing.
        """
        if not 0.0 <= loss < math.inf:
            raise ValueError(
                f"PublishedGamma: loss must be a finite number, at least 0; got {shown(loss)}; where losses are below "
                "0 the formula says nothing, so give gamma a number"
            )
        level = math.exp(min(loss, 700.0)) if self.perplexity else loss
        if level == 0.0:
            return self.floor  # the limit
        scale = abs(math.sqrt(level) * math.log(level * self.classes)) / math.pow(self.classes, 0.25) / 4.0
        return max(self.floor, scale)
