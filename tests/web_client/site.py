"""Serves `web_client/` as the gateway does: same origin, strict content policy, `/v1/config`; nothing else answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "web_client"
CONTENT_POLICY = (
    "default-src 'self'; connect-src 'self'; img-src 'self'; media-src 'self' mediastream:; style-src 'self'; "
    "script-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
"""At least as strict as the gateway's own."""
BLANK = b"<!doctype html><title>blank</title>"
CONFIG: dict[str, Any] = {
    "ice_servers": [],
    "engine": {
        "engine": "demo",
        "model": "Demo guide",
        "scripted": True,
        "notice": "A scripted stand-in, not a network: it knows a closed set of sentences and the main colour it sees.",
        "suggestions": [
            "What colour do you see?",
            "Tell me a long story",
            "What time is it?",
            "How long have we talked?",
            "What did you say before I interrupted you?",
        ],
    },
    "limits": {},
    "version": "0.1.0",
}


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 5
    extensions_map = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}

    def do_GET(self) -> None:
        if self.path == "/v1/config":
            self._answer("application/json", json.dumps(CONFIG).encode())
        elif self.path == "/blank":
            self._answer("text/html", BLANK)
        else:
            super().do_GET()

    def end_headers(self) -> None:
        self.send_header("Content-Security-Policy", CONTENT_POLICY)
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: the test's own report is what is read."""

    def _answer(self, content_type: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    """A browser keeps its connections: at the end they are dropped, not waited for."""


@contextmanager
def serve() -> Iterator[str]:
    """Yields the site's address; the server's thread ends with the block."""
    server = _Server(("127.0.0.1", 0), partial(_Handler, directory=str(FOLDER)))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="site")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
