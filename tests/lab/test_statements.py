"""Claims that a comparison was given: written down before its runs, and what becomes of them when it goes on."""

from pathlib import Path

import pytest

import lehr
from lab.test_comparison import found
from lehr import lab
from lehr.lab.statements import NAME, Statement, findings, read_statements

CONTEST = {"task": "digits", "methods": ["linear", "step"], "budget": "4steps"}


class StoppedError(Exception):
    """The run that was to be the first."""


def test_claims_are_there_before_the_first_run(tmp_path: Path) -> None:
    def stop(under_way: object, done: object, total: object) -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        lehr.compare(**CONTEST, seeds=2, claims=["linear > step"], out=tmp_path, watch=stop)
    stated = Statement(lab.Claim("linear", "step"), seeds=2, runs=0)
    assert read_statements(tmp_path) == (stated,)
    assert not (tmp_path / "results.json").exists()
    lehr.compare(**CONTEST, seeds=2, claims=["linear > step", "step > linear", "step > linear"], out=tmp_path)
    assert read_statements(tmp_path)[0] == stated


def test_what_is_added_when_runs_are_there_says_so(tmp_path: Path) -> None:
    lehr.compare(**CONTEST, seeds=2, out=tmp_path)
    assert read_statements(tmp_path) == ()
    results = lehr.compare(**CONTEST, seeds=3, claims=["step > linear"], out=tmp_path)
    assert read_statements(tmp_path) == (Statement(lab.Claim("step", "linear"), seeds=3, runs=4),)
    assert findings(results, read_statements(tmp_path))[0].endswith("Stated when 4 of its runs were finished.")
    page = (tmp_path / "report.html").read_text()
    assert "step &gt; linear: cannot tell" in page
    assert "Stated when 4 of its runs were finished." in page
    path = tmp_path / NAME
    path.write_text(path.read_text().replace('"runs": 4', '"runs": 0'))
    with pytest.raises(ValueError, match=r"claims\.json is damaged"):
        lab.write_report(tmp_path)


def test_a_claim_whose_methods_are_gone_stays_and_corrects_nothing() -> None:
    told = found({"linear": [0.90, 0.92, 0.91], "step": [0.80, 0.88, 0.85]})
    kept, gone = (Statement(lab.Claim("linear", other), seeds=3, runs=0) for other in ("step", "knee"))
    decided, open_ = findings(told, [kept, gone])
    assert f"p = {lab.examine(told, [kept.claim])[0].p:.3f}" in decided
    assert open_ == (
        "linear > knee: not decided, since these results are not about both methods. Stated before its runs."
    )


def test_claims_about_others_are_refused_before_any_run(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is about 'stepp', which is not among the methods linear, step"):
        lehr.compare(**CONTEST, claims=["linear > stepp"], out=tmp_path)
    assert not list(tmp_path.iterdir())
