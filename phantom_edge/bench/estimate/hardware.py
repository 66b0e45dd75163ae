"""The table of devices, and what a runtime makes of their published figures."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from phantom_edge.bench.estimate.roofline import Rates
from phantom_edge.errors import InputError, did_you_mean
from phantom_edge.report.report import Report, Table

TABLE = Path(__file__).with_name("devices.toml")
LEVELS = ("low", "typical", "high")
WRITE_BYTES = 8  # of memory traffic per value that an operation writes: one read and one written


@dataclass(frozen=True)
class Figure:
    """A number with where it comes from."""

    value: float
    source: str


@dataclass(frozen=True)
class Gain:
    """How many times as fast as a CPU an NPU is, phase by phase."""

    vision: float = 1.0
    prefill: float = 1.0
    decode: float = 1.0


@dataclass(frozen=True)
class Device:
    """A device of the table: GB/s, 10^12 operations per second, GB of memory, formats that run on it.

    ``hexagon`` is the version of a Snapdragon's NPU, ``on_npu`` says that the row is about that.
    """

    name: str
    title: str
    formats: tuple[str, ...]
    memory: float
    bandwidth: Figure
    float: Figure
    int8: Figure | None = None
    hexagon: int | None = None
    on_npu: bool = False


Levels = tuple[float, ...]
"""A low, a typical and a high value."""


@dataclass(frozen=True)
class Runtime:
    """Shares of a device's figures that a runtime reaches, low, typical and high; see ``devices.toml``."""

    bandwidth: Levels
    int8: Levels
    float: Levels
    call: Levels
    memory: Levels
    source: str

    def rates(self, device: Device, level: int) -> Rates:
        """Rates at one of :data:`LEVELS`."""
        read = device.bandwidth.value * 1e9 * self.bandwidth[level]
        floats = device.float.value * 1e12 * self.float[level]
        integers = (device.int8 or device.float).value * 1e12 * self.int8[level]
        multiply = {"int4": integers, "int8": integers, "float": floats}
        return Rates(
            read=dict.fromkeys(("int4", "int8", "float"), read),
            multiply=multiply,
            multiply_image=multiply,
            attend_one=floats,
            attend_many=floats,
            attend_image=floats,
            cache=read,
            write=read / WRITE_BYTES,
            write_image=read / WRITE_BYTES,
            call=self.call[len(LEVELS) - 1 - level] * 1e-6,  # the fastest level has the shortest calls
        )


def device_for(name: str) -> Device:
    """The device of that name. Raises :class:`InputError` with the nearest ones."""
    known = devices()
    if name in known:
        return known[name]
    hint = did_you_mean(name, known)
    raise InputError(f"unknown device {name!r}{hint}; there are local, {', '.join(known)}")


def devices() -> Mapping[str, Device]:
    """All of them by name."""
    table = {name: _device(name, fields) for name, fields in _table()["device"].items()}
    npus = [_npu(device) for device in table.values() if device.hexagon is not None]
    return table | {device.name: device for device in npus}


def table() -> Report:
    """Every device with its figures and where they come from."""
    rows = []
    for device in devices().values():
        figures = [("GB/s", device.bandwidth), ("10^12 int8/s", device.int8), ("10^12 float/s", device.float)]
        for unit, figure in figures:
            if figure is not None and not device.on_npu:
                rows.append((device.name, device.title, f"{figure.value:g} {unit}", figure.source))
        if device.on_npu:
            times = "as its CPU, faster by what the NPU is published to be"
            rows.append((device.name, device.title, f"Hexagon v{device.hexagon}", times))
    shares = [(name, " ".join(fields["source"].split())) for name, fields in _table()["runtime"].items()]
    shares.append(("an NPU", npu_source()))
    return Report(
        "devices",
        "Devices that can be estimated",
        tables=[
            Table("Figures", ("device", "", "figure", "source"), tuple(rows)),
            Table("What runtimes make of them", ("format", "source"), tuple(shares)),
        ],
    )


def gain(level: int) -> Gain:
    """What an NPU gains at one of :data:`LEVELS`."""
    return Gain(**{phase: float(_table()["npu"][phase][level]) for phase in ("vision", "prefill", "decode")})


def npu_source() -> str:
    """Where :func:`gain` comes from, in one line."""
    return " ".join(_table()["npu"]["source"].split())


def runtime_for(format_name: str) -> Runtime:
    """What the runtime of a modelled format reaches."""
    fields = _table()["runtime"][format_name]
    figures: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
    return Runtime(**figures)


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(TABLE.read_text(encoding="utf-8"))


def _device(name: str, fields: Mapping[str, Any]) -> Device:
    figures: dict[str, Any] = {k: Figure(**fields[k]) for k in ("bandwidth", "float", "int8") if k in fields}
    hexagon = fields.get("hexagon")
    return Device(
        name, fields["title"], tuple(fields["formats"]), fields["memory"], **figures, hexagon=hexagon
    )


def _npu(device: Device) -> Device:
    return replace(device, name=f"{device.name}-npu", title=f"{device.title}, NPU", on_npu=True)
