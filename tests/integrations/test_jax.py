"""Schedules as functions from updates to rates, in the real Optax and Keras."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import lehr

pytest.importorskip("optax")
pytest.importorskip("keras", exc_type=ImportError)

import jax
import keras
import numpy as np
import optax

from lehr.integrations.keras import as_keras
from lehr.integrations.optax import as_optax

TOTAL = 60

CURVES = [
    lehr.Constant(0.5), lehr.Linear(1.0, 0.1), lehr.Cosine(), lehr.Polynomial(2.0), lehr.Exponential(0.01),
    lehr.InverseSqrt(0.1), lehr.Steps((0.3, 0.6)), lehr.Rex(), lehr.HyperbolicTangent(), lehr.OneMinusSqrt(),
    lehr.Triangular(cycles=3, low=0.2), lehr.WarmRestarts(cycles=3, growth=2.0, low=0.1), lehr.one_cycle(0.3),
    lehr.warmup_stable_decay(0.1, 0.3), lehr.knee(0.5), lehr.schedules.triangular2(3, 0.1),
    lehr.Linear().after_warmup(0.1).sampled(0.1).clip(low=0.05) * lehr.Cosine().repeated(2, scale=0.5),
    lehr.Constant().then(lehr.Linear(), at=0.7).until(0.9),
]  # fmt: skip


@pytest.mark.parametrize("curve", CURVES, ids=repr)
def test_rates_are_lehrs_own(curve: lehr.Schedule) -> None:
    """Also past the end; one compilation and one call give all of them."""
    counts = np.arange(2 * TOTAL)
    expected = [0.3 * curve(k / TOTAL) for k in counts]
    assert jax.jit(as_optax(curve, TOTAL, peak=0.3))(counts).tolist() == pytest.approx(expected, rel=1e-4, abs=2e-6)
    rates = keras.ops.convert_to_numpy(as_keras(curve, TOTAL, peak=0.3)(counts)).tolist()
    assert rates == pytest.approx(expected, rel=1e-4, abs=2e-6)


def test_optax_updates_by_these_rates() -> None:
    optimizer = optax.sgd(as_optax(lehr.Linear(), 4, peak=0.1))
    weight = jax.numpy.zeros(())
    state = optimizer.init(weight)
    steps = []
    for _ in range(4):
        update, state = jax.jit(optimizer.update)(jax.numpy.ones(()), state)
        steps.append(float(update))
    assert steps == pytest.approx([-0.1, -0.075, -0.05, -0.025])


def test_keras_trains_by_these_rates_and_saves_them(tmp_path: Path) -> None:
    rates: list[float] = []

    class Watch(keras.callbacks.Callback):  # type: ignore[misc, name-defined, unused-ignore]
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            rates.append(float(self.model.optimizer.learning_rate))

    schedule = lehr.Cosine().after_warmup(0.25, start=0.1)
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(as_keras(schedule, 16, peak=0.1)), loss="mse")
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    model.fit(x, x.sum(1, keepdims=True), batch_size=8, epochs=2, verbose=0, callbacks=[Watch()])
    assert rates == pytest.approx([0.1 * schedule(k / 16) for k in range(16)], rel=1e-4)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras").optimizer._learning_rate
    assert (again.schedule, again.total, again.peak) == (schedule, 16, 0.1)


@pytest.mark.parametrize("make", [as_optax, as_keras])
def test_what_is_no_curve_is_refused(make: Any) -> None:
    with pytest.raises(TypeError, match=r"looks at training, which only lehr\.Scheduler shows it"):
        make(lehr.LRTuner(), 10, peak=0.1)
    with pytest.raises(ValueError, match="total must be a whole number, at least 1"):
        make(lehr.Linear(), 0.5, peak=0.1)
    with pytest.raises(ValueError, match="peak must be a number, at least 0"):
        make(lehr.Linear(), 10, peak=-0.1)
