"""What an Android device is and how it fares: version, processor, memory, space, battery, heat."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any

from phantom_edge.bench.android import parse
from phantom_edge.bench.android.adb import Adb
from phantom_edge.errors import InputError

LEAST_SDK = 23  # minSdk of ExecuTorch's Android library
ROOM = 1.05  # times the files: a file system needs some more than their bytes
# By ELF's e_machine.
MACHINES = {0xB7: "arm64-v8a", 0x28: "armeabi-v7a", 0x3E: "x86_64", 0x03: "x86", 0xF3: "riscv64"}


def describe(adb: Adb) -> dict[str, Any]:
    """Facts that do not change. Raises :class:`InputError` for an Android that is too old."""
    p = parse.properties(adb.shell("getprop"))
    sdk = p.get("ro.build.version.sdk", "")
    if sdk.isdigit() and int(sdk) < LEAST_SDK:
        version = p.get("ro.build.version.release", "?")
        raise InputError(f"{adb.serial} runs Android {version} (API {sdk}); ExecuTorch needs API {LEAST_SDK}")
    memory = re.search(r"MemTotal:\s+(\d+)", adb.shell("cat /proc/meminfo", check=False))
    name = " ".join(filter(None, (p.get("ro.product.manufacturer"), p.get("ro.product.model")))) or adb.serial
    return {
        "kind": "adb",
        "name": name,
        "serial": adb.serial,
        "system": f"Android {p.get('ro.build.version.release', '?')} (API {sdk or '?'})",
        "abi": p.get("ro.product.cpu.abilist", p.get("ro.product.cpu.abi", "?")),
        "soc": " ".join(filter(None, (p.get("ro.soc.manufacturer"), p.get("ro.soc.model")))),
    } | ({"memory, GB": round(int(memory[1]) * 1024 / 1e9, 1)} if memory else {})


def check_room(adb: Adb, folder: str, files: list[Path]) -> None:
    """Raise :class:`InputError` when ``files`` do not fit where ``folder`` lies."""
    needed = int(sum(path.stat().st_size for path in files) * ROOM)
    free = parse.free_bytes(adb.shell(f"df -k {folder}", check=False))
    if free is not None and free < needed:
        raise InputError(
            f"{adb.serial} has {free / 1e9:.2f} GB free at {folder}, the bundle needs {needed / 1e9:.2f} GB; "
            "free some space"
        )


def check_program(path: Path, abis: str) -> None:
    """Raise :class:`InputError` when ``path`` is no program for a processor of these ABIs."""
    try:
        with path.open("rb") as file:
            head = file.read(20)
    except OSError as error:
        raise InputError(f"--runner {path}: {error.strerror}") from None
    if len(head) < 20 or head[:4] != b"\x7fELF":
        raise InputError(f"--runner {path}: no program for Android (not an ELF file); build it with the NDK")
    machine = MACHINES.get(struct.unpack("<H", head[18:20])[0], "another processor")
    if machine not in abis.split(","):
        raise InputError(f"--runner {path}: built for {machine}, the phone runs {abis}; build it for that")


def condition(adb: Adb) -> dict[str, Any]:
    """Battery and heat now."""
    battery = parse.battery(adb.shell("dumpsys battery", check=False))
    thermal = parse.thermal(adb.shell("dumpsys thermalservice", check=False))
    return {f"battery {k}": v for k, v in battery.items()} | {f"thermal {k}": v for k, v in thermal.items()}
