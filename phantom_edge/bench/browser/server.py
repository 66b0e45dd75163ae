"""Serves the built app and one bundle on this machine alone, gives its benchmark a job and takes its reports.

Everything lies below a path that nobody can guess: no other program or page reads the model or reports.
"""

from __future__ import annotations

import asyncio
import json
import queue
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from phantom_edge.apps import serve

MAX_REPORT_BYTES = 16 << 20
REPORT_SECONDS = 30.0  # for one report to arrive
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
    with serve.serving(mounts, front=partial(_Front, page)) as server:
        page.url = f"{server.address}{page.secret}/bench.html"
        server.start()
        try:
            yield page
        finally:
            server.stop()


class _Front:
    """The app's files, the job and the reports, each below the secret path."""

    def __init__(self, page: Page, files: ASGIApp):
        self.page, self.files = page, files

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        secret, _, name = scope["path"].lstrip("/").partition("/")
        if not name or not secrets.compare_digest(secret.encode(), self.page.secret.encode()):
            raise HTTPException(404)
        if scope["method"] == "POST":
            answer = (
                await self._report(Request(scope, receive)) if name == REPORT else Response(status_code=404)
            )
            await answer(scope, receive, send)
        elif name == JOB:
            job = Response(json.dumps(self.page.job), media_type="application/json")
            await job(scope, receive, send)
        else:
            await self.files({**scope, "path": f"/{name}"}, receive, send)

    async def _report(self, request: Request) -> Response:
        body = bytearray()
        try:
            async with asyncio.timeout(REPORT_SECONDS):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > MAX_REPORT_BYTES:
                        return Response(status_code=413)
            report = json.loads(body)
        except (ValueError, RecursionError, TimeoutError):
            report = None
        if not isinstance(report, dict):
            return Response(status_code=400)
        self.page.reports.put(report)
        return Response(status_code=204)
