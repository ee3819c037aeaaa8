"""What is said of a claim, against scipy, and what of a claim that nothing can be said of."""

import pytest
from scipy import stats

from lab.test_comparison import found
from lehr import lab
from lehr.lab.statistics import MOST_PAIRS, pairs_needed, smallest_gap

RUNS = {"linear": [0.90, 0.92, 0.91, 0.93], "cosine": [0.91, 0.88, 0.90, 0.90], "step": [0.80, 0.81, 0.80, 0.82]}


def test_findings_are_paired_tests() -> None:
    told = found(RUNS)
    ahead, behind, open_ = lab.examine(told, ["linear > step", "step > linear", "linear > cosine"])
    p = float(stats.ttest_rel(RUNS["linear"], RUNS["step"]).pvalue)
    assert (ahead.verdict, behind.verdict, open_.verdict) == ("holds", "contradicted", "cannot tell")
    assert ahead.p == pytest.approx(3 * p)
    assert ahead.difference == pytest.approx(-behind.difference) == pytest.approx(0.1075)
    assert lab.examine(told, ["linear > step"])[0].p == pytest.approx(p)


def test_more_seeds_are_asked_for_where_there_are_too_few() -> None:
    finding = lab.examine(found(RUNS), [lab.Claim("linear", "cosine")])[0]
    assert finding.sd is not None and finding.difference is not None and finding.needed is not None
    assert finding.needed > finding.n == 4
    assert smallest_gap(finding.sd, finding.needed) <= finding.difference < smallest_gap(finding.sd, finding.needed - 1)
    said = finding.sentence(found(RUNS).metric)
    assert said.startswith("linear > cosine: cannot tell (ahead by 1.75 points, sd ")
    assert said.endswith(f"to show 1.75 points takes {finding.needed} seeds.")


def test_pairs_beyond_all_bounds_are_none() -> None:
    assert pairs_needed(1.0, smallest_gap(1.0, MOST_PAIRS) * 0.999) is None
    assert pairs_needed(1.0, smallest_gap(1.0, MOST_PAIRS)) == MOST_PAIRS


def test_too_few_runs_say_so() -> None:
    told = found({"linear": [0.9, None, 0.92], "cosine": [0.8, 0.7, None], "step": [None, None, 0.4]})
    one, none, same = lab.examine(told, ["linear > cosine", "cosine > step", "step > linear"])
    assert one.sentence(told.metric) == (
        "linear > cosine: cannot tell with one seed (ahead by 10.00 points); two are the least that show a spread. "
        "2 runs broke off and are left out."
    )
    assert none.sentence(told.metric).startswith("cosine > step: cannot tell, since there is no seed")
    assert same.n == 1
    equal = lab.examine(found({"linear": [0.9, 0.91], "cosine": [0.9, 0.91]}), ["linear > cosine"])[0]
    assert (equal.verdict, equal.needed) == ("cannot tell", None)
    assert "cannot tell (no difference, sd 0.00 points, n = 2, p = 1.000)" in equal.sentence(told.metric)
    crossing = found({"linear": [0.1, 0.2, 0.0], "cosine": [0.0, 0.0, 0.3]})  # but for rounding
    said = lab.examine(crossing, ["linear > cosine"])[0].sentence(told.metric)
    assert "cannot tell (no difference, sd " in said
    assert said.endswith("points or more in four cases of five.")


def test_ahead_is_what_is_better() -> None:
    told = found({"linear": [2.0, 2.1, 2.2], "cosine": [1.0, 1.1, 1.21]}, lab.TOKEN_LOSS)
    (behind,) = lab.examine(told, ["linear > cosine"])
    assert behind.sentence(told.metric).startswith("linear > cosine: contradicted (behind by 0.9967, sd ")


@pytest.mark.parametrize("text", ["linear", "linear >", "> linear", "linear > linear", "a > b > c", "a < b"])
def test_what_is_no_claim(text: str) -> None:
    with pytest.raises(ValueError, match="a claim names two methods"):
        lab.Claim.parse(text)


def test_claims_about_others_are_refused() -> None:
    with pytest.raises(ValueError, match="there is no method 'knee'"):
        lab.examine(found(RUNS), ["knee > linear"])
