"""Serves the built app and one bundle on this machine alone, gives its benchmark a job and takes its reports.

Everything lies below a path that nobody can guess: no other program or page reads the model or reports.
"""

from __future__ import annotations

import json
import queue
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from phantom_edge.apps import serve

MAX_REPORT_BYTES = 16 << 20
JOB, REPORT = "job.json", "report"


@dataclass
class Page:
    """One job: where its page is, and the lines that came from it."""

    job: Mapping[str, Any]
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    reports: queue.Queue[dict[str, Any]] = field(default_factory=queue.Queue)
    url: str = ""


@contextmanager
def serving(mounts: Mapping[str, Path], job: Mapping[str, Any]) -> Iterator[Page]:
    """Serve ``mounts`` (as :func:`phantom_edge.apps.serve.serving`) and ``job`` while the block runs."""
    page = Page(job)

    def handler(*args: Any, **kwargs: Any) -> _Handler:
        return _Handler(*args, page=page, **kwargs)

    with serve.serving(mounts, handler=handler) as (server, address):
        page.url = f"{address}{page.secret}/bench.html"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield page
        finally:
            server.shutdown()
            thread.join()


class _Handler(serve.Handler):
    """The app's files, the job and the reports, each below the secret path."""

    def __init__(self, *args: Any, page: Page, **kwargs: Any):
        self.page = page
        super().__init__(*args, **kwargs)

    def translate_path(self, path: str) -> str:
        name = self._name(path)
        return serve.NOWHERE if name is None else super().translate_path(f"/{name}")

    def do_GET(self) -> None:
        if self._name(self.path) != JOB:
            super().do_GET()
            return
        body = json.dumps(self.page.job).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        if self._name(self.path) != REPORT or not 0 < size <= MAX_REPORT_BYTES:
            self.send_error(404)
            return
        try:
            report = json.loads(self.rfile.read(size))
        except ValueError:
            report = None
        if isinstance(report, dict):
            self.page.reports.put(report)
        self.send_response(204 if isinstance(report, dict) else 400)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _name(self, path: str) -> str | None:
        """The path below the secret one, None for anything else."""
        secret, _, name = path.lstrip("/").partition("/")
        return name if secrets.compare_digest(secret.encode(), self.page.secret.encode()) else None
