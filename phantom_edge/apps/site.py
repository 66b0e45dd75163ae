"""A built app as an ASGI application: files of some folders, with headers for WASM threads and safety."""

from __future__ import annotations

import contextlib
import mimetypes
import os
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from phantom_edge.apps.hosts import Hosts
from phantom_edge.apps.packing import PackedFile, packs, takes_gzip

ISOLATION: Final = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""What a page needs for shared memory, and so for threads (https://web.dev/articles/coop-coep)."""
GUARDS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), display-capture=(), usb=()",
}
PLAIN_POLICY: Final = "default-src 'self' 'wasm-unsafe-eval' blob: data:; object-src 'none'; base-uri 'none'"
"""The content policy of an app whose page states none."""
FRAMES: Final = "frame-ancestors 'none'"
"""The part of a policy that a page cannot state itself: nobody shows it in a frame and borrows its camera."""
IMMUTABLE: Final = "/assets/"  # names there carry a hash of the content
TYPES: Final = {
    ".wasm": "application/wasm",
    ".mjs": "text/javascript",
    ".js": "text/javascript",
    ".webmanifest": "application/manifest+json",
    ".onnx": "application/octet-stream",
    ".onnx_data": "application/octet-stream",
    ".safetensors": "application/octet-stream",
}
"""Written here, because a machine's own table of types may lack them or name them otherwise."""


class Files(StaticFiles):
    """GET and HEAD of files below the mounted folders; no listings, no links out of them.

    ``mounts`` are folders by the first part of the path, ``""`` for all others.
    """

    def __init__(self, mounts: Mapping[str, Path]):
        super().__init__()
        self.mounts = {prefix: folder.resolve() for prefix, folder in mounts.items()}

    def get_path(self, scope: Scope) -> str:
        return str(scope["path"])

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        """The file of a request, below the mount with the longest matching prefix."""
        parts = PurePosixPath(path).parts[1:]
        prefix = parts[0] if parts and parts[0] in self.mounts else ""
        root = self.mounts.get(prefix)
        if root is None or ".." in parts or any("\\" in part or "\0" in part for part in parts):
            return "", None
        inside = parts[1:] if prefix else parts
        try:
            target = root.joinpath(*inside or ("index.html",)).resolve()
            if target.is_relative_to(root) and os.access(target, os.R_OK):
                return str(target), target.stat()
        except (OSError, RuntimeError):  # too long a name, a loop of links
            pass
        return "", None

    def file_response(
        self,
        full_path: str | os.PathLike[str],
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        fixed = scope["path"].startswith(IMMUTABLE)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if fixed else "no-cache"
        if "Content-Type" in response.headers:
            response.headers["Content-Type"] = _type_of(Path(full_path))
        if not packs(Path(full_path), stat_result):
            return response
        response.headers["Vary"] = "Accept-Encoding"
        if response.status_code != 200 or not takes_gzip(Headers(scope=scope)):
            return response
        return PackedFile(Path(full_path), stat_result, response)


def _type_of(path: Path) -> str:
    return TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"


class Guarded:
    """Answers for its own names only, and puts the guarding headers on every answer."""

    def __init__(self, app: ASGIApp, hosts: Hosts, policy: str):
        self.app, self.hosts = app, hosts
        self.headers = ISOLATION | GUARDS | {"Content-Security-Policy": policy}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self.headers)
            await send(message)

        known = self.hosts.allow(Headers(scope=scope).get("host", ""))
        await (self.app if known else _misdirected)(scope, receive, send_guarded)


_misdirected = PlainTextResponse("not the name of this server; start it with --host NAME\n", status_code=421)


def content_policy(app: Path | None) -> str:
    """The policy that an app's page states in its head, as a header: workers do not read that head."""
    parser = _Policy()
    with contextlib.suppress(OSError, UnicodeError):
        parser.feed("" if app is None else (app / "index.html").read_text(encoding="utf-8"))
    return f"{parser.policy or PLAIN_POLICY}; {FRAMES}"


class _Policy(HTMLParser):
    policy = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        stated = " ".join(values.get("content", "").split())
        if tag == "meta" and values.get("http-equiv", "").lower() == "content-security-policy":
            self.policy = self.policy or (stated if stated.isascii() and stated.isprintable() else "")
