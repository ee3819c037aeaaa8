"""One page on the loopback address, for a browser at the other end of an SSH tunnel."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

LOOPBACK = "127.0.0.1"


def server(page: Path, port: int) -> ThreadingHTTPServer:
    """A server of that page and of nothing else, for this machine only; it answers once told to serve.

    Args:
        page: an HTML file, read anew for each visit.
        port: from 0 to 65,535; 0 for any that is free.

    Raises:
        ValueError: if the port is taken, or may not be used.
    """

    class OnePage(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path not in ("/", f"/{page.name}"):
                self.send_error(404)
                return
            content = page.read_bytes()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing of each visit."""

    try:
        return ThreadingHTTPServer((LOOPBACK, port), OnePage)
    except OSError as error:
        raise ValueError(f"--port {port} cannot be had: {error.strerror}; choose another, or 0 for any") from None
