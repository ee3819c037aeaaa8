"""The results of a comparison: typed values, how they read, and their file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from html import escape
from typing import Annotated

from lehr.lab.metric import Criterion
from lehr.lab.placement import Placement
from lehr.lab.reader import Count, Positive, Share, Within, read
from lehr.lab.run import Run
from lehr.lab.sealed import seal, unseal
from lehr.lab.statistics import Pairing, Summary

Several = Annotated[int, Within(1)]
Correlation = Annotated[float, Within(-1.0, 1.0)]


@dataclass(frozen=True)
class Setting:
    """What all runs of a comparison share; a run made under another is never taken for one of it.

    Args:
        task: its name.
        code: a hash of the user's own code, if the task is theirs.
        data: a hash of the data.
        budget: what a run may spend.
        evaluations: how often a run is validated.
        placement: on which kind of device, in which precision, whether compiled, how many batches make an update, and
            how many processes train a run together.
    """

    task: str
    code: str | None
    data: str
    budget: str
    evaluations: Several
    placement: Placement

    def unlike(self, other: Setting) -> str:
        """What differs in `other`, as text; empty if nothing does."""
        pairs = [(item.name, getattr(other, item.name), getattr(self, item.name)) for item in fields(self)]
        return ", ".join(f"{name} {there!r} there, {here!r} here" for name, there, here in pairs if there != here)


@dataclass(frozen=True)
class Environment:
    """What a reader must know to make the figures again.

    Args:
        lehr: its version.
        commit: of its checkout, with a plus sign if it was changed since; None for an installed wheel.
        python: its version.
        torch: its version.
        packages: the versions of others.
        platform: the operating system.
        processor: its model.
        cores: how many.
    """

    lehr: str
    commit: str | None
    python: str
    torch: str
    packages: dict[str, str]
    platform: str
    processor: str
    cores: Count | None


@dataclass(frozen=True)
class Divergence:
    """A run whose loss or result was not finite, or that could not go on.

    Args:
        seed: of the run.
        update: at which it broke off.
        failure: why it could not go on; None if the loss or result was not finite.
    """

    seed: Count
    update: Count
    failure: str | None = None


@dataclass(frozen=True)
class Cost:
    """What runs cost together.

    Args:
        runs: how many.
        updates: made.
        seconds: of training.
        forward_passes: of one batch.
        evaluation_passes: of up to 1,000 examples.
        diverged: how many of the runs broke off.
    """

    runs: Count = 0
    updates: Count = 0
    seconds: Positive = 0.0
    forward_passes: Count = 0
    evaluation_passes: Count = 0
    diverged: Count = 0

    @classmethod
    def of(cls, runs: Sequence[Run]) -> Cost:
        """The cost of these runs."""
        return cls(
            runs=len(runs),
            updates=sum(run.updates for run in runs),
            seconds=sum(run.seconds for run in runs),
            forward_passes=sum(run.forward_passes for run in runs),
            evaluation_passes=sum(run.evaluation_passes for run in runs),
            diverged=sum(run.diverged_at is not None for run in runs),
        )


@dataclass(frozen=True)
class ToTarget:
    """The way to the winner's mean result on validation.

    Args:
        reached: how many runs came there.
        of: how many there are.
        updates: the median of those that did; None if none did.
        seconds: likewise.
    """

    reached: Count
    of: Count
    updates: Positive | None
    seconds: Positive | None


@dataclass(frozen=True)
class MethodResult:
    """What one method came to at the whole budget.

    Args:
        method: its name.
        policy: the method as code.
        source: whom it is from.
        lr: its peak rate; the median where it finds its own.
        lr_at_edge: whether that is the lowest or highest of the grid.
        finds_peak: whether it finds its own.
        diverged: its runs that broke off.
        test: its results on the test set; None if no run finished.
        validation: its results on the validation set; None if no run finished.
        cost: of its runs.
        search_cost: of the runs that chose its peak rate.
        against_best: the best method against it; None for the best itself.
        to_target: its way to the winner's validation; None without a winner.

    >>> from lehr import lab
    >>> row = lab.compare("digits", ["linear"], budget="4steps", seeds=1).of("linear")
    >>> row.policy, row.cost.updates, row.diverged
    ('Linear()', 4, ())
    """

    method: str
    policy: str
    source: str
    lr: Positive
    lr_at_edge: bool
    finds_peak: bool
    diverged: tuple[Divergence, ...]
    test: Summary | None
    validation: Summary | None
    cost: Cost
    search_cost: Cost
    against_best: Pairing | None = None
    to_target: ToTarget | None = None


@dataclass(frozen=True)
class ShareResult:
    """What one method came to at a share of the budget.

    Args:
        method: its name.
        test: its results on the test set; None if no run finished.
        diverged: how many runs broke off.
        rank: among the methods, from 1.
        against_best: the best method of this share against it.
    """

    method: str
    test: Summary | None
    diverged: Count
    rank: Positive
    against_best: Pairing | None


@dataclass(frozen=True)
class BudgetShare:
    """All methods at a share of the budget, and what that foretells of the whole.

    Args:
        share: of the budget.
        seeds: runs of each method.
        updates: the most that a run made.
        seconds: of all runs.
        best: the method with the best mean on the test set; None if none finished.
        tied_with_best: the methods whose difference to it may be chance.
        leads_on_validation: the method with the best mean there.
        lost_at_full: what choosing that one loses at the whole budget; None if it diverges there.
        rank_correlation: Spearman's, of the order on validation here and on the test set at the whole budget.
        methods: one entry each.

    >>> from lehr import lab
    >>> shares = lab.compare("digits", ["linear"], budget="4steps", seeds=1, shares=[0.5]).budgets
    >>> [(row.share, row.updates, row.best) for row in shares]
    [(0.5, 2, 'linear'), (1.0, 4, 'linear')]
    """

    share: Share
    seeds: Several
    updates: Count
    seconds: Positive
    best: str | None
    tied_with_best: tuple[str, ...]
    leads_on_validation: str | None
    lost_at_full: float | None
    rank_correlation: Correlation | None
    methods: tuple[ShareResult, ...]

    def of(self, method: str) -> ShareResult:
        """The entry of that method."""
        return next(one for one in self.methods if one.method == method)


@dataclass(frozen=True)
class Results:
    """Everything that a comparison found, as `results.json` holds it.

    In a notebook it shows itself as a small table and the validation curves.

    Args:
        command: how to do it again.
        setting: what all runs share.
        seeds: runs of each method.
        lr: the peak rate of all methods, if one was given.
        lr_grid: the peak rates that were tried.
        search_seeds: runs of each rate tried.
        metric: how the number reads by which methods are compared.
        best: the method with the best mean of those that finished all runs; None if none did.
        tied_with_best: the methods whose difference to it may well be chance.
        target: the winner's mean result on validation.
        methods: what each came to, the best first.
        budgets: what they came to at shares of the budget, from the smallest to the whole; empty if none was asked for.
        environment: versions and machine.
        runs: at the whole budget.
        smaller_runs: at shares of it.
        search_runs: those that chose rates.

    >>> from lehr import lab
    >>> results = lab.compare("digits", ["linear"], budget="4steps", seeds=2)
    >>> results.best, results.total.updates, Results.from_json(results.to_json()).names
    ('linear', 8, ['linear'])
    """

    command: str
    setting: Setting
    seeds: Several
    lr: Positive | None
    lr_grid: tuple[Positive, ...]
    search_seeds: Several
    metric: Criterion
    best: str | None
    tied_with_best: tuple[str, ...]
    target: float | None
    methods: tuple[MethodResult, ...]
    budgets: tuple[BudgetShare, ...]
    environment: Environment
    runs: tuple[Run, ...]
    smaller_runs: tuple[Run, ...]
    search_runs: tuple[Run, ...]

    def of(self, method: str) -> MethodResult:
        """What that method came to.

        Args:
            method: its name.

        Raises:
            ValueError: if it did not compete.
        """
        for row in self.methods:
            if row.method == method:
                return row
        raise ValueError(f"Results: there is no method {method!r}; there are {', '.join(self.names)}")

    @property
    def names(self) -> list[str]:
        """The methods, the best first."""
        return [row.method for row in self.methods]

    @property
    def total(self) -> Cost:
        """What all runs cost together."""
        return Cost.of([*self.runs, *self.smaller_runs, *self.search_runs])

    def standing(self, row: MethodResult) -> str:
        """How a method stands: best, tie, worse, untested with a single seed, or how many of its runs diverged."""
        if row.diverged:
            return f"{len(row.diverged)} of {row.cost.runs} {_ended(row.diverged)}"
        if row.method == self.best:
            return "best"
        if self.seeds < 2:
            return "untested"
        return "tie" if row.method in self.tied_with_best else "worse"

    def to_json(self) -> str:
        """The contents of `results.json`, with a checksum."""
        return seal("results", asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str | bytes, name: str = "the text") -> Results:
        """The results that `to_json` wrote.

        Args:
            text: what it wrote.
            name: what to call it in an error.

        Raises:
            ValueError: if the text is not, bit for bit, what this version of lehr wrote.
        """
        body = unseal("results", text, name)
        results = read(cls, body, f"{name} is not what lehr compare writes")
        if wrong := _contradiction(results):
            raise ValueError(f"{name} is not what lehr compare writes: {wrong}")
        return results

    def _repr_html_(self) -> str:
        """The verdict, a small table and the validation curves."""
        from lehr.lab.pictures import curves_as_svg  # which draws results
        from lehr.lab.plots import style

        styles = style(self.names)
        cells = [
            (row.method, self.standing(row), "-" if row.test is None else self.metric.show(row.test.mean),
             "-" if row.test is None or row.test.sd is None else self.metric.show(row.test.sd),
             "" if row.against_best is None else self.metric.show_gap(row.against_best.difference), f"{row.lr:.4g}")
            for row in self.methods
        ]  # fmt: skip
        head = "".join(f"<th>{escape(one)}</th>" for one in ("method", "", "mean", "sd", "gap to best", "peak rate"))
        rows = "".join(
            f"<tr><td style='color:{styles[row[0]][0]}'>&#9679;</td>"
            f"{''.join(f'<td>{escape(one)}</td>' for one in row)}</tr>"
            for row in cells
        )
        title = f"Test {self.metric.name} of {self.setting.task} after {self.setting.budget}"
        return (
            f"<p>{escape(verdict(self))}</p><table><caption>{escape(title)}</caption>"
            f"<thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table>{curves_as_svg(self)}"
        )


def _ended(runs: Sequence[Divergence]) -> str:
    """What those runs did that did not finish."""
    return "failed" if any(run.failure for run in runs) else "diverged"


def verdict(results: Results) -> str:
    """Who won, and how sure that is, in one or two sentences.

    Args:
        results: of a comparison.

    >>> from lehr import lab
    >>> verdict(lab.compare("digits", ["linear"], budget="4steps", seeds=1)).endswith(" %, alone.")
    True
    """
    best = results.best
    winner = results.of(best).test if best is not None else None
    if winner is None:
        return (
            "No method finished all its runs with a finite loss and result. Lower the peak rate, or look at the task."
        )
    mean = results.metric.show(winner.mean)
    reached = f"{best} reached {mean}"
    diverged = [row.method for row in results.methods if row.diverged]
    ended = _ended([run for row in results.methods for run in row.diverged])
    ending = f" {_listed(diverged)} {ended} at least once." if diverged else ""
    if len(results.methods) == 1:
        return f"{reached}, alone."
    if results.seeds < 2:
        return f"{reached}, ahead of the others, but one seed cannot show how much of that is chance.{ending}"
    tied = results.tied_with_best
    worse = [name for name in results.names if name != best and name not in tied and name not in diverged]
    if not tied and not worse:
        return f"{reached}; no other method finished all its runs.{ending}"
    if not tied:
        return f"{best} won with {mean}; no other method ties with it.{ending}"
    ties = "ties" if len(tied) == 1 else "tie"
    tie = f"{reached}, but {_listed(tied)} {ties} with it: the difference may well be chance."
    return f"{tie}{f' Worse: {_listed(worse)}.' if worse else ''}{ending}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _contradiction(results: Results) -> str | None:
    """What in results from a file does not go with the rest, by which no figure could be drawn."""
    names, every = results.names, [*results.runs, *results.smaller_runs, *results.search_runs]
    named = [*results.tied_with_best, *(run.method for run in every)] + ([results.best] if results.best else [])
    wrong = {
        "methods must be named, each once": not names or len(set(names)) < len(names),
        "a run or the verdict names a method that is not among its methods": not set(named) <= set(names),
        "a method has no runs": not set(names) <= {run.method for run in results.runs},
        "a decision has not as many losses as steps": any(
            len(one.steps) != len(one.losses) for run in every for one in run.decisions
        ),
        "a rate of lr_grid is not above 0": any(rate <= 0.0 for rate in results.lr_grid),
    }
    said = next((what for what, is_so in wrong.items() if is_so), None)
    return (
        said
        or next(filter(None, (_contradiction_of(row, results) for row in results.methods)), None)
        or next(filter(None, (_contradiction_at(share, names) for share in results.budgets)), None)
    )


def _contradiction_of(row: MethodResult, results: Results) -> str | None:
    if not row.cost.runs:
        return f"{row.method!r} has no runs"
    if (row.to_target is None) != (results.target is None):
        return f"{row.method!r} must have a way to the target where there is one"
    if row.method == results.best and row.test is None:
        return f"{row.method!r} is the best, but has no result"
    return None


def _contradiction_at(share: BudgetShare, names: Sequence[str]) -> str | None:
    if sorted(one.method for one in share.methods) != sorted(names):
        return f"the share {share.share:g} of the budget has other methods"
    if not {share.best, share.leads_on_validation, *share.tied_with_best} <= {None, *names}:
        return f"the share {share.share:g} of the budget names other methods"
    if share.best is not None and share.of(share.best).test is None:
        return f"{share.best!r} is the best of a share, but has no result"
    return None
