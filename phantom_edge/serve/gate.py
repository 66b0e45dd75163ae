"""What every request passes before it is answered: counts and the log, names and key, a bounded body."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import secrets
import time
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from phantom_edge.apps.hosts import Hosts
from phantom_edge.serve.api_error import ApiError, busy
from phantom_edge.serve.logs import log
from phantom_edge.serve.metrics import Metrics

ROUTES: Final = (
    "/v1/chat/completions", "/v1/models", "/health", "/metrics", "/docs", "/openapi.json",
)  # fmt: skip
"""Those that counts and the log name; any other is ``other``, for a path may be a user's text."""
GUARDED: Final = ("/v1/", "/metrics")
BODY_SECONDS: Final = 30.0  # for a request's body to arrive
BODIES: Final = 8
"""How many of the largest bodies may be in memory at once."""
HEADERS: Final = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
GONE: Final = 499  # the client went first
FACTS: Final = "phantom_edge.facts"
"""Where a request's scope keeps what the log shall say of it."""


class Observed:
    """Counts and logs every request, and gives it a number."""

    def __init__(self, app: ASGIApp, metrics: Metrics):
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begin, status = time.monotonic(), GONE
        number = f"req_{secrets.token_hex(12)}"
        facts: dict[str, Any] = {}
        scope[FACTS] = facts

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).update({**HEADERS, "X-Request-Id": number})
            await send(message)

        try:
            await self.app(scope, receive, send_noted)
        finally:
            route = route_of(scope["path"])
            self.metrics.requests.labels(route, str(status)).inc()
            took = round((time.monotonic() - begin) * 1000, 1)
            log("request", id=number, route=route, status=status, ms=took, **facts)


class Guarded:
    """Answers for its own names only and, where it has a key, to those who know it."""

    def __init__(self, app: ASGIApp, hosts: Hosts, key: str | None):
        self.app, self.hosts = app, hosts
        self._key = None if key is None else key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = self._refused(scope) if scope["type"] == "http" else None
        await (self.app if refused is None else response_of(refused))(scope, receive, send)

    def _refused(self, scope: Scope) -> ApiError | None:
        headers = Headers(scope=scope)
        if not self.hosts.allow(headers.get("host", "")):
            what = "not the name of this server; start it with --allow-host NAME"
            return ApiError(421, what, code="unknown_host")
        if self._key is None or not scope["path"].startswith(GUARDED):
            return None
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._key):
            return None
        what = "no API key, or not the server's; send it as Authorization: Bearer KEY"
        return ApiError(401, what, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})


def response_of(error: ApiError) -> JSONResponse:
    """An error as an answer."""
    return JSONResponse(error.body, error.status, error.headers)


def route_of(path: str) -> str:
    """What counts and the log call a path."""
    if path.startswith("/v1/models/"):
        return "/v1/models"
    return path if path in ROUTES else "other"


def note(request: Request, **facts: Any) -> None:
    """Let the log say more of a request: numbers, and names that the server itself has given."""
    request.scope[FACTS].update(facts)


@dataclass
class Bodies:
    """Reads requests' bodies, each of at most ``limit`` bytes, and not too many at once."""

    limit: int
    _bytes: int = field(default=0, init=False)

    async def read(self, request: Request) -> bytearray:
        """A request's body; :meth:`free` it. Raises :class:`ApiError`: too large, too slow, too many."""
        length = request.headers.get("content-length", "0")
        if length.isdecimal() and int(length[:20]) > self.limit:
            await _discard(request, BODIES * self.limit)
            raise self._too_large()
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for chunk in request.stream():
                    self._take(len(chunk))
                    body += chunk
                    if len(body) > self.limit:
                        raise self._too_large()
        except TimeoutError:
            self.free(len(body))
            what = f"the request's body did not arrive in {BODY_SECONDS:.0f} s"
            raise ApiError(408, what, code="timeout", headers={"Connection": "close"}) from None
        except BaseException:
            self.free(len(body))
            raise
        return body

    def free(self, count: int) -> None:
        """Say that ``count`` bytes are no longer in memory."""
        self._bytes -= count

    def _take(self, count: int) -> None:
        if self._bytes + count > BODIES * self.limit:
            raise busy(1, "too many large requests at once; ask again in 1 s")
        self._bytes += count

    def _too_large(self) -> ApiError:
        what = f"the request has more than {self.limit} bytes (--max-body); send a smaller picture"
        return ApiError(413, what, code="request_too_large", headers={"Connection": "close"})


async def _discard(request: Request, most: int) -> None:
    """Read what nobody keeps: a client that is refused while it sends does not hear why."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                most -= len(chunk)
                if most < 0:
                    return
