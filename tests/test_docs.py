"""What pages say of measurements is in the records, and what they show is not clipped."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from types import ModuleType
from typing import Any

import pytest

import lehr

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
WIDEST = 88


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = found
    spec.loader.exec_module(found)
    return found


evidence = module("evidence")


def measured(value: object) -> Iterator[tuple[float, float]]:
    """Every mean with its standard deviation, however deep."""
    if isinstance(value, dict):
        for name in ("mean", "gap"):
            if isinstance(value.get(name), float) and isinstance(value.get("sd"), float):
                yield value[name], value["sd"]
        for item in value.values():
            yield from measured(item)
    elif isinstance(value, list):
        for item in value:
            yield from measured(item)


def pooled() -> Iterator[tuple[float, float]]:
    """Of runs that no summary pools: MLR-SNet's methods, the tuner from all starts, and the range test's trainings."""
    groups: dict[tuple[str, ...], list[float]] = {}
    for path in (ROOT / "records").glob("*/runs/*.json"):
        run = json.loads(path.read_text(encoding="utf-8"))
        for tool in ("lehr", "torch-lr-finder"):
            for name, trained in run.get(tool, {}).get("trained", {}).items():
                if trained["test"] is not None:
                    groups.setdefault((run["task"], tool, name), []).append(trained["test"])
        if run.get("run", {}).get("test") is None or "job" not in run or run["job"].get("share", 1.0) != 1.0:
            continue
        job = run["job"]
        groups.setdefault((job.get("world") or job["task"], job.get("kind", ""), job["method"]), []).append(
            run["run"]["test"]
        )
    for values in groups.values():
        if len(values) > 1:
            yield fmean(values), stdev(values)


@pytest.fixture(scope="module")
def known() -> list[tuple[float, float]]:
    summaries = [json.loads(path.read_text(encoding="utf-8")) for path in (ROOT / "records").glob("*/summary.json")]
    return [*measured(summaries), *pooled()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_means_are_those_of_a_record(page: Path, known: list[tuple[float, float]]) -> None:
    for mean, sd in re.findall(r"([+-]?\d+\.\d+) ± (\d+\.\d+)", page.read_text(encoding="utf-8")):
        sign, digits, spread = "+" if mean[0] in "+-" else "", *(len(text.partition(".")[2]) for text in (mean, sd))
        assert any(
            f"{scale * one:{sign}z.{digits}f}" == mean and f"{scale * other:.{spread}f}" == sd
            for one, other in known
            for scale in (1.0, 100.0)
        ), f"{page.name}: no record has {mean} ± {sd}"


def gaps_by_budget() -> Iterator[tuple[str, float, int, list[dict[str, Any]]]]:
    """How a line of the table begins, what its unit is in the record, its digits, and the record's rows."""
    before, after = (
        json.loads((ROOT / "records" / name / "summary.json").read_text(encoding="utf-8"))
        for name in ("2026-11-22_schedules-by-budget", "2026-11-26_linear-against-step")
    )
    for task, found in after.items():
        for step, rows in found["linear_against"].items():
            yield f"{task}, {step.replace('step ', 'step at ')}", 1.0, 2, rows
    yield "digits", 100.0, 1, before["digits"]["linear_against_step"]
    yield "tinyshakespeare", 1.0, 2, before["tinyshakespeare"]["linear_against_step"]


def test_gaps_by_budget_are_those_of_the_records() -> None:
    page = (ROOT / "docs/budgets.md").read_text(encoding="utf-8")
    for line, scale, digits, rows in gaps_by_budget():
        cells = re.search(rf"^\| {re.escape(line)}[, ][^|]*\((?:points|nats)\) \| (.*) \|$", page, re.MULTILINE)
        assert cells is not None, line
        for cell, row in zip(cells[1].split(" | "), rows, strict=True):
            shown = f"{scale * row['gap']['mean']:+.{digits}f}"
            assert cell == (f"**{shown}**" if row["p_holm"] < 0.05 else shown), (line, row["share"])


WORTH = {
    "schedule-free": "schedule_free",
    "autopilot": "autopilot",
    "a third of": "third",
    "Prodigy": "prodigy",
    "LRTuner": "lrtuner",
    "learned schedule": "learned",
    "one cycle": "one_cycle",
    "SGD 0.1": "folk",
}
"""How a line of the autopilot's table begins, and the method in its record."""


def worth() -> dict[str, dict[str, Any]]:
    path = ROOT / "records/2026-11-26_autopilot/summary-unseen.json"
    found: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def test_what_needs_no_tuning_is_worth_what_its_record_says() -> None:
    page, record = (ROOT / "docs/autopilot.md").read_text(encoding="utf-8"), worth()
    for label, method in WORTH.items():
        shares = [f"{100.0 * record[method][name]:.0f} %" for name in ("median", "worst", "mean")]
        cells = [*shares, f"{record[method]['worse']} of 48", f"{100.0 * record[method]['trials']:.0f} %"]
        assert re.search(rf"^\| {label}[^|]*\| {' [|] '.join(cells)} \|$", page, re.MULTILINE), (label, cells)


