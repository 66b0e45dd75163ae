"""An ASGI application on an address: http or https, within limits, for its own names only."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.types import ASGIApp

from phantom_edge.apps.connections import USUAL, LimitedServer, Limits, Listener, limited
from phantom_edge.apps.hosts import Hosts, certified_names, hosts_of
from phantom_edge.errors import InputError
from phantom_edge.system import interrupts


@dataclass
class WebServer:
    """A server that listens: it answers during :meth:`run`, or from :meth:`start` to :meth:`stop`."""

    address: str
    port: int
    server: LimitedServer
    listener: Listener
    host: str
    """As it was given."""
    bound: str
    """The address that it listens on."""
    certified: tuple[str, ...] = ()
    """Names and addresses in its certificate."""
    thread: threading.Thread | None = None

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self.server.server_state.connections)

    def run(self) -> None:
        """Answer until SIGINT or SIGTERM, which then has its usual effect."""
        try:
            with interrupts.deferred():  # a loop that is made by half complains when it goes
                runner = asyncio.Runner()
                runner.get_loop()
            with runner:
                runner.run(self.server.serve(sockets=[self.listener]))
        except asyncio.CancelledError:  # what asyncio makes of an interrupt in its first moments
            raise KeyboardInterrupt from None

    def start(self) -> None:
        """Answer in a thread of its own."""
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """End what :meth:`start` began, and listen no more."""
        self.server.should_exit = True
        if self.thread is not None:
            self.thread.join()
        self.listener.close()


@contextmanager
def listening(
    app_for: Callable[[Hosts], ASGIApp],
    *,
    host: str,
    port: int,
    certificate: Path | None = None,
    key: Path | None = None,
    names: Sequence[str] = (),
    limits: Limits = USUAL,
    lifespan: bool = False,
) -> Iterator[WebServer]:
    """A server that is bound and not yet running.

    ``app_for`` gives the application from the names under which it may be addressed, to which ``names`` are
    added. ``port`` 0 takes a free one. With ``certificate`` (and ``key``, where it is apart) it speaks https.

    Raises:
        InputError: the port is taken or not allowed, or the certificate does not load.
    """
    tls = None if certificate is None else _tls(certificate, key)
    listener = _listener(host, port, limits)
    try:
        bound, number = listener.getsockname()[:2]
        certified = tuple(certified_names(tls, certificate)) if tls and certificate else ()
        app = app_for(hosts_of(host, bound, [*certified, *names]))
        name = "localhost" if host in ("127.0.0.1", "::1", "0.0.0.0", "::") else host
        name = f"[{name}]" if ":" in name else name
        address = f"{'http' if tls is None else 'https'}://{name}:{number}/"
        limited_server = limited(app, tls, limits, lifespan=lifespan)
        server = WebServer(address, number, limited_server, listener, host, bound, certified)
        listener.sending = server.server.sending
        try:
            yield server
        finally:
            server.stop()
    finally:
        listener.close()


def _listener(host: str, port: int, limits: Limits) -> Listener:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0]
        listener = Listener(family, limits)
    except (OSError, ValueError) as error:
        raise InputError(_refusal(host, port, error)) from None
    try:
        if sys.platform != "win32":  # there it would share a port that another program uses
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((address[0], port, *address[2:]))
        listener.listen(limits.backlog)
    except (OSError, OverflowError) as error:
        listener.close()
        raise InputError(_refusal(host, port, error)) from None
    return listener


def _refusal(host: str, port: int, error: Exception) -> str:
    if isinstance(error, OverflowError):
        return f"port {port} is not one; give 1 to 65535, or 0 for a free one"
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EADDRINUSE:
        return f"port {port} is in use; give another --port, or 0 for a free one"
    if number in (errno.EACCES, errno.EPERM):
        return f"port {port} is not allowed; give one above 1023"
    reason = getattr(error, "strerror", None) or "no such address"
    return f"cannot listen on {host[:100]}:{port} ({reason}); give another --host or --port"


def _tls(certificate: Path, key: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        reason = f"no certificate and key that load ({error})"
        raise InputError(f"{certificate}: {reason}; give PEM files") from None
    return context
