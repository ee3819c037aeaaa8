"""Claims such as "knee > linear", and what a comparison says of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lehr._numbers import shown
from lehr.lab.metric import Criterion
from lehr.lab.results import Results
from lehr.lab.statistics import LEVEL, MOST_PAIRS, holm, paired_test, pairs_needed, smallest_gap

Verdict = Literal["holds", "contradicted", "cannot tell"]


@dataclass(frozen=True)
class Claim:
    """That one method ends better than another, in the direction in which the metric is better.

    Args:
        better: the method that is said to be ahead.
        worse: the one behind.

    >>> Claim.parse("knee > linear")
    Claim(better='knee', worse='linear')
    """

    better: str
    worse: str

    @classmethod
    def parse(cls, text: str) -> Claim:
        """The claim in a text such as "knee > linear".

        Raises:
            TypeError: if it is no text.
            ValueError: if it does not say of two methods that one is ahead of the other.
        """
        if not isinstance(text, str):
            raise TypeError(f'a claim is a text such as "knee > linear", or a lehr.lab.Claim; got {shown(text)}')
        better, _, worse = (part.strip() for part in text.partition(">"))
        if not better or not worse or better == worse or ">" in worse:
            raise ValueError(f'a claim names two methods, as in "knee > linear"; got {shown(text)}')
        return cls(better, worse)

    def __str__(self) -> str:
        return f"{self.better} > {self.worse}"


@dataclass(frozen=True)
class Finding:
    """What a comparison says of a claim.

    Args:
        claim: the claim.
        verdict: "holds" or "contradicted" if p is below 0.05, else "cannot tell".
        n: seeds with which both methods finished.
        difference: the mean of (better - worse) over them, more is better; None without a pair.
        sd: its standard deviation over the seeds; None for fewer than two.
        p: two-sided p-value of the paired t-test, Holm-corrected for all claims; None for fewer than two.
        visible: the smallest difference that so many seeds show in four cases of five; None without spread.
        needed: how many seeds would show a difference as large as this one in four cases of five; None if there is no
            difference, or more than 10,000 would be needed.
        diverged: runs of either method that broke off.

    >>> from lehr import lab
    >>> results = lab.compare("digits", ["linear", "step"], budget="4steps", seeds=1)
    >>> finding = lab.examine(results, ["linear > step"])[0]
    >>> finding.verdict, finding.n, finding.p
    ('cannot tell', 1, None)
    """

    claim: Claim
    verdict: Verdict
    n: int
    difference: float | None
    sd: float | None
    p: float | None
    visible: float | None
    needed: int | None
    diverged: int

    def sentence(self, criterion: Criterion) -> str:
        """The finding in one or two sentences.

        Args:
            criterion: how the metric reads.
        """
        if self.difference is None:
            return f"{self.claim}: cannot tell, since there is no seed with which both finished."
        lost = f" {self._lost()}" if self.diverged else ""
        gap = _size(criterion, self.difference)
        seen = f"{'ahead' if self.difference > 0.0 else 'behind'} by {gap}" if self.difference else "no difference"
        if self.sd is None or self.p is None:
            return f"{self.claim}: cannot tell with one seed ({seen}); two are the least that show a spread.{lost}"
        p = f"p = {self.p:.3f}" if self.p >= 0.001 else "p < 0.001"
        seen += f", sd {_size(criterion, self.sd)}, n = {self.n}, {p}"
        return f"{self.claim}: {self.verdict} ({seen}). {self._power(criterion, gap)}{lost}"

    def _lost(self) -> str:
        return (
            "One run broke off and is left out."
            if self.diverged == 1
            else f"{self.diverged} runs broke off and are left out."
        )

    def _power(self, criterion: Criterion, gap: str) -> str:
        if self.visible is None:
            return f"The difference is the same for all seeds; p is that of {self.n} coins that fall alike."
        shown = f"{self.n} seeds show {_size(criterion, self.visible)} or more in four cases of five"
        if not self.difference:
            return f"{shown}."
        needed = f"{self.needed:,} seeds" if self.needed is not None else f"more than {MOST_PAIRS:,} seeds"
        return f"{shown}; to show {gap} takes {needed}."


def load_claims(given: Claim | str | Iterable[Claim | str]) -> list[Claim]:
    """The claim alone, or each of several.

    Raises:
        TypeError: if one is neither a text nor a claim.
        ValueError: if a text is no claim.

    >>> load_claims("knee > linear") == load_claims([Claim("knee", "linear")])
    True
    """
    several = [given] if isinstance(given, str | Claim) or not isinstance(given, Iterable) else given
    return [claim if isinstance(claim, Claim) else Claim.parse(claim) for claim in several]


def examine(results: Results, claims: Claim | str | Iterable[Claim | str]) -> list[Finding]:
    """What the results say of each claim, by paired t-tests over the seeds.

    How many seeds would be needed follows from the standard deviation and the difference that were seen, so it is as
    uncertain as they are.

    Args:
        results: of a comparison.
        claims: one about methods in it, or several.

    Raises:
        TypeError: if a claim is neither a text nor a `Claim`.
        ValueError: if a text is no claim, or names a method that did not compete.

    >>> from lehr import lab
    >>> results = lab.compare("digits", ["linear", "step"], budget="40steps", seeds=2)
    >>> [(finding.verdict, finding.n) for finding in lab.examine(results, ["linear > step"])]
    [('cannot tell', 2)]
    """
    each = load_claims(claims)
    gaps = [_gaps(results, claim) for claim in each]
    tests = {str(k): p for k, values in enumerate(gaps) if (p := paired_test(values)[2]) is not None}
    corrected = holm(tests)
    return [
        _finding(results, claim, values, corrected.get(str(k)))
        for k, (claim, values) in enumerate(zip(each, gaps, strict=True))
    ]


def _size(criterion: Criterion, value: float) -> str:
    """A difference without its sign, in percentage points where the metric is a percentage."""
    return f"{criterion.show_gap(abs(value))[1:]}{' points' if criterion.percent else ''}"


def _gaps(results: Results, claim: Claim) -> list[float]:
    better, worse = (
        {run.seed: run.test for run in results.runs if run.method == results.of(name).method and run.test is not None}
        for name in (claim.better, claim.worse)
    )
    return [results.metric.sign * (better[seed] - worse[seed]) for seed in sorted(better.keys() & worse.keys())]


def _mean(gaps: Sequence[float]) -> float:
    """Their mean, and 0 where they cancel but for rounding."""
    mean = float(np.mean(gaps))
    return 0.0 if abs(mean) <= 1e-9 * float(np.max(np.abs(gaps))) else mean


def _finding(results: Results, claim: Claim, gaps: list[float], p: float | None) -> Finding:
    n, difference = len(gaps), _mean(gaps) if gaps else None
    sd = float(np.std(gaps, ddof=1)) if n > 1 else None
    if p is None or p >= LEVEL or difference is None:
        verdict: Verdict = "cannot tell"
    else:
        verdict = "holds" if difference > 0.0 else "contradicted"
    spread = sd is not None and sd > 0.0
    return Finding(
        claim, verdict, n, difference, sd, p,
        visible=smallest_gap(sd, n) if spread and sd is not None else None,
        needed=pairs_needed(sd, abs(difference)) if spread and sd is not None and difference else None,
        diverged=sum(
            run.diverged_at is not None for run in results.runs if run.method in (claim.better, claim.worse)
        ),
    )  # fmt: skip
