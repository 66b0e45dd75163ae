"""A web server for a built app: static files of some folders, with the headers that WASM threads need."""

from __future__ import annotations

import errno
import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from phantom_edge.errors import InputError

ISOLATION: Final = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""What a page needs for shared memory, and so for threads (https://web.dev/articles/coop-coep)."""
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
NOWHERE: Final = "/dev/null/nothing"  # never a file, so the answer is 404


class Handler(SimpleHTTPRequestHandler):
    """GET and HEAD of files below the mounted folders; no listings, no links out of them."""

    protocol_version = "HTTP/1.1"
    extensions_map = SimpleHTTPRequestHandler.extensions_map | TYPES
    timeout = 60  # seconds without a request, after which a kept connection is closed

    def __init__(self, *args: Any, mounts: Mapping[str, Path], **kwargs: Any):
        self.mounts = mounts
        super().__init__(*args, **kwargs)

    def translate_path(self, path: str) -> str:
        """The file of a request, below the mount with the longest matching prefix."""
        parts = PurePosixPath(unquote(urlsplit(path).path)).parts[1:]
        longest = sorted(self.mounts, key=len, reverse=True)
        prefix = next((m for m in longest if not m or parts[:1] == (m,)), None)
        if prefix is None or ".." in parts or any("\\" in part or "\0" in part for part in parts):
            return NOWHERE
        root = self.mounts[prefix].resolve()
        target = root.joinpath(*(parts[1:] if prefix else parts))
        if target == root:
            target = root / "index.html"
        try:
            inside = target.resolve().is_relative_to(root) and target.is_file()
        except OSError:
            inside = False
        return str(target) if inside else NOWHERE

    def end_headers(self) -> None:
        for name, value in ISOLATION.items():
            self.send_header(name, value)
        fixed = urlsplit(self.path).path.startswith(IMMUTABLE)
        self.send_header("Cache-Control", "public, max-age=31536000, immutable" if fixed else "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def list_directory(self, path: str | os.PathLike[str]) -> None:
        self.send_error(HTTPStatus.NOT_FOUND)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a line for every file would bury the address."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in the middle of a file is no event."""


@contextmanager
def serving(
    mounts: Mapping[str, Path],
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    certificate: Path | None = None,
    key: Path | None = None,
    handler: Callable[..., Handler] = Handler,
) -> Iterator[tuple[ThreadingHTTPServer, str]]:
    """A server that is bound and not yet running, and its address.

    ``mounts`` are folders by the first part of the path, ``""`` for all others. ``port`` 0 takes a free one.
    With ``certificate`` (and ``key``, where it is apart) it speaks https, which a browser asks for before it
    gives the camera to any host but this one.

    Raises:
        InputError: the port is taken or not allowed, or the certificate does not load.
    """
    try:
        server = _Server((host, port), partial(handler, mounts=dict(mounts)))
    except OverflowError:
        raise InputError(f"port {port} is not one; give 1 to 65535, or 0 for a free one") from None
    except OSError as error:
        raise InputError(_refusal(host, port, error)) from None
    try:
        if certificate is not None:
            server.socket = _tls(certificate, key).wrap_socket(server.socket, server_side=True)
        name = "localhost" if host in ("127.0.0.1", "::1", "0.0.0.0", "::") else host
        yield server, f"{'http' if certificate is None else 'https'}://{name}:{server.server_port}/"
    finally:
        server.server_close()


def _refusal(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is in use; give another --port, or 0 for a free one"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"port {port} is not allowed; give one above 1023"
    return f"cannot listen on {host}:{port} ({error.strerror or error}); give another --host or --port"


def _tls(certificate: Path, key: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        reason = f"no certificate and key that load ({error})"
        raise InputError(f"{certificate}: {reason}; give PEM files") from None
    return context
