"""The page: whole, offline, and not to be broken by what it shows."""

import csv
import gzip
import json
import re
from base64 import b64decode
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from plotly.offline import get_plotlyjs

import lehr
from lab.test_comparison import found
from lehr import lab
from lehr.lab import plots
from lehr.lab.decisions import decisions
from lehr.lab.files import write_text
from lehr.lab.report import csv_of, duration, power, render, undecided


class Page(HTMLParser):
    """Counts what was opened and closed, and notes what would be fetched."""

    VOID = ("meta", "link", "br", "img", "input", "hr")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.headings: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def test_the_page_is_whole_and_works_offline() -> None:
    page = Page()
    page.feed(render(found({"linear": [0.9, 0.91], "cosine": [0.8, 0.83]})))
    assert page.open == []
    assert [url for url in page.fetched if not url.startswith("data:text/csv;base64,")] == []
    assert page.headings == [
        "Who won, and how sure we are", "Result", "Validation accuracy", "Training loss", "Learning rate",
        "Against time", "Against forward passes", "What it cost", "The methods", "Doing it again",
    ]  # fmt: skip


def test_numbers_are_shown_as_computed() -> None:
    text = render(found({"linear": [0.9, 0.91, 0.95], "cosine": [0.8, 0.83, 0.87]}))
    for shown in ("92.00 %", "2.65", "+8.67", "83.33 %"):
        assert shown in text


def test_what_a_user_names_is_escaped() -> None:
    told = found({"linear": [0.9, 0.91], "cosine": [0.8, 0.83]})
    bad = "<script>alert(1)</script>"
    told = replace(told, setting=replace(told.setting, task=bad), command=bad)
    assert "<script>alert(1)" not in render(told)


def named(bad: str) -> lab.Results:
    """Results in which everything that can have a name has this one."""
    told = found({"linear": [0.9, 0.91], "cosine": [0.8, None]}, lr_grid=(0.1, 0.3))

    def renamed(run: lab.Run) -> lab.Run:
        look = lehr.policy.Decision(0.1, 0.1, 0.3, "climb", (0.0,), (2.0,))
        return replace(run, method=bad if run.method == "cosine" else run.method, policy=bad, decisions=(look,))

    return replace(
        told, command=bad, best=bad, tied_with_best=("linear",),
        setting=replace(told.setting, task=bad, budget=bad),
        metric=replace(told.metric, name=bad),
        methods=tuple(
            replace(row, method=bad if row.method == "cosine" else row.method, policy=bad, source=bad)
            for row in told.methods
        ),
        environment=replace(told.environment, packages={bad: bad}, processor=bad, platform=bad, commit=bad),
        runs=tuple(map(renamed, told.runs)),
        search_runs=tuple(map(renamed, told.search_runs)),
    )  # fmt: skip


@pytest.mark.parametrize(
    "bad",
    [
        "<script>alert(1)</script>", "</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>",
        "<a href='javascript:alert(1)'>x</a>", '"><b>bold</b>', "%{customdata} {{ 7 * 7 }}", "=cmd|' /C calc'!A0",
    ],
)  # fmt: skip
def test_any_name_is_shown_as_it_is(bad: str) -> None:
    told = named(bad)
    page = render(told)
    for text in (page, told._repr_html_()):
        assert "<script>alert" not in text
        assert "<img src=x" not in text
        assert "<a href='javascript" not in text
        assert "<b>bold" not in text
    parsed = Page()
    parsed.feed(page)
    assert parsed.open == []
    figures = [plots.final_metric(told), plots.curves(told, "validation", told.metric.title), plots.rates(told)]
    figures += [plots.search(told), decisions(told)]
    texts = [
        str(text)
        for figure in figures
        for trace in figure.data
        for text in (trace.name, trace.hovertemplate, *(trace.text or ()))
    ]
    texts += [
        str(text) for figure in figures for text in (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text)
    ]
    texts += [str(text) for text in figures[0].layout.yaxis.ticktext]
    assert any(plots.label(bad) in text for text in texts)
    for text in texts:
        shown = text.replace("<extra>", "").replace("</extra>", "").replace("<br>", "")
        assert "<" not in shown
        assert "%{customdata" not in shown
    assert csv_of(told).count("\n=") == 0


def test_the_table_of_runs_has_them_all() -> None:
    told = found({"linear": [0.9, 0.91], "cosine": [0.8, None]}, lr_grid=(0.1, 0.3))
    table = list(csv.DictReader(csv_of(told).splitlines()))
    assert len(table) == told.total.runs == 8
    assert [float(row["test"]) for row in table if row["test"]][:2] == [0.9, 0.91]
    page = Page()
    page.feed(render(told))
    assert [b64decode(url.partition("base64,")[2]).decode() for url in page.fetched] == [csv_of(told)]


