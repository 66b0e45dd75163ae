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
from dataclasses import dataclass
from typing import Any, Final

from starlette.types import ASGIApp
from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol


@dataclass(frozen=True)
class Limits:
    """How many clients at once, and how long each may keep a server waiting; in seconds and bytes."""

    connections: int = 128
    """At once; a browser opens six."""
    backlog: int = 128
    """Connections that wait to be accepted."""
    handshake: float = 10.0
    """For TLS."""
    request: float = 20.0
    """For a request's head, from the connection's begin or the last answer's end."""
    stall: float = 30.0
    """In which a client reads nothing of what was sent."""
    head: int = 16 << 10
    """Bytes of a request's head."""
    keep_alive: int = 5
    """Of rest between two requests."""
    end: int = 2
    """For answers under way when the server is stopped."""
    half_closed: bool = True
    """Whether a client that sends nothing more has its answer. Else it counts as gone: a closed program's
    connection looks the same, and an answer may be dear."""


USUAL: Final = Limits()
"""Of files that a browser loads."""


class Listener(socket.socket):
    """A listening socket that keeps no more than so many connections at once, TLS handshakes included.

    One more takes the place of the one that has been waiting longest. ``sending`` gives the file numbers of
    those that are being answered: these stay.
    """

    def __init__(self, family: int, limits: Limits):
        # By this number asyncio knows that it may send small answers at once.
        super().__init__(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self.limits = limits
        self.sending: Callable[[], set[int]] = set
        self._accepted: list[socket.socket] = []

    def accept(self) -> tuple[socket.socket, Any]:
        while True:
            connection, address = super().accept()
            self._accepted = [each for each in self._accepted if each.fileno() >= 0]
            if len(self._accepted) < self.limits.connections or self._make_room():
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

    def __init__(self, limits: Limits, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._limits = limits
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
        size = self._limits.head
        for start in range(0, len(data), size):
            if not self.transport.is_closing():
                super().data_received(data[start : start + size])
        if self.busy:
            _cancel(self._request_due)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Whether the connection stays open: for the answer to a client that has closed its own half."""
        self._ended = True
        return self._limits.half_closed and self.busy and self.scheme == "http"  # TLS has no halves

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.busy:
            return  # a request that came together with the last
        if self._ended:
            self.transport.close()
        self._await_request()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._reading_due = self.loop.call_later(self._limits.stall, self.transport.abort)

    def resume_writing(self) -> None:
        _cancel(self._reading_due)
        super().resume_writing()

    def _await_request(self) -> None:
        """Without a whole head in time the connection ends, and with it whatever the client has not read."""
        _cancel(self._request_due)
        self._request_due = self.loop.call_later(self._limits.request, self.transport.abort)


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


class LimitedServer(Server):
    """uvicorn's server, with a time limit for TLS handshakes and no word about clients that go away.

    ``ending`` is called when it is stopped, before it waits for the answers under way.
    """

    def __init__(self, config: Config, tls: ssl.SSLContext | None, limits: Limits):
        super().__init__(config)
        self.ending: Callable[[], None] = lambda: None
        self._tls, self._limits = tls, limits

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self.lifespan.startup()
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda *_: None)
        self.servers = [
            await loop.create_server(
                self._connection,
                sock=listener,
                backlog=self._limits.backlog,
                ssl=self._tls,
                ssl_handshake_timeout=self._limits.handshake if self._tls else None,
            )
            for listener in sockets or ()
        ]
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.ending()
        await super().shutdown(sockets)

    def sending(self) -> set[int]:
        """The file numbers of the connections that are being answered."""
        connections = [each for each in self.server_state.connections if isinstance(each, Connection)]
        return {each.transport.get_extra_info("socket").fileno() for each in connections if each.sending}

    def _connection(self) -> Connection:
        state = self.lifespan.state
        return Connection(self._limits, config=self.config, server_state=self.server_state, app_state=state)


def limited(
    app: ASGIApp, tls: ssl.SSLContext | None, limits: Limits, *, lifespan: bool = False
) -> LimitedServer:
    """A server for an ASGI application, quiet and limited; with ``lifespan`` it hears of begin and end."""
    config = Config(
        app,
        http=Connection,
        ws="none",
        loop="asyncio",
        lifespan="on" if lifespan else "off",
        interface="asgi3",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,  # nobody stands before it, so nobody may speak for another address
        server_header=False,
        h11_max_incomplete_event_size=limits.head,
        timeout_keep_alive=limits.keep_alive,
        timeout_graceful_shutdown=limits.end,
    )
    return LimitedServer(config, tls, limits)
