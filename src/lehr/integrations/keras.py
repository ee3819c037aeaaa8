"""Keras 3: a schedule as a `LearningRateSchedule`, on any of its backends. Needs `lehr[keras]`."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

import lehr
from lehr.integrations._arguments import check_curve


class _Ops:
    """The functions of `keras.ops` under the names that schedules call."""

    abs, clip, cos, exp, expm1 = ops.abs, ops.clip, ops.cos, ops.exp, ops.expm1
    floor, log1p, sqrt, tanh, where = ops.floor, ops.log1p, ops.sqrt, ops.tanh, ops.where

    @staticmethod
    def finfo(dtype: Any) -> Any:
        return np.finfo(keras.backend.standardize_dtype(dtype))


@keras.saving.register_keras_serializable(package="lehr")
class Curve(keras.optimizers.schedules.LearningRateSchedule):
    """A lehr schedule as Keras has them, made by `as_keras`; saved and loaded with the model."""

    def __init__(self, schedule: str, total: int, peak: float) -> None:
        super().__init__()
        self.schedule = lehr.parse_schedule(schedule)
        self.total = total
        self.peak = peak

    def __call__(self, step: Any) -> Any:
        """The rate of the update after `step` updates."""
        progress = ops.maximum(ops.cast(step, "float32") / self.total, 0.0)
        return self.peak * self.schedule.factor_at(progress, _Ops) * ops.ones_like(progress)

    def get_config(self) -> dict[str, Any]:
        """What `from_config` takes."""
        return {"schedule": repr(self.schedule), "total": self.total, "peak": self.peak}


def as_keras(schedule: lehr.Schedule, total: int, *, peak: float) -> Curve:
    """A schedule as Keras has them, for `learning_rate=` of an optimizer.

        rate of update k = peak * schedule(k / total)

    Keras computes it in single precision, so rates agree with lehr's to about six digits, and updates are told apart up
    to 16 million.

    Args:
        schedule: the curve, of lehr's own schedules, so that Keras can save and load it.
        total: how many updates there will be, at least 1: epochs times batches an epoch.
        peak: the rate at factor 1, at least 0.

    Raises:
        TypeError: if `schedule` is no schedule.
        ValueError: if `total` or `peak` is no such number, or the schedule is not made of lehr's own.

    >>> rate = as_keras(lehr.Linear().after_warmup(0.5), 4, peak=0.1)
    >>> [round(float(rate(k)), 4) for k in range(5)]
    [0.0, 0.05, 0.1, 0.05, 0.0]
    >>> optimizer = keras.optimizers.AdamW(learning_rate=rate)
    """
    return Curve(repr(schedule), *check_curve("as_keras", schedule, total, peak))
