"""Files are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

import lehr


def test_the_folder_is_made_and_everybody_may_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file.txt"
    lehr.state.write_atomically(path, lambda part: part.write_text("whole"))
    assert path.read_text() == "whole"
    assert path.stat().st_mode & 0o777 == 0o644


def test_while_it_is_written_the_old_one_is_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fill(part: Path) -> None:
        part.write_text("new, but only ha")
        assert path.read_text() == "old"
        assert part.parent == path.parent
        part.write_text("new")

    lehr.state.write_atomically(str(path), fill)
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_what_fails_leaves_nothing_behind(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fill(part: Path) -> None:
        part.write_text("half")
        raise error

    with pytest.raises(error):
        lehr.state.write_atomically(path, fill)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("file", "old")]


def test_it_has_reached_the_disk_before_it_takes_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    path = tmp_path / "file"
    events: list[str] = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (events.append("sync"), fsync(handle)))
    monkeypatch.setattr(Path, "replace", lambda self, target: (events.append("move"), replace(self, target)))
    lehr.state.write_atomically(path, lambda part: part.write_text("x"))
    assert events[:2] == ["sync", "move"]
