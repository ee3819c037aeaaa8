"""Files are whole or absent, and damaged ones are named."""

import json
from pathlib import Path

import pytest

from lab.small import run
from lehr.lab import files
from lehr.lab.records import read_run, write_run

SETTING = {"task": "digits", "budget": "10ep"}


def test_runs_survive_the_file(tmp_path: Path) -> None:
    made = run("linear", 0, 0.9)
    write_run(tmp_path / "run.json", made, SETTING)
    kept = read_run(tmp_path / "run.json", SETTING, {"method": "linear", "seed": 0, "lr": None})
    assert kept.curve == made.curve
    assert (kept.method, kept.seed, kept.test) == ("linear", 0, 0.9)
    assert json.loads((tmp_path / "run.json").read_text())["environment"]["torch"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"format": 1, "setting": [], "run": {}}',
        '{"run": {}}',
        '{"format": 1, "setting": {}, "run": 3}',
        "\0\1",
    ],
)
def test_damaged_runs_are_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(ValueError, match=r"run.json is (not a run of lehr compare|damaged); delete it"):
        read_run(tmp_path / "run.json", {}, {})


def test_runs_of_another_comparison_are_not_mixed_in(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "run.json", run("linear", 0, 0.9), SETTING)
    with pytest.raises(
        ValueError, match=r"another comparison \(budget '10ep' there, '20ep' here\); choose another --out"
    ):
        read_run(tmp_path / "runs" / "run.json", {**SETTING, "budget": "20ep"}, {})


def test_runs_must_be_what_their_name_says(tmp_path: Path) -> None:
    write_run(tmp_path / "run.json", run("linear", 0, 0.9), SETTING)
    with pytest.raises(ValueError, match=r"is of another run \(seed 0 there, 1 here\)"):
        read_run(tmp_path / "run.json", SETTING, {"method": "linear", "seed": 1})


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    files.write_text(path, "old")

    def fail(part: Path) -> None:
        part.write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        files.write(path, fail)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.txt"]


def test_numbers_that_json_has_not_become_null(tmp_path: Path) -> None:
    files.write_json(tmp_path / "x.json", {"a": [float("nan"), float("inf"), 1.5, True, None, "x"]})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": [None, None, 1.5, True, None, "x"]}


def test_data_is_looked_for_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("option", "environment", "cache", "system"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("LEHR_DATA", str(tmp_path / "environment"))
    monkeypatch.setattr(files, "cache", lambda: tmp_path / "cache")
    monkeypatch.setattr(files, "SYSTEM", tmp_path / "system")
    assert files.find(("*/x.txt",), None) is None
    for name in ("system", "cache", "environment", "option"):
        (tmp_path / name / "set").mkdir()
        (tmp_path / name / "set" / "x.txt").touch()
        option = str(tmp_path / "option") if name == "option" else None
        assert files.find(("*/x.txt",), option) == [tmp_path / name / "set" / "x.txt"]
    with pytest.raises(ValueError, match="--data: there is no folder"):
        files.find(("*/x.txt",), str(tmp_path / "nowhere"))
