"""The comparison in one call, with objects instead of names."""

from __future__ import annotations

import random
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lehr
from lab.small import data, task
from lehr import lab
from lehr.lab.comparison import Job


def of_runs(results: lab.Results) -> list[lab.Run]:
    """The runs without their times, by which no two are alike."""
    return [
        replace(run, seconds=0.0, curve=tuple(replace(row, seconds=0.0) for row in run.curve)) for run in results.runs
    ]


def test_an_object_is_compared_in_this_process_and_leaves_it_as_it_was(tmp_path: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist(), torch.get_num_threads()
    results = lab.compare(task(), ["linear", lehr.Constant()], budget="20steps", seeds=2, lr_grid=[0.1, 1], threads=2)
    after = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist(), torch.get_num_threads()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
    assert set(results.names) == {"linear", "Constant()"}
    assert results.total.runs == 8
    assert "lehr.compare('a task', methods=['linear', 'Constant()'], budget='20steps', seeds=2" in results.command
    assert "device" not in results.command


def test_runs_are_the_same_in_this_process_and_in_others(tmp_path: Path) -> None:
    methods = ["linear", "lrtuner", "learned", lehr.Cosine(end=0.1), lehr.LRTuner(explore=0.5)]
    here = lab.compare("digits", methods, budget="30steps", seeds=1)
    there = lab.compare("digits", methods, budget="30steps", seeds=1, processes=2)
    assert of_runs(here) == of_runs(there)
    chosen = lab.load_task("digits")
    given = lab.compare(chosen, methods, budget="30steps", seeds=1)
    assert of_runs(here) == of_runs(given)


def test_a_folder_goes_on_for_an_object_and_is_refused_to_another(tmp_path: Path) -> None:
    first = lab.compare(task(), "linear", budget="20steps", seeds=1, out=tmp_path)
    again = lab.compare(task(), "linear", budget="20steps", seeds=2, out=tmp_path)
    assert again.runs[0] == first.runs[0]
    assert lab.read_results(tmp_path) == again
    assert (tmp_path / "report.html").exists()
    changes: list[dict[str, object]] = [
        {"model": lambda: torch.nn.Sequential(torch.nn.Linear(4, 2))}, {"batch_size": 10}, {"clip_norm": 1.0},
        {"optimizer": lambda model: torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)},
        {"optimizer": lambda model: torch.optim.Adam(model.parameters(), lr=0.5)},
        {"loss": lambda outputs, targets: 2.0 * torch.nn.functional.cross_entropy(outputs, targets)},
        {"metric": lab.Metric("other", lambda outputs, targets: outputs.mean())},
    ]  # fmt: skip
    for change in changes:
        with pytest.raises(ValueError, match=r"holds runs of another comparison \(code"):
            lab.compare(task(**change), "linear", budget="20steps", seeds=2, out=tmp_path)


def test_an_object_is_refused_to_other_processes_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="processes=2 needs a task that other processes can find"):
        lab.compare(task(), "linear", budget="5steps", processes=2)
    comparison = lab.Comparison("mine", lab.load_methods("linear"), lab.Settings("5steps"), seeds=1)
    with pytest.raises(ValueError, match="leave processes out, and the object is trained in this process"):
        lab.run_comparison(comparison, Path(), task=task(), processes=1)
    method = lab.Method("mine", "mine", lambda loop: lehr.Linear(), "tests")
    with pytest.raises(ValueError, match="the method mine cannot be sent to other processes .* leave processes out"):
        lab.compare("digits", [method], budget="5steps", processes=1)
    assert lab.compare("digits", [method], budget="5steps", seeds=1).names == ["mine"]


def test_an_object_beside_a_name(tmp_path: Path) -> None:
    comparison = lab.Comparison("my moons", lab.load_methods("linear"), lab.Settings("5steps"), seeds=1)
    assert lab.run_comparison(comparison, tmp_path, task=task()).setting.task == "my moons"


