"""A report for a browser at the other end of a tunnel."""

from __future__ import annotations

import threading
from http.client import HTTPConnection
from pathlib import Path

import pytest

from lehr.cli.serving import LOOPBACK, server


def test_only_the_page_is_served_and_only_here(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("<p>größer</p>", encoding="utf-8")
    (tmp_path / "secret.txt").write_text("secret")
    with server(tmp_path / "report.html", 0) as running:
        assert running.server_address[0] == LOOPBACK
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        try:
            found = {}
            for path in ("/", "/report.html", "/secret.txt", "/../secret.txt", "/report.html/.."):
                connection = HTTPConnection(LOOPBACK, running.server_address[1], timeout=10)
                connection.request("GET", path)
                answer = connection.getresponse()
                found[path] = (answer.status, answer.read().decode())
            with pytest.raises(ValueError, match="--port .* cannot be had: .*; choose another"):
                server(tmp_path / "report.html", running.server_address[1])
        finally:
            running.shutdown()
            thread.join()
    assert found["/"] == found["/report.html"] == (200, "<p>größer</p>")
    assert {status for path, (status, _) in found.items() if path not in ("/", "/report.html")} == {404}
    assert "secret" not in found["/secret.txt"][1].replace("secret.txt", "")
