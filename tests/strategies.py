"""Random schedules and budgets: the shared vocabulary of the property tests. A new schedule joins here."""

from __future__ import annotations

from hypothesis import strategies as st

import lehr
from lehr import Schedule

factors = st.floats(0.0, 4.0, allow_subnormal=False)
shares = st.floats(0.05, 0.95)
lows = st.floats(0.0, 1.0, allow_subnormal=False)
progresses = st.one_of(st.floats(0.0, 1.0), st.floats(0.0, 3.0), st.integers(0, 300).map(lambda k: k / 100))

decays: st.SearchStrategy[Schedule] = st.one_of(
    st.builds(lehr.Constant, factors),
    st.builds(lehr.Linear, factors, factors),
    st.builds(lehr.Cosine, factors, factors),
    st.builds(lehr.Polynomial, st.floats(0.1, 5.0), factors, factors),
    st.builds(lehr.Exponential, st.floats(1e-4, 4.0), st.floats(1e-4, 4.0)),
    st.builds(lehr.InverseSqrt, st.floats(0.01, 10.0)),
    st.builds(lehr.Steps, st.lists(shares, unique=True, max_size=4).map(sorted).map(tuple), st.floats(0.0, 1.0)),
    st.builds(lehr.Rex),
    st.builds(lehr.HyperbolicTangent, st.floats(-8.0, -0.5), st.floats(0.5, 8.0)),
    st.builds(lehr.OneMinusSqrt, factors, factors),
)
"""Curves that hold their value beyond the budget."""

cycles: st.SearchStrategy[Schedule] = st.one_of(
    st.builds(lehr.Triangular, st.floats(0.3, 20.0), lows),
    st.builds(lehr.WarmRestarts, st.floats(0.3, 6.0), st.one_of(st.just(1.0), st.floats(1.1, 4.0)), lows),
    st.builds(lehr.schedules.triangular2, st.floats(0.3, 20.0), lows),
    st.builds(lehr.schedules.exp_range, st.floats(0.3, 20.0), lows, st.floats(0.01, 1.0)),
    st.builds(lehr.schedules.exp_range_amplitude, st.floats(0.3, 20.0), lows, st.floats(0.01, 1.0)),
)

recipes: st.SearchStrategy[Schedule] = st.one_of(
    st.builds(lehr.schedules.clr_decay, lows, shares),
    st.builds(lehr.knee, st.floats(0.1, 0.7), st.floats(0.0, 0.2)),
    st.builds(lehr.one_cycle, shares, lows, lows),
    st.builds(lehr.warmup_stable_decay, st.floats(0.0, 0.3), st.floats(0.1, 0.6)),
)


def _grown(inner: st.SearchStrategy[Schedule]) -> st.SearchStrategy[Schedule]:
    return st.one_of(
        st.builds(lambda a, b: a * b, inner, inner),
        st.builds(lambda a, b, at: a.then(b, at=at), inner, inner, shares),
        st.builds(lambda a, share, start: a.after_warmup(share, start), inner, shares, lows),
        st.builds(lambda a, end: a.until(end), inner, shares),
        st.builds(lambda a, times, scale: a.repeated(times, scale), inner, st.floats(0.3, 9.0), lows),
        st.builds(lambda a, every: a.sampled(every), inner, shares),
        st.builds(lambda a, low, room: a.clip(low, low + room), inner, lows, lows),
        st.builds(lambda a, low: a.clip(low=low), inner, lows),
        st.builds(lambda a, low, high: a.between(low, high), inner, lows, lows),
    )


schedules: st.SearchStrategy[Schedule] = st.recursive(st.one_of(decays, cycles, recipes), _grown, max_leaves=4)
"""Random trees of everything there is."""

amounts = st.floats(0.5, 1e6, allow_nan=False)
budgets: st.SearchStrategy[lehr.Budget] = st.one_of(
    st.builds(lambda n: lehr.Budget(steps=n), st.integers(1, 10**9)),
    st.builds(lambda n, each: lehr.Budget(epochs=n, steps_per_epoch=each), amounts, st.integers(1, 10**5)),
    st.builds(lambda n, each: lehr.Budget(samples=n, samples_per_step=each), amounts, st.integers(1, 4096)),
    st.builds(lambda n, each: lehr.Budget(tokens=n, tokens_per_step=each), amounts, st.integers(1, 10**6)),
    st.builds(lambda n: lehr.Budget(seconds=n), amounts),
    st.builds(lambda n: lehr.Budget.every(steps=n), st.integers(1, 10**9)),
)
