"""Serves the page, onnxruntime-web and one bundle on this machine alone, and takes what the page tells.

Every answer carries the headers of cross-origin isolation, without which a browser gives a page no shared
memory and WASM has one thread. Only listed files are served, below a path that nobody can guess.
"""

from __future__ import annotations

import json
import queue
import secrets
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote

HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript", ".mjs": "text/javascript"}
TYPES |= {".wasm": "application/wasm", ".json": "application/json"}
MAX_TOLD_BYTES = 16 << 20


class PageServer(ThreadingHTTPServer):
    """``files`` maps names below the secret path to files, ``job`` is what ``job.json`` holds, ``told`` what
    came.
    """

    daemon_threads = True

    def __init__(self, files: Mapping[str, Path], job: Mapping[str, Any]):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.secret, self.files = secrets.token_urlsafe(16), dict(files)
        self.job = json.dumps(job).encode()
        self.told: queue.Queue[dict[str, Any]] = queue.Queue()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Quiet: a browser that is stopped resets its connections."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/{self.secret}/page/index.html"


@contextmanager
def serving(files: Mapping[str, Path], job: Mapping[str, Any]) -> Iterator[PageServer]:
    """A server on a free port while the block runs."""
    with PageServer(files, job) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    protocol_version: ClassVar[str] = "HTTP/1.1"

    def do_GET(self) -> None:
        name = self._name()
        if name == "job.json":
            self._answer(200, TYPES[".json"], self.server.job)
        elif name in self.server.files:
            self._send(self.server.files[name])
        else:
            self._answer(404)

    def do_POST(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        if self._name() != "told" or not 0 < size <= MAX_TOLD_BYTES:
            self.close_connection = True
            self._answer(404)
            return
        try:
            line = json.loads(self.rfile.read(size))
        except ValueError:
            line = None
        if isinstance(line, dict):
            self.server.told.put(line)
        self._answer(204 if isinstance(line, dict) else 400)

    def _name(self) -> str | None:
        """The path below the secret one, None for anything else."""
        secret, _, name = unquote(self.path.partition("?")[0]).lstrip("/").partition("/")
        return name if secrets.compare_digest(secret.encode(), self.server.secret.encode()) else None

    def _send(self, path: Path) -> None:
        with path.open("rb") as file:
            self._head(200, TYPES.get(path.suffix, "application/octet-stream"), path.stat().st_size)
            shutil.copyfileobj(file, self.wfile, 1 << 20)

    def _answer(self, status: int, kind: str = "text/plain", body: bytes = b"") -> None:
        self._head(status, kind, len(body))
        self.wfile.write(body)

    def _head(self, status: int, kind: str, length: int) -> None:
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Quiet: the page says what it does."""
