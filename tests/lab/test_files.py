"""Files are whole or absent, and damaged ones are named."""

import hashlib
import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from lab.small import run
from lehr import lab
from lehr.lab import files
from lehr.lab.comparison import Job
from lehr.lab.records import read_run, write_run
from lehr.lab.results import Setting
from lehr.lab.sealed import seal, unseal

SETTING = Setting("digits", None, "0", "10ep", 20, lab.Placement("cpu"))
JOB = Job(lab.Method("linear", "linear()", lambda loop: loop, "tests"), None, 0)


def test_runs_survive_the_file(tmp_path: Path) -> None:
    made = run("linear", 0, 0.9)
    write_run(tmp_path / "run.json", made, SETTING)
    assert read_run(tmp_path / "run.json", SETTING, JOB) == made
    assert json.loads((tmp_path / "run.json").read_text())["environment"]["torch"]


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_run(path, run("linear", 0, 0.9), SETTING)
    whole = path.read_bytes()
    for place in range(0, 8 * len(whole), 7):
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(ValueError, match="run.json"):
            read_run(path, SETTING, JOB)
    path.write_bytes(whole + b" ")
    with pytest.raises(ValueError, match="run.json is damaged"):
        read_run(path, SETTING, JOB)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"run": {}}', "\0\1", "[" * 100_000, "NaN", "9" * 5_000])
def test_damaged_runs_are_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(ValueError, match=r"run.json is (not a run of lehr compare|damaged); delete it"):
        read_run(tmp_path / "run.json", SETTING, JOB)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": -1}, {"seed": 0.0}, {"seed": True}, {"lr": "0.1"}, {"lr": -1.0}, {"share": 2.0}, {"test": 1e400},
        {"curve": {}}, {"curve": [{}]}, {"rates": [[0.0]]}, {"rates": [[0.0, None]]}, {"policy": None}, {"more": 1},
        {"decisions": [{"what": "jump"}]}, {"updates": 10**30}, {"method": "\ud800"},
    ],
)  # fmt: skip
def test_a_hostile_run_with_a_right_checksum_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    """Whoever knows how the checksum is made can make one."""
    write_run(tmp_path / "run.json", run("linear", 0, 0.9), SETTING)
    body = unseal("run", (tmp_path / "run.json").read_bytes(), "")
    sealed = seal("run", {**body, "run": {**body["run"], **change}} if change != {"test": 1e400} else body)
    if change == {"test": 1e400}:
        sealed = seal("run", body).replace('"test": 0.9', '"test": 1e400')
        blank = re.sub(r'"sha256": "[0-9a-f]{64}"', f'"sha256": "{"0" * 64}"', sealed)
        sealed = blank.replace("0" * 64, hashlib.sha256(blank.encode()).hexdigest(), 1)
    (tmp_path / "run.json").write_text(sealed)
    with pytest.raises(ValueError, match="run.json: .*it is not a run of lehr compare; delete it"):
        read_run(tmp_path / "run.json", SETTING, JOB)


def test_files_of_other_versions_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text('{"format": 1, "setting": {}, "environment": {}, "run": {}}')
    with pytest.raises(ValueError, match=r"an older version of lehr \(format 1; this one has 5\)"):
        read_run(path, SETTING, JOB)
    write_run(path, run("linear", 0, 0.9), SETTING)
    path.write_text(path.read_text().replace('"format": 5', '"format": 6'))
    with pytest.raises(ValueError, match="a newer version of lehr"):
        read_run(path, SETTING, JOB)


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "results.json")
    with pytest.raises(ValueError, match="there is no file"):
        lab.read_results(tmp_path)


def test_runs_of_another_comparison_are_not_mixed_in(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "run.json", run("linear", 0, 0.9), SETTING)
    with pytest.raises(
        ValueError, match=r"another comparison \(budget '10ep' there, '20ep' here\); choose another --out"
    ):
        read_run(tmp_path / "runs" / "run.json", replace(SETTING, budget="20ep"), JOB)


def test_runs_must_be_what_their_name_says(tmp_path: Path) -> None:
    write_run(tmp_path / "run.json", run("linear", 0, 0.9), SETTING)
    with pytest.raises(ValueError, match=r"is of another run \(seed 0 there, 1 here\)"):
        read_run(tmp_path / "run.json", SETTING, replace(JOB, seed=1))


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
