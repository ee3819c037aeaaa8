"""Results against budget: how methods rank when there is little to spend, and what that says of the full budget."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from lehr.lab.metric import Criterion
from lehr.lab.results import BudgetShare, ShareResult
from lehr.lab.run import Run
from lehr.lab.statistics import compare, summarise


def by_budget(
    methods: Sequence[str], shares: Sequence[tuple[float, int]], runs: Sequence[Run], metric: Criterion
) -> tuple[BudgetShare, ...]:
    """One entry for each share of the budget, from the smallest to the whole; empty if there is only the whole.

    Each says how the methods did, and how well their order on validation foretells their order on the test set at the
    full budget: the rank correlation, and what choosing the method that leads here would lose there. The entry of the
    full budget itself shows what the noise of the two sets alone costs.

    Args:
        methods: the names of the methods.
        shares: shares of the budget below 1, and how many seeds each has.
        runs: the runs at all shares, the full budget included.
        metric: what decides.
    """
    if not shares:
        return ()
    full = {name: _score([run.test for run in _of(runs, name, 1.0)], metric) for name in methods}
    ordered = (*sorted(share for share, _ in shares), 1.0)
    return tuple(_entry(share, methods, runs, metric, full) for share in ordered)


def _entry(
    share: float, methods: Sequence[str], runs: Sequence[Run], metric: Criterion, full: Mapping[str, float]
) -> BudgetShare:
    from scipy import stats

    here = {name: _of(runs, name, share) for name in methods}
    validation = {name: _score([run.validation for run in mine], metric) for name, mine in here.items()}
    test = {name: _score([run.test for run in mine], metric) for name, mine in here.items()}
    ranks = dict(zip(methods, stats.rankdata([-test[name] for name in methods]), strict=True))
    first = max(methods, key=lambda name: test[name])
    best = first if math.isfinite(test[first]) else None
    leads = max(methods, key=lambda name: validation[name])
    by_seed = {name: {run.seed: run.test for run in mine if run.test is not None} for name, mine in here.items()}
    pairings = compare(by_seed, best, higher_is_better=metric.higher_is_better) if best else {}
    made = [run for mine in here.values() for run in mine]
    return BudgetShare(
        share=share,
        seeds=max(len(mine) for mine in here.values()),
        updates=max(run.updates for run in made),
        seconds=sum(run.seconds for run in made),
        best=best,
        tied_with_best=tuple(name for name, pairing in pairings.items() if pairing.tied),
        leads_on_validation=leads if math.isfinite(validation[leads]) else None,
        lost_at_full=max(full.values()) - full[leads] if math.isfinite(full[leads]) else None,
        rank_correlation=_correlation([validation[n] for n in methods], [full[n] for n in methods]),
        methods=tuple(
            ShareResult(
                method=name,
                test=summarise(list(by_seed[name].values())) if by_seed[name] else None,
                diverged=sum(run.diverged_at is not None for run in mine),
                rank=float(ranks[name]),
                against_best=pairings.get(name),
            )
            for name, mine in here.items()
        ),
    )


def _of(runs: Sequence[Run], method: str, share: float) -> list[Run]:
    return [run for run in runs if run.method == method and run.share == share]


def _score(values: Sequence[float | None], metric: Criterion) -> float:
    """The mean, so that more is better; a method of which a run diverged comes last."""
    if not values or any(value is None for value in values):
        return -math.inf
    mean = sum(value for value in values if value is not None) / len(values)
    return mean if metric.higher_is_better else -mean


def _correlation(here: Sequence[float], full: Sequence[float]) -> float | None:
    """Spearman's rank correlation; None where there is no order to speak of."""
    if len(set(here)) < 2 or len(set(full)) < 2:
        return None
    from scipy import stats

    return float(stats.spearmanr(here, full).statistic)
