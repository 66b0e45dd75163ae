"""``phantom-edge serve``: the application on an address, until a signal; then what is being answered ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from phantom_edge.apps.connections import Limits
from phantom_edge.apps.listening import WebServer, listening
from phantom_edge.serve.app import Service
from phantom_edge.serve.options import ServeOptions

CONNECTIONS: Final = 512
KEEP_ALIVE: Final = 30  # seconds; clients keep a connection for five


@contextmanager
def serving(
    options: ServeOptions,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    certificate: Path | None = None,
    key: Path | None = None,
    names: Sequence[str] = (),
) -> Iterator[WebServer]:
    """A server that is bound and not yet running; ``names`` are further ones by which it may be addressed.

    Raises :class:`InputError`: the port is taken or not allowed, or the certificate does not load.
    """
    service = Service(options)
    limits = Limits(
        connections=CONNECTIONS,
        backlog=CONNECTIONS,
        request=KEEP_ALIVE,
        keep_alive=KEEP_ALIVE,
        end=options.grace,
        half_closed=False,
    )
    with listening(
        service.guarded,
        host=host,
        port=port,
        certificate=certificate,
        key=key,
        names=names,
        limits=limits,
        lifespan=True,
    ) as server:
        server.server.ending = service.pool.drain
        yield server
