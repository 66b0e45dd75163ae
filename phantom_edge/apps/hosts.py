"""The names under which a server may be addressed: any other ``Host`` is a page that rebinds its own name.

A page of another site can let its name point to this machine and then read what a server here answers (DNS
rebinding). Its requests carry that site's name, so a server that knows its own names refuses them.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_HEADER = re.compile(r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[a-z0-9._-]+?))\.?(?::\d{1,5})?", re.ASCII)
_ROUNDS = 8  # of messages that a TLS handshake may take


@dataclass(frozen=True)
class Hosts:
    """Names and addresses; ``every_address`` where a server listens on all of the machine's."""

    names: frozenset[str]
    every_address: bool

    def allow(self, header: str) -> bool:
        """Whether a ``Host`` header, with or without a port, names this server."""
        parts = _HEADER.fullmatch(header.lower())
        if parts is None:
            return False
        name = parts["v6"] or parts["name"]
        if address := _address(name):  # a rebound name is never one
            return self.every_address or address.is_loopback or str(address) in self.names
        wildcard = f"*.{name.partition('.')[2]}"
        return name == "localhost" or name.endswith(".localhost") or bool({name, wildcard} & self.names)


def hosts_of(host: str, bound: str, certified: Iterable[str] = ()) -> Hosts:
    """The names of a server: ``host`` as given, the address ``bound`` by it, those ``certified`` by TLS."""
    address = ipaddress.ip_address(bound.partition("%")[0])
    names = {host, str(address), *certified}
    if not address.is_loopback:
        own = socket.gethostname()
        names |= {own, f"{own}.local"}
    return Hosts(frozenset(name.lower().rstrip(".") for name in names), address.is_unspecified)


def certified_names(context: ssl.SSLContext, certificate: Path) -> list[str]:
    """The names and addresses in a server's certificate; none where it is not valid.

    Python decodes a certificate for who has checked it, so a client checks it here, in memory.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the certificate itself is what is trusted
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        client.load_verify_locations(certificate)
        ends = client.wrap_bio(down, up), context.wrap_bio(up, down, server_side=True)
        for turn in range(2 * _ROUNDS):
            try:
                ends[turn % 2].do_handshake()
            except ssl.SSLWantReadError:
                continue
        peer: Any = ends[0].getpeercert() or {}
    except (OSError, ValueError):
        return []
    return [value for kind, value in peer.get("subjectAltName", ()) if kind in ("DNS", "IP Address")]


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
