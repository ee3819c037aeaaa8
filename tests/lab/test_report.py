"""The page: whole, offline, and not to be broken by what it shows."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

import lehr
from lab.test_comparison import found
from lehr import lab
from lehr.lab.files import write_text
from lehr.lab.report import duration, render


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
        "What it cost", "The methods", "Doing it again",
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


def test_it_is_written_from_the_results_alone(tmp_path: Path) -> None:
    write_text(tmp_path / "results.json", found({"linear": [0.9, 0.91], "cosine": [0.8, 0.83]}).to_json())
    assert re.search("linear reached|linear won", lab.write_report(tmp_path).read_text())


def test_damaged_results_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no file .*results.json"):
        lab.write_report(tmp_path)
    (tmp_path / "results.json").write_text('{"half": ')
    with pytest.raises(ValueError, match="results.json is damaged"):
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
