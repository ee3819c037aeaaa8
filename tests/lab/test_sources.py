"""The code of a task: its own files, all of them, and no others."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from lehr.lab import sources as module
from lehr.lab.sources import sources

TASK = """
import helper
from package import part as renamed
from package.deep import *

def make_task():
    import later
    import importlib
    importlib.import_module("named")
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    (folder / "package").mkdir(parents=True)
    (folder / "mine.py").write_text(TASK)
    for name in ("helper", "later", "named", "package/__init__", "package/deep", "unrelated"):
        (folder / f"{name}.py").write_text("X = 1\n")
    (folder / "package/part.py").write_text("from . import sibling\nfrom .deep import X\n")
    (folder / "package/sibling.py").write_text("X = 1\n")
    (folder / "helper.py").write_text("import second\n")
    (folder / "second.py").write_text("import helper\n")  # in a circle
    monkeypatch.syspath_prepend(str(folder))
    return folder / "mine.py"


OWN = (
    "mine", "helper", "second", "later", "named", "package/__init__", "package/part", "package/deep", "package/sibling",
)  # fmt: skip


@pytest.mark.parametrize("name", OWN)
def test_a_change_of_what_it_imports_is_noticed(mine: Path, name: str) -> None:
    before = sources(mine)
    assert sources(mine) == before
    path = mine.parent / f"{name}.py"
    path.write_text(path.read_text() + "# changed\n")
    assert sources(mine) != before


def test_what_it_does_not_import_does_not_count(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sources(mine)
    (mine.parent / "unrelated.py").write_text("X = 2\n")
    monkeypatch.setitem(sys.modules, "unrelated", type(sys)("unrelated"))
    sys.modules["unrelated"].__file__ = str(mine.parent / "unrelated.py")  # whoever imported it
    assert sources(mine) == before


@pytest.mark.parametrize("how", ["prefix", "stdlib", "site-packages", "linked", "lehr"])
def test_an_installation_in_the_folder_does_not_count(mine: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """A conda environment beside the task, a home folder that holds Python, a checkout of lehr."""
    folder = mine.parent
    inside = folder / {"site-packages": "env/lib/site-packages", "linked": "real"}.get(how, "env/lib")
    inside.mkdir(parents=True)
    (inside / "installed.py").write_text("X = 1\n")
    if how == "linked":
        (folder / "env").symlink_to(folder / "real")
    monkeypatch.syspath_prepend(str(folder / "env" if how == "linked" else inside))
    if how in ("prefix", "linked"):
        monkeypatch.setattr(sys, "prefix", str(folder / "other" / ".." / "env"))
        (folder / "other").mkdir()
    elif how == "stdlib":
        monkeypatch.setattr(sysconfig, "get_paths", lambda: {"stdlib": str(inside)})
    elif how == "lehr":
        monkeypatch.setattr(module, "OURS", inside)
    (folder / "helper.py").write_text("import installed\n")
    before = sources(mine)
    (inside / "installed.py").write_text("X = 2\n")
    assert sources(mine) == before
    (folder / "second.py").write_text("X = 3\n")
    (folder / "helper.py").write_text("import installed, second\n")
    assert sources(mine) != before


def test_a_task_inside_an_installation_has_code_of_its_own(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", str(mine.parents[1]))
    before = sources(mine)
    (mine.parent / "helper.py").write_text("X = 2\n")
    assert sources(mine) != before


def test_the_way_to_the_file_makes_no_difference(mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sources(mine)
    (tmp_path / "link").symlink_to(mine.parent)
    assert sources(tmp_path / "link" / "mine.py") == before
    assert sources(mine.parent / "package" / ".." / "mine.py") == before
    monkeypatch.chdir(mine.parent)
    assert sources(Path("mine.py")) == before


def test_code_that_cannot_be_read_is_left_to_python(mine: Path) -> None:
    for text in ("import (", "\0", "x = '" + "\\ud800'", "import a" + ".b" * 2000):
        (mine.parent / "helper.py").write_text(text)
        assert len(sources(mine)) == 16


def test_lehr_called_by_a_roundabout_path_from_an_environment_in_the_folder(mine: Path, tmp_path: Path) -> None:
    """The parent and its workers agree on what the code is."""
    folder = mine.parent
    env = folder / "env" / "bin"
    env.mkdir(parents=True)
    (folder / "small.py").write_text(
        "import torch\nfrom lehr import lab\n"
        "def make_task():\n"
        "    x = torch.randn(160, 4, generator=torch.Generator().manual_seed(0))\n"
        "    return lab.Task(model=lambda: torch.nn.Linear(4, 2), batch_size=8,\n"
        "        data=lab.split(x, (x.sum(1) > 0).long(), validation=40, test=40),\n"
        "        loss=torch.nn.functional.cross_entropy,\n"
        "        optimizer=lambda model: torch.optim.SGD(model.parameters(), lr=0.5))\n"
    )
    script = env / "lehr"
    script.write_text("import sys\nfrom lehr.__main__ import main\nif __name__ == '__main__':\n    sys.exit(main())\n")
    roundabout = folder / "package" / ".." / "env" / "bin" / "lehr"
    done = subprocess.run(
        [sys.executable, str(roundabout), "compare", "--task", "./small.py:make_task", "--methods", "linear",
         "--budget", "5steps", "--seeds", "1", "--processes", "1", "--out", str(tmp_path / "out")],
        capture_output=True, text=True, timeout=300, check=False, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
