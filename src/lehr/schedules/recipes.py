"""Well-known schedules that are compositions of others."""

from __future__ import annotations

from lehr._numbers import shown
from lehr.schedules import _check
from lehr.schedules.cycles import Triangular
from lehr.schedules.schedule import Constant, Schedule
from lehr.schedules.shapes import Cosine, Exponential, Linear, OneMinusSqrt


def clr_decay(low: float, until: float) -> Schedule:
    """CLR's control policy "decay": straight down from 1 to `low`, then constant.

        f(p) = low + (1 - low) max(0, 1 - p / until)

    Args:
        low: final factor (base_lr / max_lr), at least 0.
        until: share of the budget that the descent takes (step_size / iterations), in (0, 1].

    Source: Smith 2017 (arXiv 1506.01186), section 3.1.

    >>> [clr_decay(low=0.5, until=0.5)(p) for p in (0.0, 0.25, 0.5, 1.0)]
    [1.0, 0.75, 0.5, 0.5]
    """
    low, until = _check.factor("clr_decay", "low", low), _check.share("clr_decay", "until", until)
    return Linear(1.0, low).until(until)


def exp_range(cycles: float, low: float, end: float) -> Schedule:
    """CLR "exp_range" as the paper's text has it: triangles whose both bounds decay exponentially.

        f(p) = (low + (1 - low) triangle(p)) end^p

    Args:
        cycles: cycles in the budget, above 0.
        low: base_lr / max_lr at the start, in [0, 1].
        end: what the bounds are multiplied by over the budget, in (0, 1]; CLR's `gamma` to the number of updates.

    Source: Smith 2017 (arXiv 1506.01186), section 3.1. torch and Keras decay only the amplitude: see
    `exp_range_amplitude`.

    >>> [round(exp_range(cycles=2, low=0.5, end=0.25)(p), 4) for p in (0.25, 0.5, 1.0)]
    [0.7071, 0.25, 0.125]
    """
    low, decay = _check.unit("exp_range", "low", low), _endless_exponential("exp_range", cycles, end)
    return Triangular(cycles, low) * decay


def exp_range_amplitude(cycles: float, low: float, end: float) -> Schedule:
    """CLR "exp_range" as torch and Keras have it: triangles over a fixed floor, whose height decays exponentially.

        f(p) = low + (1 - low) triangle(p) end^p

    Args:
        cycles: cycles in the budget, above 0.
        low: base_lr / max_lr, in [0, 1].
        end: what the height is multiplied by over the budget, in (0, 1]; `gamma` to the number of updates.

    Source: `torch.optim.lr_scheduler.CyclicLR(mode="exp_range")`.

    >>> [round(exp_range_amplitude(cycles=2, low=0.5, end=0.25)(p), 4) for p in (0.25, 0.5, 1.0)]
    [0.8536, 0.5, 0.5]
    """
    low = _check.unit("exp_range_amplitude", "low", low)
    decay = _endless_exponential("exp_range_amplitude", cycles, end)
    return (Triangular(cycles) * decay).between(low)


def knee(explore: float = 0.5, warmup: float = 0.0) -> Schedule:
    """Explore-exploit ("Knee"): hold the peak rate for `explore` of the budget, then straight to zero.

    Args:
        explore: share of the budget at the peak, in (0, 1).
        warmup: share of the budget for a linear warm-up in front, in [0, 1 - explore).

    Source: Iyer et al., "Wide-minima density hypothesis and the explore-exploit learning rate schedule", JMLR 24(65),
    2023 (arXiv 2003.03977); half the budget is their default.

    >>> [knee(explore=0.5)(p) for p in (0.25, 0.5, 0.75, 1.0)]
    [1.0, 1.0, 0.5, 0.0]
    """
    explore = _check.inside("knee", "explore", explore)
    warmup = _checked_warmup("knee", warmup, 1.0 - explore, "1 - explore")
    plateau = Constant().then(Linear(), at=explore / (1.0 - warmup))
    return plateau.after_warmup(warmup)