def test_a_session_without_a_file(tmp_path: Path) -> None:
    """As in a notebook: classes and functions of `__main__`, which has no file."""
    code = """
    import torch, lehr
    from lehr import lab

    class Half(lehr.Policy):
        def factors(self, moment): return 0.5
        def state_dict(self): return {}
        def load_state_dict(self, state): pass
        def __repr__(self): return "Half()"

    x = torch.randn(160, 4, generator=torch.Generator().manual_seed(0))
    mine = lab.Task(
        model=lambda: torch.nn.Linear(4, 2), data=lab.split(x, (x.sum(1) > 0).long(), validation=40, test=40),
        loss=torch.nn.functional.cross_entropy, optimizer=lambda model: torch.optim.SGD(model.parameters(), lr=0.5),
        batch_size=8)
    results = lab.compare(mine, ["linear", Half()], budget="10steps", seeds=2)
    print(sorted(results.names), "<table>" in results._repr_html_())
    print(lab.compare("digits", "linear", budget="5steps", seeds=1, processes=1).names)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=300, check=False,
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["['Half()', 'linear'] True", "['linear']"]
    assert list(tmp_path.iterdir()) == []


def test_a_function_makes_the_task_and_other_processes_find_it(tmp_path: Path) -> None:
    assert lehr.compare(task, "linear", budget="10steps", seeds=1).total.runs == 1
    (tmp_path / "mine.py").write_text(
        "from lehr import lab\nmade = []\n\ndef make_task():\n    made.append(1)\n    return lab.load_task('digits')\n"
    )
    sys.path.insert(0, str(tmp_path))
    try:
        from mine import make_task
    finally:
        sys.path.remove(str(tmp_path))
    here = lehr.compare(make_task, "linear", budget="10steps", seeds=1)
    there = lehr.compare(make_task, "linear", budget="10steps", seeds=1, processes=1)
    assert of_runs(here) == of_runs(there)
    with pytest.raises(ValueError, match="needs a function that other processes can find, on the top level of a file"):
        lehr.compare(lambda: task(batch_size=4), "linear", seeds=1, processes=1)
    with pytest.raises(ValueError, match="on=RayCluster.* needs a function that other processes can find"):
        lehr.compare(lambda: task(batch_size=4), "linear", seeds=1, on=lab.RayCluster())
    with pytest.raises(ValueError, match="broken.. failed: KeyError"):
        lehr.compare(broken, "linear", seeds=1)
    with pytest.raises(TypeError, match="task must be a name"):
        lehr.compare(lambda: 3, "linear", seeds=1)  # type: ignore[arg-type,return-value]


def broken() -> lab.Task:
    raise KeyError("x")


def test_the_front_door_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lehr.compare is lab.compare
    with pytest.raises(AttributeError, match="module 'lehr' has no attribute 'contrast'"):
        _ = lehr.contrast  # type: ignore[attr-defined]
    monkeypatch.delitem(sys.modules, "lehr.lab")
    monkeypatch.delattr(lehr, "lab")
    monkeypatch.setitem(sys.modules, "lehr.lab.comparison", None)
    with pytest.raises(ImportError, match=r"lehr.compare needs .*pip install 'lehr\[lab\]'"):
        _ = lehr.compare


def test_values_are_methods() -> None:
    methods = lab.load_methods(["linear,cosine", lehr.Steps(at=(0.5,)), lehr.LRTuner(), lab.METHODS["rex"]])
    assert [method.name for method in methods][:3] == ["linear", "cosine", "Steps(at=(0.5,))"]
    assert [method.name for method in lab.load_methods(lehr.Linear())] == ["Linear()"]  # type: ignore[arg-type]
    tuner = methods[3].policy(None)  # type: ignore[arg-type]
    assert isinstance(tuner, lehr.LRTuner)
    assert tuner is not methods[3].policy(None)  # type: ignore[arg-type]

    class Nameless(lehr.tuning.LQA):
        __repr__ = object.__repr__

    with pytest.raises(ValueError, match="Nameless has no repr by which its runs could be told apart"):
        lab.load_methods([Nameless()])
    with pytest.raises(TypeError, match="methods must be names such as 'linear', schedules .* got 3"):
        lab.load_methods([3])  # type: ignore[list-item]
    plan = lehr.FreezeOut(lehr.layers_of(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))))
    with pytest.raises(ValueError, match=r"write it as a text, such as 'FreezeOut\(t0=0.5\)'"):
        lab.load_methods([plan])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seeds": 0}, "seeds must be a whole number, at least 1 .*got 0"),
        ({"seeds": 100_000_000}, "seeds=100000000 makes 100,000,000 runs; a comparison has at most 100,000"),
        ({"lr_grid": (0.1,), "search_seeds": 10**9}, "search_seeds=1000000000 makes 1,000,000,003 runs"),
        ({"shares": ((0.5, 10**9),)}, "the seeds of the share 0.5=1000000000 makes 1,000,000,003 runs"),
        ({"shares": ((1.5, 3),)}, "shares must be above 0 and below 1; got 1.5"),
        ({"lr": -1.0}, "lr must be a number above 0"),
        ({"lr_grid": (0.1, float("nan"))}, "lr_grid must be a number above 0"),
        ({"lr": 0.1, "lr_grid": (0.1,)}, "exclude each other"),
        ({"methods": []}, "methods is empty"),
        ({"methods": lab.load_methods("linear") * 2}, "methods has linear twice"),
    ],
)
def test_comparisons_that_make_no_sense(arguments: dict[str, object], message: str) -> None:
    given: dict[str, object] = {"task": "digits", "methods": lab.load_methods("linear"), "settings": lab.Settings()}
    with pytest.raises(ValueError, match=message):
        lab.Comparison(**{**given, **arguments})  # type: ignore[arg-type]


def test_settings_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match="evaluations must be a whole number, at least 1"):
        lab.Settings(evaluations=0)
    with pytest.raises(ValueError, match="budget must be a text"):
        lab.Settings(budget=10)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="task must be a name, a lehr.lab.Task or a lehr.lab.TrainingTask"):
        lab.compare(3, "linear")  # type: ignore[arg-type]
    for name in ("processes", "threads"):
        with pytest.raises(ValueError, match=f"{name} must be a whole number, at least 1 and at most"):
            lab.compare("digits", "linear", **{name: 100_000})  # type: ignore[arg-type]


def test_jobs_travel() -> None:
    import pickle

    for method in lab.METHODS.values():
        again = pickle.loads(pickle.dumps(Job(method, 0.1, 0)))
        assert (again.method.name, again.method.code) == (method.name, method.code)


def test_progress_is_told() -> None:
    seen: list[tuple[int, int, int]] = []
    lab.compare(
        task(data=data()), "linear", budget="10steps", seeds=2,
        watch=lambda under_way, done, total: seen.append((len(under_way), done, total)),
    )  # fmt: skip
    assert seen[0] == (1, 0, 2)
    assert seen[-1] == (0, 2, 2)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("methods", None), ("methods", 3), ("methods", [None]), ("claims", 3), ("claims", [None]), ("claims", ""),
        ("device", None), ("device", ["cpu", None]), ("data", 3), ("out", object()), ("on", "auto"), ("watch", None),
        ("budget", None), ("lr_grid", "0.1"), ("shares", 0.5),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=name.rstrip("s")) as caught:
        lehr.compare("digits", **{"methods": "linear", "budget": "2steps", name: value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [None, 3, b"digits", ["digits"]])
def test_a_name_is_a_text(name: Any) -> None:
    with pytest.raises(TypeError, match="load_task: name must be a text"):
        lab.load_task(name)
