"""Servers for the length of a block: the toolkit's own, and a plain one that knows nothing of isolation."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from phantom_edge.apps.listening import WebServer
from phantom_edge.apps.serve import serving


@contextlib.contextmanager
def served(mounts: Mapping[str, Path], **options: Any) -> Iterator[WebServer]:
    """A running server, which may be stopped early."""
    with serving(mounts, **options) as server:
        server.start()
        yield server


@dataclass
class PlainServer:
    """Python's own, running."""

    address: str
    _server: ThreadingHTTPServer

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Plain(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def plainly_served(folder: Path) -> Iterator[PlainServer]:
    """Python's own static server, as any web space is: no headers of ours."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Plain, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    running = PlainServer(f"http://localhost:{server.server_port}/", server)
    try:
        yield running
    finally:
        running.stop()
        thread.join()