def one_cycle(rise: float = 0.3, initial: float = 1 / 25, final: float = 1 / 25e4) -> Schedule:
    """One-cycle: a cosine from `initial` up to 1 over `rise` of the budget, and a longer one down to `final`.

    torch's `OneCycleLR` spans one update less: it is this curve at `k / (n - 1)` with
    `rise=(pct_start * n - 1) / (n - 1)`, and it also moves momentum the other way, which here is
    `Scheduler(..., also={"momentum": Cosine(1, 0.895).then(Cosine(0.895, 1), at=0.3)})` with a base of 0.95.

    Args:
        rise: share of the budget that the ascent takes (pct_start), in (0, 1).
        initial: first factor (1 / div_factor), at least 0.
        final: last factor (1 / (div_factor * final_div_factor)), at least 0.

    Source: Smith and Topin, "Super-convergence", 2018 (arXiv 1708.07120), with fastai's cosine legs.

    >>> [round(one_cycle()(p), 2) for p in (0.0, 0.3, 0.65, 1.0)]
    [0.04, 1.0, 0.5, 0.0]
    """
    rise = _check.inside("one_cycle", "rise", rise)
    initial, final = _check.factor("one_cycle", "initial", initial), _check.factor("one_cycle", "final", final)
    return Cosine(initial, 1.0).then(Cosine(1.0, final), at=rise)


def triangular2(cycles: float, low: float) -> Schedule:
    """CLR "triangular2": triangles over a fixed floor, whose height halves with each cycle.

        f(p) = low + (1 - low) triangle(p) / 2^floor(cycles p)

    Args:
        cycles: cycles in the budget, above 0.
        low: base_lr / max_lr, in [0, 1].

    Source: Smith 2017 (arXiv 1506.01186), section 3.1.

    >>> [triangular2(cycles=2, low=0.5)(p) for p in (0.25, 0.5, 0.75)]
    [1.0, 0.5, 0.75]
    """
    cycles, low = _check.positive("triangular2", "cycles", cycles), _check.unit("triangular2", "low", low)
    return Triangular().repeated(cycles, scale=0.5).between(low)


def warmup_stable_decay(warmup: float = 0.05, decay: float = 0.2, shape: Schedule | None = None) -> Schedule:
    """Warm-up, a constant stretch and a cooldown (WSD, "trapezoidal").

    Args:
        warmup: share of the budget for the linear warm-up, in [0, 1 - decay).
        decay: share of the budget for the cooldown, in (0, 1).
        shape: the cooldown's curve; `OneMinusSqrt()` if not given.

    Source: Hu et al., "MiniCPM", 2024 (arXiv 2404.06395); cooldown shapes: Hägele et al. 2024 (arXiv 2405.18392).

    >>> [warmup_stable_decay(warmup=0.1, decay=0.2)(p) for p in (0.0, 0.1, 0.8, 1.0)]
    [0.0, 1.0, 1.0, 0.0]
    """
    shape = OneMinusSqrt() if shape is None else shape
    if not isinstance(shape, Schedule):
        raise TypeError(f"warmup_stable_decay: shape must be a schedule; got {shown(shape)}")
    decay = _check.inside("warmup_stable_decay", "decay", decay)
    warmup = _checked_warmup("warmup_stable_decay", warmup, 1.0 - decay, "1 - decay")
    plateau = Constant().then(shape, at=(1.0 - warmup - decay) / (1.0 - warmup))
    return plateau.after_warmup(warmup)


def _endless_exponential(recipe: str, cycles: float, end: float) -> Schedule:
    """`end^p`, written cycle by cycle so that it goes on beyond the budget as the cycles do."""
    cycles, end = _check.positive(recipe, "cycles", cycles), _check.above_zero(recipe, "end", end)
    if end > 1.0:
        raise ValueError(f"{recipe}: end is a share of the rate and must be above 0, at most 1; got {shown(end)}")
    each = end ** (1.0 / cycles)
    if not each:
        raise ValueError(f"{recipe}: cycles={cycles} and end={end} leave nothing of the rate after the first cycle")
    return Exponential(each).repeated(cycles, scale=each)


def _checked_warmup(recipe: str, warmup: float, room: float, name: str) -> float:
    given = _check.number(recipe, "warmup", warmup)
    if not 0.0 <= given < room:
        raise ValueError(f"{recipe}: warmup must be at least 0 and below {name} = {room:g}; got {shown(given)}")
    return given
