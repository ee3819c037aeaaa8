"""Optax: a schedule as a function from updates to rates. Needs `lehr[optax]`, of which JAX is enough here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import lehr
from lehr.integrations._arguments import check_curve


def as_optax(schedule: lehr.Schedule, total: int, *, peak: float = 1.0) -> Callable[[Any], jax.Array]:
    """A schedule as Optax has them: from the number of updates made to the learning rate of the next.

        rate of update k = peak * schedule(k / total)

    It can be traced, so that one compilation serves all updates. JAX computes in single precision unless told
    otherwise, so rates agree with lehr's to about six digits, and updates are told apart up to 16 million.

    Args:
        schedule: the curve.
        total: how many updates there will be, at least 1.
        peak: the rate at factor 1, at least 0; 1 for `optax.scale_by_schedule`, which multiplies.

    Raises:
        TypeError: if `schedule` is no schedule.
        ValueError: if `total` or `peak` is no such number.

    >>> import optax
    >>> rate = as_optax(lehr.Linear().after_warmup(0.5), 4, peak=0.1)
    >>> [round(float(rate(k)), 4) for k in range(5)]
    [0.0, 0.05, 0.1, 0.05, 0.0]
    >>> optimizer = optax.adamw(rate)
    """
    updates, top = check_curve("as_optax", schedule, total, peak)

    def rate(count: Any) -> jax.Array:
        progress = jnp.maximum(jnp.asarray(count, dtype=float) / updates, 0.0)
        return top * schedule.factor_at(progress, jnp) * jnp.ones_like(progress)

    return rate
