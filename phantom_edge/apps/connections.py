"""Limits on who connects to a server: how many at once, and how long each may keep it waiting.

uvicorn bounds a request's head and closes idle connections between requests. What it leaves open are clients
that connect and say nothing, that send a head byte by byte, or that ask for a file and do not read it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final

from starlette.types import ASGIApp
from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

CONNECTIONS: Final = 128
"""At once; a browser opens six."""
BACKLOG: Final = 128  # that wait to be accepted
HANDSHAKE: Final = 10.0  # seconds for TLS
REQUEST: Final = 20.0  # seconds for a request's head, from the connection's begin or the last answer's end
STALL: Final = 30.0  # seconds in which a client reads nothing of what was sent
HEAD_BYTES: Final = 16 << 10
KEEP_ALIVE: Final = 5  # seconds of rest between two requests
END: Final = 2  # seconds for answers under way when the server is stopped


class Listener(socket.socket):
    """A listening socket that keeps no more than :data:`CONNECTIONS` at once, TLS handshakes included.

    One more takes the place of the one that has been waiting longest. ``sending`` gives the file numbers of
    those that are being answered: these stay.
    """

    def __init__(self, family: int):
        # By this number asyncio knows that it may send small answers at once.
        super().__init__(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self.sending: Callable[[], set[int]] = set
        self._accepted: list[socket.socket] = []

    def accept(self) -> tuple[socket.socket, Any]:
        while True:
            connection, address = super().accept()
            self._accepted = [each for each in self._accepted if each.fileno() >= 0]
            if len(self._accepted) < CONNECTIONS or self._make_room():
                self._accepted.append(connection)
                return connection, address
            connection.close()

    def _make_room(self) -> bool:
        """End the connection that has been waiting longest; False where all are being answered."""
        sending = self.sending()
        waiting = next((each for each in self._accepted if each.fileno() not in sending), None)
        if waiting is None:
            return False
        self._accepted.remove(waiting)
        with contextlib.suppress(OSError):  # it may be gone already
            waiting.shutdown(socket.SHUT_RDWR)  # the event loop then closes it
        return True


class Connection(H11Protocol):
    """One client, dropped when it keeps the server waiting."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._request_due: asyncio.TimerHandle | None = None
        self._reading_due: asyncio.TimerHandle | None = None
        self._ended = False  # the client sends nothing more

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def sending(self) -> bool:
        """Whether it is being answered, or the end of an answer has still to be sent."""
        return self.busy or self.transport.get_write_buffer_size() > 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        _cancel(self._request_due)
        _cancel(self._reading_due)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        # h11 measures a head that is not whole yet, so one that comes at once is given to it in parts.
        for start in range(0, len(data), HEAD_BYTES):
            if not self.transport.is_closing():
                super().data_received(data[start : start + HEAD_BYTES])
        if self.busy:
            _cancel(self._request_due)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Whether the connection stays open: for the answer to a client that has closed its own half."""
        self._ended = True
        return self.busy and self.scheme == "http"  # TLS has no halves

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.busy:
            return  # a request that came together with the last
        if self._ended:
            self.transport.close()
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

    def __init__(self, config: Config, tls: ssl.SSLContext | None):
        super().__init__(config)
        self._tls = tls

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda *_: None)
        limit = HANDSHAKE if self._tls else None
        self.servers = [
            await loop.create_server(
                self._connection, sock=listener, backlog=BACKLOG, ssl=self._tls, ssl_handshake_timeout=limit
            )
            for listener in sockets or ()
        ]
        self.started = True

    def sending(self) -> set[int]:
        """The file numbers of the connections that are being answered."""
        connections = [each for each in self.server_state.connections if isinstance(each, Connection)]
        return {each.transport.get_extra_info("socket").fileno() for each in connections if each.sending}

    def _connection(self) -> Connection:
        return Connection(config=self.config, server_state=self.server_state, app_state={})


def limited(app: ASGIApp, tls: ssl.SSLContext | None) -> LimitedServer:
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
        h11_max_incomplete_event_size=HEAD_BYTES,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=END,
    )
    return LimitedServer(config, tls)
