"""A web server for a built app: files of some folders, for this machine unless another address is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.types import ASGIApp

from phantom_edge.apps.connections import USUAL, Limits
from phantom_edge.apps.hosts import Hosts
from phantom_edge.apps.listening import WebServer, listening
from phantom_edge.apps.site import Files, Guarded, content_policy


def serving(
    mounts: Mapping[str, Path],
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    certificate: Path | None = None,
    key: Path | None = None,
    front: Callable[[ASGIApp], ASGIApp] | None = None,
    limits: Limits = USUAL,
) -> AbstractContextManager[WebServer]:
    """A server that is bound and not yet running.

    ``mounts`` are folders by the first part of the path, ``""`` for all others. ``port`` 0 takes a free one.
    With ``certificate`` (and ``key``, where it is apart) it speaks https, which a browser asks for before it
    gives the camera to any host but this one. ``front`` puts an application before the files.

    Raises:
        InputError: the port is taken or not allowed, or the certificate does not load.
    """

    def guarded(hosts: Hosts) -> ASGIApp:
        files: ASGIApp = Files(mounts)
        app = ExceptionMiddleware(files if front is None else front(files))
        return Guarded(app, hosts, content_policy(mounts.get("")))

    return listening(guarded, host=host, port=port, certificate=certificate, key=key, limits=limits)
