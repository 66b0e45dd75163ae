"""Servers for the length of a block: the toolkit's own, and a plain one that knows nothing of isolation."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from phantom_edge.apps.serve import serving


class Server:
    """A running server that can be stopped early."""

    def __init__(self, server: ThreadingHTTPServer, address: str):
        self.address = address
        self._server = server
        self._thread = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextlib.contextmanager
def served(mounts: Mapping[str, Path]) -> Iterator[Server]:
    with serving(mounts) as (server, address):
        running = Server(server, address)
        try:
            yield running
        finally:
            running.stop()


class _Plain(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def plainly_served(folder: Path) -> Iterator[Server]:
    """Python's own static server, as any web space is: no headers of ours."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Plain, directory=str(folder)))
    running = Server(server, f"http://localhost:{server.server_port}/")
    try:
        yield running
    finally:
        running.stop()
