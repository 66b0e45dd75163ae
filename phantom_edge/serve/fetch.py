"""Pictures by their address, where the server allows it: bounded, and never from this machine's own network.

A request could otherwise make the server read what only it can reach: a router's page, a cloud's secrets. So
a name is looked up once, every address of it must be public, and the connection goes to that very address.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

from phantom_edge.serve.api_error import ApiError
from phantom_edge.serve.data_url import refused

SECONDS: Final = 10.0  # for all of it
REDIRECTS: Final = 3
MAX_URL: Final = 2048
CHUNK: Final = 1 << 16
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_AGENT: Final = {"User-Agent": "phantom-edge", "Accept": "image/png, image/jpeg, image/webp"}


@dataclass(frozen=True)
class Fetcher:
    """Gets pictures of at most ``limit`` bytes; from private addresses too where ``private``."""

    limit: int
    private: bool = False

    def get(self, url: str) -> bytes:
        """The file at an address. Raises :class:`ApiError`."""
        deadline = time.monotonic() + SECONDS
        try:
            for _ in range(REDIRECTS + 1):
                answer = self._request(url, deadline)
                if isinstance(answer, bytes):
                    return answer
                url = urljoin(url, answer)
        except TimeoutError:
            raise refused(f"the picture's address gave no picture in {SECONDS:.0f} s") from None
        except (OSError, http.client.HTTPException, ValueError, UnicodeError):
            raise refused("the picture's address cannot be read; send the picture as a data URL") from None
        raise refused(f"the picture's address leads on more than {REDIRECTS} times")

    def _request(self, url: str, deadline: float) -> bytes | str:
        """The file, or where it is to be had instead."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or len(url) > MAX_URL:
            raise refused("the picture's address is none of http or https")
        connection = _connection(parts, self._addresses(parts), deadline)
        # The socket's own limit is for each byte.
        cut = threading.Timer(_left(deadline), _shut, [connection.sock])
        cut.start()
        try:
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            host = parts.netloc.rpartition("@")[2]
            connection.request("GET", target, headers={**_AGENT, "Host": host})
            response = connection.getresponse()
            if response.status in (301, 302, 303, 307, 308):
                return response.headers.get("Location", "")
            if response.status != 200:
                raise refused(f"the picture's address answered {response.status}")
            return self._body(response, deadline)
        finally:
            cut.cancel()
            connection.close()

    def _body(self, response: http.client.HTTPResponse, deadline: float) -> bytes:
        body = bytearray()
        while chunk := response.read1(CHUNK):
            body += chunk
            if len(body) > self.limit:
                what = f"the picture at the address has more than {self.limit >> 20} MB"
                raise ApiError(400, what, param="messages", code="image_too_large")
        _left(deadline)
        if response.length:
            raise http.client.IncompleteRead(bytes(body), response.length)
        return bytes(body)

    def _addresses(self, parts: SplitResult) -> list[tuple[str, int]]:
        """Where to connect to. Raises :class:`ApiError` for a name with an address that is not public."""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        listed = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
        addresses = [str(entry[4][0]) for entry in listed]
        for address in addresses:
            if not self.private and not _public(address):
                what = "the picture's address leads into a private network"
                raise ApiError(400, what, param="messages", code="image_url_not_allowed")
        return [(address, port) for address in addresses]


def _public(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    inside = None  # an IPv4 address that an IPv6 address leads to
    if isinstance(ip, ipaddress.IPv6Address):
        inside = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            inside = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.is_global and not ip.is_multicast and (inside is None or inside.is_global)


def _connection(
    parts: SplitResult, addresses: list[tuple[str, int]], deadline: float
) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection(parts.hostname or "", timeout=_left(deadline))
    for address in addresses:
        try:
            connection.sock = socket.create_connection(address, timeout=_left(deadline))
            break
        except OSError:
            if address == addresses[-1]:
                raise
    if parts.scheme == "https":
        context = ssl.create_default_context()
        connection.sock = context.wrap_socket(connection.sock, server_hostname=parts.hostname)
    return connection


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it is closed by then
        connection.shutdown(socket.SHUT_RDWR)


def _left(deadline: float) -> float:
    """Seconds that are left. Raises :class:`TimeoutError` when there are none."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
