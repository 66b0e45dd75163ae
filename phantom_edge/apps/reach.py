"""By which addresses other devices reach a server here, and what their browsers want of it."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from phantom_edge.apps.listening import WebServer

ELSEWHERE: Final = ("192.0.2.1", 9)
"""An address that is nobody's (RFC 5737)."""
INTERFACE_ADDRESS: Final = {"linux": 0x8915, "darwin": 0xC0206921}
"""``SIOCGIFADDR``, by which a system tells an interface's IPv4 address."""
INNER: Final = ("br-", "docker", "veth", "virbr")
"""How interfaces to containers and virtual machines begin: no phone is behind them."""


@dataclass(frozen=True)
class Reach:
    """How other devices reach a server: full addresses, the likeliest first; none for this machine alone.

    ``secure`` is whether it speaks https, and ``named`` whether its certificate names the first address.
    """

    addresses: tuple[str, ...]
    secure: bool
    named: bool

    @classmethod
    def of(cls, server: WebServer) -> Reach:
        """Of a server that is bound."""
        hosts = _hosts(server)
        certified = [host for host in hosts if host in server.certified]
        certified += [name for name in server.certified if _is_public_name(name)] if hosts else []
        shown = list(dict.fromkeys(certified)) or hosts
        scheme = server.address.partition(":")[0]
        addresses = tuple(f"{scheme}://{_in_url(host)}:{server.port}/" for host in shown)
        return cls(addresses, scheme == "https", bool(certified))

    def hints(self) -> list[str]:
        """What to know before one opens the first address on a phone, and how to mend it."""
        if not self.addresses:
            return []
        host = self.addresses[0].split("//")[1].rpartition(":")[0].strip("[]")
        made = f"mkcert -install && mkcert -cert-file cert.pem -key-file key.pem {host}"
        trust = "the phone must trust mkcert's root, in the folder that `mkcert -CAROOT` names"
        if not self.secure:
            return [
                "Over http a browser there gives no camera and computes on one core; the sample and pictures "
                "work.",
                f"For the camera: {made}",
                f"then --cert cert.pem --key key.pem; {trust}",
            ]
        if not self.named:
            return [f"The certificate does not name {host}, so browsers will warn: {made}"]
        return []


def _hosts(server: WebServer) -> list[str]:
    """Names or addresses of this machine that the server answers from elsewhere."""
    bound = ipaddress.ip_address(server.bound.partition("%")[0])
    if bound.is_loopback:
        return []
    if not bound.is_unspecified:
        return [server.host]
    return list(dict.fromkeys([*_outward(), *_of_interfaces()]))


def _outward() -> Iterator[str]:
    """The address from which this machine speaks to others, if any. Nothing is sent."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(ELSEWHERE)
        yield probe.getsockname()[0]


def _of_interfaces() -> Iterator[str]:
    """IPv4 addresses of this machine's networks, where the system tells them."""
    request = INTERFACE_ADDRESS.get(sys.platform)
    if request is None:
        return
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            if name.startswith(INNER):
                continue
            with contextlib.suppress(OSError):  # one without an address
                answer = fcntl.ioctl(probe, request, struct.pack("256s", name.encode()[:15]))
                address = socket.inet_ntoa(answer[20:24])
                if not ipaddress.ip_address(address).is_loopback:
                    yield address


def _is_public_name(name: str) -> bool:
    """Whether a name in a certificate can be another device's way here."""
    return "*" not in name and not name.endswith("localhost") and name not in ("127.0.0.1", "::1")


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
