"""What ``xcrun devicectl`` writes with ``--json-output``, as values.

The form is Apple's own (``devicectl``, JSON version 2, Xcode 15 and later): ``info.outcome`` and ``error`` of
every command, ``result.devices[]`` with ``connection-``, ``device-`` and ``hardwareProperties``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from phantom_edge.errors import CheckError


@dataclass(frozen=True)
class AppleDevice:
    """One device: identifiers, name, model, system version, and whether it can be used now."""

    identifier: str
    udid: str
    name: str
    model: str
    product: str
    platform: str
    version: str
    paired: bool
    reachable: bool
    developer: bool

    @property
    def names(self) -> tuple[str, ...]:
        """What a user may call it by."""
        return tuple(filter(None, (self.identifier, self.udid, self.name)))


def devices(document: Mapping[str, Any]) -> list[AppleDevice]:
    """The iPhones and iPads of ``devicectl list devices``; watches, televisions and headsets are left out."""
    return [d for d in _devices(document) if d.platform in ("iOS", "iPadOS", "")]


def _devices(document: Mapping[str, Any]) -> Iterator[AppleDevice]:
    for entry in _section(document, "result").get("devices") or []:
        parts = ("connection", "device", "hardware")
        connection, device, hardware = (_section(entry, f"{part}Properties") for part in parts)
        yield AppleDevice(
            identifier=str(entry.get("identifier", "")),
            udid=str(hardware.get("udid", "")),
            name=str(device.get("name", "?")),
            model=str(hardware.get("marketingName") or hardware.get("productType") or "?"),
            product=str(hardware.get("productType", "")),
            platform=str(hardware.get("platform", "")),
            version=str(device.get("osVersionNumber", "?")),
            paired=connection.get("pairingState") == "paired",
            # "disconnected" only says that no tunnel is open yet.
            reachable=connection.get("tunnelState") != "unavailable",
            developer=device.get("developerModeStatus") != "disabled",
        )


def outcome(document: Mapping[str, Any]) -> None:
    """Raise :class:`CheckError` with the reason when a command failed."""
    if _section(document, "info").get("outcome") == "success":
        return
    raise CheckError(f"devicectl: {reason(document)}")


def reason(document: Mapping[str, Any]) -> str:
    """The most telling description in a failed command's ``error``: the innermost one."""
    error, text = _section(document, "error"), "no reason given"
    while error:
        info = _section(error, "userInfo")
        described = _section(info, "NSLocalizedDescription").get("string")
        text = str(described or text)
        error = _section(_section(info, "NSUnderlyingError"), "error")
    return text


def exit_code(document: Mapping[str, Any]) -> int | None:
    """With what ``device process launch --console`` says that the app ended."""
    code = _section(_section(document, "result"), "terminationResult").get("exitCode")
    return code if isinstance(code, int) else None


def _section(data: Any, name: str) -> Mapping[str, Any]:
    value = data.get(name) if isinstance(data, Mapping) else None
    return value if isinstance(value, Mapping) else {}