def test_pages_repeat_what_the_autopilot_record_says() -> None:
    def share(method: str, name: str) -> str:
        return f"{100.0 * record[method][name]:.0f}"

    record = worth()
    pilot, third, tuner, learned = (
        (share(method, "median"), share(method, "worst")) for method in ("autopilot", "third", "lrtuner", "learned")
    )
    others = max(record[method]["worst"] for method in WORTH.values() if method != "autopilot")
    for name, sentences in {
        "README.md": [
            f"with {pilot[0]} % of the updates in the median, and with {pilot[1]} % at worst",
            f"came to more than {100.0 * others:.0f} % at worst",
            f"came to {third[0]} % in the median, and they to {tuner[0]} and {learned[0]}.",
        ],
        "docs/autopilot.md": [f"it was worth {pilot[0]} % in the median and {pilot[1]} % at worst"],
        "docs/finding.md": [f"was worth {third[0]} % of the budget in the median and {third[1]} % at worst"],
        "docs/learned.md": [
            f"was worth {learned[0]} % of the budget in the median and {learned[1]} % at worst (",
            f"(`LRTuner` {tuner[0]} and {tuner[1]})",
            f"came to {third[0]} and {third[1]}",
        ],
        "docs/tuning.md": [
            f"was worth {tuner[0]} % of the budget in the median and {tuner[1]} % at worst",
            f"came to {third[0]} and {third[1]}",
        ],
    }.items():
        text = " ".join((ROOT / name).read_text(encoding="utf-8").split())
        for sentence in sentences:
            assert sentence in text, (name, sentence)


def test_verdicts_say_no_more_than_their_tests() -> None:
    def said(mean: float, kind: str, margin: float = 0.0, sd: float = 0.1) -> str:
        row = evidence.Row("a", "b", "c", "d", "e", evidence.Gaps(3, mean, sd), kind, margin)
        return str(evidence.tested([row])[0][2])

    assert (said(2.0, "ahead"), said(-2.0, "ahead"), said(0.1, "ahead")) == ("holds", "contradicted", "cannot tell")
    assert (said(0.0, "equal", 1.0), said(0.0, "equal", 0.1)) == ("holds", "cannot tell")
    assert (said(3.0, "equal", 1.0), said(-3.0, "equal", 1.0)) == ("more than that", "contradicted")
    assert (said(-0.2, "no worse", 1.0), said(-3.0, "no worse", 1.0)) == ("holds", "contradicted")
    assert said(-1.0, "no worse", 1.0) == "cannot tell"
    assert evidence.tested([evidence.Row("a", "b", "c", "d", "e", None)])[0][2] == "not run"


def test_a_record_with_a_rule_of_its_own_keeps_its_verdict() -> None:
    clear = evidence.Row("a", "b", "c", "d", "e", evidence.Gaps(3, 2.0, 0.2))
    p = clear.p
    assert p is not None and p < 0.05
    ruled = [replace(clear, ruled=evidence.Ruled(0.4, "cannot tell"))] * 9
    assert evidence.tested([clear, *ruled]) == [(clear, p, "holds"), *((row, 0.4, "cannot tell") for row in ruled)]
    more = replace(clear, kind="equal", margin=1.0, ruled=evidence.Ruled(0.9, "contradicted"))
    assert evidence.tested([more])[0][2] == "more than that"


def test_every_system_has_its_headlines() -> None:
    rows = evidence.headlines()
    assert {row.system for row in rows} == {"Budgeted training", "MLR-SNet", "Cyclical rates", "FreezeOut", "LRTuner"}
    run = [row for row in rows if row.gaps is not None]
    assert len(run) > 50
    assert all(row.record and (ROOT / "records" / row.record / "README.md").is_file() for row in run)
    assert evidence.table(rows).count("| **") == len(rows)


def test_the_first_picture_is_that_of_the_record(tmp_path: Path) -> None:
    evidence.draw_by_budget(tmp_path / "drawn.svg")
    curves = [
        re.findall(r'<path d="(M [^"]+)"', path.read_text(encoding="utf-8"))
        for path in (tmp_path / "drawn.svg", ROOT / "docs/_static/by_budget.svg")
    ]
    assert curves[0] == curves[1]


def test_the_curves_of_trainers_are_of_the_examples_as_they_stand() -> None:
    curves = module("trainer_curves")
    recorded = json.loads(curves.FILE.read_text(encoding="utf-8"))["examples"]
    changed = [one.name for one, row in zip(curves.EXAMPLES, recorded, strict=True) if row["code"] != one.digest()]
    assert not changed, f"the code of {changed} in docs/trainers.md is another; run docs/trainer_curves.py again"


def test_every_schedule_has_a_picture_and_a_formula() -> None:
    formulas = module("formulas")
    made = {name for name in lehr.__all__ if isinstance(getattr(lehr, name), type)}
    shapes = {f"lehr.{name}" for name in made if issubclass(getattr(lehr, name), lehr.Schedule)} - {"lehr.Schedule"}
    reference = (ROOT / "docs/reference/schedules.md").read_text(encoding="utf-8")
    recipes = set(re.findall(r"autofunction:: (lehr\.\S+)", reference)) - {"lehr.parse_schedule"}
    assert shapes | recipes == set(formulas.EXAMPLES)
    assert set(formulas.EXAMPLES) <= set(formulas.FORMULAS)
    for name, expression in formulas.EXAMPLES.items():
        assert lehr.parse_schedule(expression)(0.5) >= 0.0, name
        assert expression.partition("(")[0] == name.rpartition(".")[2]


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: page.name)
def test_code_is_not_clipped(page: Path) -> None:
    for fence in re.findall(
        r"^```(?:python|bash)\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    ):
        assert max(map(len, fence.splitlines())) <= WIDEST, fence


def test_notebooks_are_short_and_come_without_outputs() -> None:
    books = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))
    assert len(books) >= 6
    listed = (ROOT / "docs/notebooks.md").read_text(encoding="utf-8")
    for book in books:
        assert f"notebooks/{book.stem}\n" in listed, book.name
        for cell in json.loads(book.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                assert cell["outputs"] == [] and cell["execution_count"] is None, book.name
                assert max(len(line.rstrip("\n")) for line in cell["source"]) <= WIDEST, book.name
