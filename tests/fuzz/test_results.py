"""Results and run files that were damaged, or made to do damage: one sentence, and no report but a sound one."""

from __future__ import annotations

import copy
import json
import os
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.small import run
from lab.test_comparison import found
from lehr import lab
from lehr.lab.comparison import Job
from lehr.lab.records import read_run, write_run
from lehr.lab.report import render
from lehr.lab.results import Results, Setting
from lehr.lab.sealed import seal, unseal

EXAMPLES = int(os.environ.get("LEHR_FUZZ", "60"))
fuzz = settings(
    max_examples=EXAMPLES, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip

RESULTS = found({"linear": [0.9, 0.91, 0.92], "cosine": [0.8, None, 0.83]}, lr_grid=(0.1, 0.3))
TEXT = RESULTS.to_json()
BODY = unseal("results", TEXT, "")

SETTING = Setting("digits", None, "0", "10ep", 20, lab.Placement("cpu"))
JOB = Job(lab.Method("linear", "linear()", lambda loop: loop, "tests"), None, 0)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
    | st.sampled_from(["<script>alert(1)</script>", "\ud800", 10**400, -1, 0, 1e308, "linear", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The ways to everything inside a value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inside for place in places(item, (*path, key)))]


PLACES = places(BODY)[1:]


def changed(body: Any, place: tuple[Any, ...], value: Any, how: str) -> Any:
    body = copy.deepcopy(body)
    inside = body
    for key in place[:-1]:
        inside = inside[key]
    if how == "set":
        inside[place[-1]] = value
    elif how == "delete":
        del inside[place[-1]]
    elif isinstance(inside, list):
        inside.insert(place[-1], value)
    else:
        inside[f"{place[-1]}_"] = value
    return body


@fuzz
@given(st.integers(0, 8 * len(TEXT.encode()) - 1))
def test_a_flipped_bit_is_noticed(place: int) -> None:
    raw = bytearray(TEXT.encode())
    raw[place // 8] ^= 1 << place % 8
    with pytest.raises(ValueError, match="results.json"):
        Results.from_json(bytes(raw), "results.json")


@fuzz
@given(st.binary(max_size=200), st.integers(0, len(TEXT)), st.integers(0, len(TEXT)))
def test_bytes_cut_out_or_put_in_are_noticed(more: bytes, start: int, end: int) -> None:
    raw = TEXT.encode()
    made = raw[: min(start, end)] + more + raw[max(start, end) :]
    if made != raw:
        with pytest.raises(ValueError, match="results.json"):
            Results.from_json(made, "results.json")


@fuzz
@given(st.sampled_from(PLACES), values, st.sampled_from(["set", "delete", "insert"]))
def test_hostile_results_are_refused_or_drawn(place: tuple[Any, ...], value: Any, how: str) -> None:
    """With a right checksum: whatever is accepted can be drawn, and shows nothing that runs."""
    try:
        text = seal("results", changed(BODY, place, value, how))
        results = Results.from_json(text, "results.json")
    except ValueError as error:
        said = str(error)
    else:
        said = ""
    assert "\n" not in said
    if said:
        return
    with mock.patch("lehr.lab.report.get_plotlyjs", return_value=""):  # 5 MB
        page = render(results)
    assert "<script>alert(1)" not in page
    assert "<script>alert(1)" not in results._repr_html_()
    assert Results.from_json(results.to_json()) == results


@fuzz
@given(st.text() | values.map(json.dumps))
def test_any_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="it "):
        Results.from_json(text, "it")


@fuzz
@given(st.integers(min_value=0), st.sampled_from(["flip", "cut"]))
def test_a_damaged_run_is_refused(tmp_path: Any, place: int, how: str) -> None:
    path = tmp_path / "runs" / "run.json"
    write_run(path, run("linear", 0, 0.9), SETTING)
    raw = bytearray(path.read_bytes())
    place %= 8 * len(raw)
    raw[place // 8] ^= 1 << place % 8
    path.write_bytes(raw if how == "flip" else raw[: place // 8])
    with pytest.raises(ValueError, match="run.json"):
        read_run(path, SETTING, JOB)
