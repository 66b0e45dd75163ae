"""Limits on who connects to a server: how many at once, and how long each may keep it waiting.

uvicorn bounds a request's head and closes idle connections between requests. What it leaves open are clients
that connect and say nothing, that send a head byte by byte, or that ask for a file and do not read it.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Final

from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

CONNECTIONS: Final = 128
"""At once; a browser opens six. Further ones are closed as they come."""
HANDSHAKE: Final = 10.0  # seconds for TLS
REQUEST: Final = 20.0  # seconds for a request's head, from the connection's begin or the last answer's end
STALL: Final = 30.0  # seconds in which a client reads nothing of what was sent
HEAD_BYTES: Final = 16 << 10
KEEP_ALIVE: Final = 5  # seconds of rest between two requests
END: Final = 2  # seconds for answers under way when the server is stopped


class Listener(socket.socket):
    """A listening socket that accepts no more than :data:`CONNECTIONS` at once, TLS handshakes included."""

    def __init__(self, family: int):
        super().__init__(family, socket.SOCK_STREAM)
        self._accepted: list[socket.socket] = []

    def accept(self) -> tuple[socket.socket, Any]:
        while True:
            connection, address = super().accept()
            self._accepted = [each for each in self._accepted if each.fileno() >= 0]
            if len(self._accepted) < CONNECTIONS:
                self._accepted.append(connection)
                return connection, address
            connection.close()


class Connection(H11Protocol):
    """One client, dropped when it keeps the server waiting."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._request_due: asyncio.TimerHandle | None = None
        self._reading_due: asyncio.TimerHandle | None = None
        self._ended = False  # the client sends nothing more

    @property
    def _busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        _cancel(self._request_due)
        _cancel(self._reading_due)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._busy:
            _cancel(self._request_due)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Whether the connection stays open: for the answer to a client that has closed its own half."""
        self._ended = True
        return self._busy and self.scheme == "http"  # TLS has no halves

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._ended:
            self.transport.close()
        if not self._busy:  # a pipelined request may be under way
            self._await_request()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._reading_due = self.loop.call_later(STALL, self.transport.abort)

    def resume_writing(self) -> None:
        _cancel(self._reading_due)
        super().resume_writing()

    def _await_request(self) -> None:
        """Without a whole head in time the connection ends, and with it whatever the client has not read."""
        _cancel(self._request_due)
        self._request_due = self.loop.call_later(REQUEST, self.transport.abort)


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


class LimitedServer(Server):
    """uvicorn's server, with a time limit for TLS handshakes and no word about clients that go away."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda *_: None)
        tls = self.config.ssl
        for listener in sockets or ():
            server = await loop.create_server(
                self._connection, sock=listener, ssl=tls, ssl_handshake_timeout=HANDSHAKE if tls else None
            )
            self.servers = [server]
        self.started = True

    def _connection(self) -> Connection:
        return Connection(config=self.config, server_state=self.server_state, app_state={})


def limited(app: Any, tls: Any) -> LimitedServer:
    """A server for an ASGI application, quiet and limited."""
    config = Config(
        app,
        http=Connection,
        ws="none",
        loop="asyncio",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,  # nobody stands before it, so nobody may speak for another address
        server_header=False,
        ssl_context_factory=None if tls is None else lambda *_: tls,
        h11_max_incomplete_event_size=HEAD_BYTES,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=END,
    )
    return LimitedServer(config)