def test_runs_that_failed_come_first_and_power_is_told() -> None:
    told = found({"linear": [0.9, 0.91, 0.95], "cosine": [0.8, None, 0.83], "step": [0.85, 0.83, 0.87]})
    page = Page()
    page.feed(render(told))
    assert page.headings[0] == "Runs that failed"
    said = power(told)
    assert said is not None
    assert said.startswith("With 3 seeds and the spread of these differences (sd ")
    assert "is likely to pass for a tie" in said
    assert power(found({"linear": [0.9], "cosine": [0.8]})) is None


def test_ties_say_how_many_seeds_would_decide_them() -> None:
    told = found({"linear": [0.90, 0.92, 0.91], "cosine": [0.91, 0.88, 0.91], "step": [0.5, 0.51, 0.52]})
    said = undecided(told)
    assert said is not None
    needed = lab.examine(told, ["linear > cosine"])[0].needed
    assert said.startswith(f"3 seeds cannot tell linear from cosine ({needed} seeds): ")
    assert said in " ".join(render(told).split())
    assert undecided(found({"linear": [0.9, 0.91], "step": [0.5, 0.51]})) is None


def test_results_read_again_are_the_same() -> None:
    told = found({"linear": [0.9, 0.91], "cosine": [0.8, None]}, lr_grid=(0.1, 0.3))
    assert lab.Results.from_json(told.to_json()) == told
    with pytest.raises(ValueError, match="there is no method 'rex'; there are linear, cosine"):
        told.of("rex")


def test_figures_are_drawn_from_what_the_page_carries() -> None:
    page = render(found({"linear": [0.9, 0.91], "cosine": [0.8, 0.83]}, lr_grid=(0.1, 0.3)))
    assert len(page) < 2_300_000
    script = re.search(r'<script id="packed" type="text/plain">([^<]+)</script>', page)
    assert script is not None
    assert gzip.decompress(b64decode(script[1])).decode() == get_plotlyjs()
    figures = [json.loads(one) for one in re.findall(r'<script type="application/json">([^<]+)</script>', page)]
    titles = [figure["layout"]["xaxis"]["title"]["text"] for figure in figures]
    assert titles[-3:] == ["peak learning rate", "seconds of training", "forward passes"]
    lines, rings = figures[-3]["data"][::2], figures[-3]["data"][1::2]
    assert [line["name"] for line in lines] == ["linear", "cosine"]
    assert [ring["x"] for ring in rings] == [[0.1], [0.1]]
    assert figures[-2]["data"][0]["x"] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert figures[-1]["data"][0]["x"] == [10.0, 20.0, 30.0, 40.0]


def test_a_notebook_shows_the_verdict_and_a_table() -> None:
    told = found({"linear": [0.9, 0.91], "cosine": [0.8, None]})
    shown = told._repr_html_()
    assert lab.verdict(told) in shown
    assert "<td>cosine</td><td>1 of 2 diverged</td>" in shown
    assert shown.count("<svg") == 1
    assert "validation accuracy (%)" in shown
    nothing = found({"linear": [None, None]})
    assert "<svg" not in nothing._repr_html_()


def test_it_is_written_from_the_results_alone(tmp_path: Path) -> None:
    write_text(tmp_path / "results.json", found({"linear": [0.9, 0.91], "cosine": [0.8, 0.83]}).to_json())
    assert re.search("linear reached|linear won", lab.write_report(tmp_path).read_text())


def test_damaged_results_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no file .*results.json"):
        lab.write_report(tmp_path)
    (tmp_path / "results.json").write_text('{"half": ')
    with pytest.raises(ValueError, match="results.json is damaged"):
        lab.write_report(tmp_path)
    (tmp_path / "results.json").write_text('{"command": "lehr compare", "setting": {}, "runs": []}')
    with pytest.raises(ValueError, match="was written by an older version of lehr"):
        lab.write_report(tmp_path)
    (tmp_path / "results.json").write_text('{"metric": {}}')
    with pytest.raises(ValueError, match="is not what lehr compare writes"):
        lab.write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(("seconds", "text"), [(0.1234, "0.123 s"), (99, "99 s"), (150, "2 min"), (7260, "2 h 1 min")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_tuner_shows_why_the_rate_moved() -> None:
    told = found({"linear": [0.9, 0.91], "lrtuner": [0.8, 0.83]})
    assert "What the tuner saw" not in render(told)
    decisions = (
        lehr.policy.Decision(0.0, 1.0, 0.1, "look"),
        lehr.policy.Decision(0.1, 0.1, 0.3, "climb", (-1.0, 0.0, 1.0), (2.1, 2.0, 1.9), 0.1, 0.01, None),
    )
    told = replace(told, runs=tuple(replace(run, decisions=decisions) for run in told.runs if run.method == "lrtuner"))
    told = replace(told, runs=(*told.runs, *found({"linear": [0.9, 0.91]}).runs))
    page = render(lab.Results.from_json(told.to_json()))
    assert "What the tuner saw" in page
    assert "then 0.03" in page
    assert "out of sight" in page
