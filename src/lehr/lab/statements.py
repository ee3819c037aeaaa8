"""Statements: claims as they were written down in the folder of a comparison, and whether that was before its runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from lehr.lab.claims import Claim, examine
from lehr.lab.files import write_text
from lehr.lab.reader import Count, read
from lehr.lab.results import Results, Several
from lehr.lab.sealed import read_bytes, seal, unseal

NAME: Final = "claims.json"


@dataclass(frozen=True)
class Statement:
    """A claim, with the number of seeds that was to decide it and the runs that could have suggested it.

    Args:
        claim: the claim.
        seeds: of each method when it was stated.
        runs: how many of the reported runs of its two methods were finished by then.
    """

    claim: Claim
    seeds: Several
    runs: Count

    def sentence(self, seeds: int) -> str:
        """When it was stated, and whether the number of seeds is still the one of then.

        Args:
            seeds: of each method now.

        >>> Statement(Claim("knee", "linear"), seeds=3, runs=0).sentence(3)
        'Stated before its runs.'
        >>> Statement(Claim("knee", "linear"), seeds=3, runs=6).sentence(5)
        'Stated when 6 of its runs were finished, for 3 seeds and not for 5.'
        """
        when = "before its runs" if not self.runs else f"when {self.runs:,} of its runs were finished"
        return f"Stated {when}{'' if seeds == self.seeds else f', for {self.seeds:,} seeds and not for {seeds:,}'}."


@dataclass(frozen=True)
class _File:
    """What the file holds."""

    statements: tuple[Statement, ...]


def read_statements(folder: str | Path) -> tuple[Statement, ...]:
    """The claims that were stated in the folder of a comparison, the first one first; none if there is no file of them.

    Args:
        folder: where `lehr compare` put its results.

    Raises:
        ValueError: if the file is damaged, or of another version of lehr.
    """
    path = Path(folder) / NAME
    if not path.exists():
        return ()
    body = unseal("claims", read_bytes(path), str(path))
    return read(_File, body, f"{path} is not what lehr compare writes").statements


def findings(results: Results, statements: Sequence[Statement]) -> list[str]:
    """What the results say of each claim that was stated, and when it was, as sentences.

    Args:
        results: of a comparison.
        statements: made in its folder; one about a method that did not compete this time is no longer decided.
    """
    names = results.names
    here = [one for one in statements if one.claim.better in names and one.claim.worse in names]
    found = {finding.claim: finding for finding in examine(results, [one.claim for one in here])}
    return [
        f"{found[one.claim].sentence(results.metric)} {one.sentence(results.seeds)}"
        if one.claim in found
        else f"{one.claim}: not decided, since these results are not about both methods. {one.sentence(results.seeds)}"
        for one in statements
    ]


def state(folder: Path, claims: Sequence[Claim], seeds: int, finished: Sequence[str]) -> None:
    """Write down the claims that are new, and leave those as they are that were stated before.

    Args:
        folder: of the comparison.
        claims: to state.
        seeds: of each method.
        finished: the method of each reported run that is there.
    """
    before = read_statements(folder)
    known = {statement.claim for statement in before}
    new = tuple(
        Statement(claim, seeds, sum(name in (claim.better, claim.worse) for name in finished))
        for claim in dict.fromkeys(claims)
        if claim not in known
    )
    if new:
        write_text(folder / NAME, seal("claims", asdict(_File((*before, *new))), indent=1))
