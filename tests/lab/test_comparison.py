"""What the runs amount to: ranks, ties, divergence, targets, cost."""

from __future__ import annotations

import pytest

from lab.small import run
from lehr import lab
from lehr.lab.comparison import SEARCH_SEED, Job, choose_rates, results
from lehr.lab.report import render
from lehr.lab.results import Divergence, ToTarget


def found(tests: dict[str, list[float | None]], metric: lab.Metric = lab.ACCURACY, **arguments: object) -> lab.Results:
    names = ",".join(tests)
    comparison = lab.Comparison(
        "digits", lab.load_methods(names), lab.Settings("10ep"), seeds=len(next(iter(tests.values()))), **arguments
    )
    runs = [
        run(name, seed, value, diverged_at=None if value is not None else 5)
        for name, values in tests.items()
        for seed, value in enumerate(values)
    ]
    searched = [run(name, SEARCH_SEED, 0.5, lr=lr) for name in tests for lr in comparison.lr_grid]
    setting = comparison.setting(None, "0", lab.Settings("10ep", placement=lab.Placement("cpu")))
    return results(comparison, setting, metric.criterion, runs, searched, "lehr compare")


def test_the_best_mean_wins_and_others_tie_or_do_worse() -> None:
    told = found({"linear": [0.90, 0.91, 0.92], "cosine": [0.89, 0.92, 0.905], "step": [0.70, 0.71, 0.722]})
    assert told.names == ["linear", "cosine", "step"]
    assert (told.best, told.tied_with_best) == ("linear", ("cosine",))
    assert lab.verdict(told) == (
        "linear reached 91.00 %, but cosine ties with it: the difference may well be chance. Worse: step."
    )


def test_lower_may_be_better() -> None:
    told = found({"linear": [2.0, 2.1, 2.2], "cosine": [1.0, 1.1, 1.21]}, lab.TOKEN_LOSS)
    assert told.best == "cosine"
    assert told.methods[1].against_best.difference > 0
    assert lab.verdict(told) == "cosine won with 1.1033; no other method ties with it."


def test_a_method_that_diverges_cannot_win() -> None:
    told = found({"linear": [0.5, 0.51, 0.52], "constant": [0.9, None, 0.91]})
    assert told.best == "linear"
    row = told.methods[1]
    assert row.diverged == (Divergence(seed=1, update=5),)
    assert row.test.n == 2
    assert "1 of 3 diverged" in render(told)
    assert "diverged (loss or result not finite) with seed 1 at update 5" in render(told)


def test_diverged_rivals_are_not_called_beaten() -> None:
    told = found({"linear": [0.5, 0.51, 0.52], "constant": [0.9, None, 0.91], "sgdr": [None, None, None]})
    assert lab.verdict(told) == (
        "linear reached 51.00 %; no other method finished all its runs. constant and sgdr diverged at least once."
    )
    told = found({"linear": [0.5, 0.51, 0.52], "cosine": [0.4, 0.41, 0.424], "sgdr": [None, None, None]})
    assert lab.verdict(told) == "linear won with 51.00 %; no other method ties with it. sgdr diverged at least once."
    assert "diverged in every run" in render(told)


def test_a_rate_given_for_all_is_reported() -> None:
    assert "peak rate <b>0.25 for all</b>" in render(found({"linear": [0.5, 0.51]}, lr=0.25))
    assert "the task's own" in render(found({"linear": [0.5, 0.51]}))


def test_all_may_diverge() -> None:
    told = found({"linear": [None, None], "constant": [None, None]})
    assert told.best is None
    assert lab.verdict(told).startswith("No method finished all its runs")
    assert "2 of 2 diverged" in render(told)


def test_one_seed_claims_nothing() -> None:
    told = found({"linear": [0.9], "cosine": [0.8]})
    assert "one seed cannot show" in lab.verdict(told)
    assert "untested" in render(told)


def test_one_method_is_alone() -> None:
    assert lab.verdict(found({"linear": [0.9, 0.8]})) == "linear reached 85.00 %, alone."


def test_the_way_to_the_winners_result() -> None:
    told = found({"linear": [0.8, 0.8, 0.83], "cosine": [0.82, 0.7, 0.7]})
    assert told.target == pytest.approx(0.81)
    assert told.of("linear").to_target == ToTarget(reached=1, of=3, updates=20, seconds=0.2)
    assert told.of("cosine").to_target == ToTarget(reached=1, of=3, updates=20, seconds=0.2)


