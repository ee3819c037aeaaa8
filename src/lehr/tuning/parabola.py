"""A parabola through losses along a step, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Final

from lehr._numbers import floats, shown
from lehr.policy import Look

FAR: Final = 20.0
"""Over how many steps the loss must run straight for its end to be out of sight."""


@dataclass(frozen=True)
class Parabola:
    """The loss along a step, near its start.

        phi(r) = phi(0) - a r + b r^2 / 2

    Args:
        slope: a, by how much the loss falls at first for a step of one.
        curvature: b.
        slope_error: standard error of `slope`, from the scatter between batches; infinite for a single batch.
        curvature_error: that of `curvature`.

    >>> parabola = Parabola(slope=4.0, curvature=2.0)
    >>> parabola.minimiser, parabola.edge
    (2.0, 4.0)
    """

    slope: float
    curvature: float
    slope_error: float = math.inf
    curvature_error: float = math.inf

    @property
    def minimiser(self) -> float:
        """r* = a / b, where the loss is lowest; infinite if it falls and curves down, and 0 if it does not fall."""
        if self.slope <= 0.0:
            return 0.0
        return self.slope / self.curvature if self.curvature > 0.0 else math.inf

    @property
    def straight(self) -> bool:
        """Whether the loss hardly bends over several steps, so that the end of a longer one is out of sight."""
        return self.curvature < abs(self.slope) / FAR

    @property
    def edge(self) -> float:
        """2 r*, the step after which the loss is what it was before."""
        return 2.0 * self.minimiser


def fit_parabola(factors: Sequence[float], losses: Sequence[Sequence[float]]) -> Parabola:
    """The parabola through each batch's losses by least squares, averaged over the batches.

    Differences are taken within a batch, so what is common to all its losses (how hard the batch is) drops out.

    Args:
        factors: where the losses were measured, in steps; at least three different ones.
        losses: for each batch its losses at these factors.

    Raises:
        ValueError: if there are fewer than three different, finite factors, no batch, or not a loss for each in one.

    >>> parabola = fit_parabola([-1.0, 0.0, 1.0], [[5.5, 2.0, 0.5], [15.5, 12.0, 10.5]])
    >>> round(parabola.slope, 12), round(parabola.curvature, 12)
    (2.5, 2.0)
    """
    at = floats(factors)
    if at is None or not all(map(math.isfinite, at)) or len(set(at)) < 3:
        raise ValueError(
            f"fit_parabola: factors must hold at least three different, finite numbers; got {shown(factors)}"
        )
    batches = [floats(batch) for batch in losses] if isinstance(losses, Iterable) else []
    if not batches or any(batch is None or len(batch) != len(at) for batch in batches):
        raise ValueError(
            f"fit_parabola: losses must hold at least one batch, each with a loss for each of the {len(at)} factors; "
            f"got {shown(losses)}"
        )
    slopes, curvatures = zip(*(_through(at, batch) for batch in batches if batch is not None), strict=True)
    return Parabola(fmean(slopes), fmean(curvatures), _error(slopes), _error(curvatures))


def parabola_along(look: Look) -> Parabola:
    """The parabola through one batch's losses at -1, 0 and 1 steps, taken at its word.

    >>> round(parabola_along(ExactLook(lambda r: (1.0 - r) ** 2)).minimiser, 6)
    1.0
    """
    steps = (-1.0, 0.0, 1.0)
    return fit_parabola(steps, [[look.losses(step, 1)[0] for step in steps]])


def _through(factors: Sequence[float], losses: Sequence[float]) -> tuple[float, float]:
    """Slope and curvature by least squares, from moments about the means."""
    n = len(factors)
    linear = [r - fmean(factors) for r in factors]
    squares = [r * r / 2.0 for r in factors]
    squares = [q - fmean(squares) for q in squares]
    values = [loss - fmean(losses) for loss in losses]
    xx, qq = sum(x * x for x in linear), sum(q * q for q in squares)
    xq = sum(x * q for x, q in zip(linear, squares, strict=True))
    xv = sum(linear[i] * values[i] for i in range(n))
    qv = sum(squares[i] * values[i] for i in range(n))
    determinant = xx * qq - xq * xq
    return -(xv * qq - qv * xq) / determinant, (qv * xx - xv * xq) / determinant


def _error(values: Sequence[float]) -> float:
    return stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.inf