def test_no_rate_is_searched_for_a_method_that_finds_its_own() -> None:
    methods = lab.load_methods("learned, linear")
    comparison = lab.Comparison("digits", methods, lab.Settings("1ep"), seeds=1, lr_grid=(0.1, 0.3))
    assert [job.method.name for job in comparison.search()] == ["linear", "linear"]
    assert [(job.method.name, job.lr) for job in comparison.final({"linear": 0.3})] == [
        ("learned", None),
        ("linear", 0.3),
    ]
    given = lab.Comparison("digits", methods, lab.Settings("1ep"), seeds=1, lr=0.2)
    assert [job.lr for job in given.final({})] == [None, 0.2]


def test_the_search_is_part_of_the_cost() -> None:
    told = found({"linear": [0.9, 0.8], "cosine": [0.8, 0.7]}, lr_grid=(0.1, 0.2, 0.3))
    row = told.methods[0]
    assert (row.search_cost.runs, row.search_cost.updates, row.cost.runs) == (3, 120, 2)
    assert row.lr_at_edge
    assert "Choosing the peak rate" in render(told)


def test_rates_are_chosen_on_validation() -> None:
    runs = [run("a", 0, 0.7, lr=0.1), run("a", 0, 0.9, lr=0.2), run("a", 0, None, lr=0.4, diverged_at=3)]
    runs += [run("b", 0, None, lr=lr, diverged_at=3) for lr in (0.4, 0.1)]
    assert choose_rates(runs, lab.ACCURACY.criterion) == {"a": 0.2, "b": 0.1}
    assert choose_rates(runs[:2], lab.TOKEN_LOSS.criterion) == {"a": 0.1}


def test_a_rate_that_passes_with_one_seed_and_fails_with_the_next_is_not_chosen() -> None:
    runs = [run("a", SEARCH_SEED, 0.90, lr=0.1), run("a", SEARCH_SEED, 0.95, lr=0.3)]
    assert choose_rates(runs, lab.ACCURACY.criterion) == {"a": 0.3}
    again = [run("a", SEARCH_SEED + 1, 0.90, lr=0.1), run("a", SEARCH_SEED + 1, 0.10, lr=0.3)]
    assert choose_rates([*runs, *again], lab.ACCURACY.criterion) == {"a": 0.1}
    diverged = [run("a", SEARCH_SEED + 1, 0.90, lr=0.1), run("a", SEARCH_SEED + 1, None, lr=0.3, diverged_at=5)]
    assert choose_rates([*runs, *diverged], lab.ACCURACY.criterion) == {"a": 0.1}
    jobs = lab.Comparison("digits", [lab.METHODS["linear"]], lab.Settings("1ep"), lr_grid=(0.1, 0.3), search_seeds=2)
    assert [job.file for job in jobs.search()] == [
        "linear_lr-0.1_search.json",
        "linear_lr-0.3_search.json",
        "linear_lr-0.1_search-1.json",
        "linear_lr-0.3_search-1.json",
    ]
    assert all(job.searches for job in jobs.search())


def test_files_are_readable_and_unique() -> None:
    jobs = [Job(method, lr, seed) for method in lab.load_methods("linear,Linear(),Linear(1),Linear(1.0)")
            for lr in (None, 0.1) for seed in (0, SEARCH_SEED)]  # fmt: skip
    names = [job.file for job in jobs]
    assert len(set(names)) == len(names)
    assert names[0] == "linear_lr-task_seed-0.json"
    assert Job(jobs[0].method, 0.1234567, 0).file != Job(jobs[0].method, 0.1234568, 0).file
    assert names[3] == "linear_lr-0.1_search.json"
    assert all("/" not in name and " " not in name for name in names)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "--methods is empty"),
        ("linear,linear", "--methods names linear twice"),
        ("liner", r"unknown method 'liner' \(did you mean linear\?\)"),
        ("Liner()", "unknown schedule 'Liner'"),
        ("FreezeOut(0.5)", r"cannot read FreezeOut\(0.5\)"),
        ("FreezeOut(t=0.5)", "cannot read FreezeOut"),
        ("FreezeOut(t0=open)", "cannot read FreezeOut"),
    ],
)
def test_bad_methods(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lab.load_methods(text)


def test_every_method_says_whose_it_is() -> None:
    for name, method in lab.METHODS.items():
        assert method.name == name
        assert method.source
        assert method.code
