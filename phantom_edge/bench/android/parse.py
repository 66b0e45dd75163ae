"""What adb and Android's own tools print, as values. Pure text in, values out.

Where each form comes from: the list of devices: adb's ``transport.cpp``; ``dumpsys battery``:
``BatteryService.java`` (``dumpInternal``); ``dumpsys thermalservice``: ``ThermalManagerService.java`` and
``Temperature.java`` (``toString``); ``df -k``: toybox; the runner's line: ExecuTorch's
``extension/llm/runner/stats.h`` (``print_report``), its flags: gflags' ``--help``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from phantom_edge.errors import CheckError

OBSERVER = re.compile(r"PyTorchObserver (\{.*\})")
FLAG = re.compile(r"^\s+-(\w+) \(", re.M)
TEMPERATURE = re.compile(r"Temperature\{mValue=([-\d.]+), mType=(-?\d+), mName=([^,]*), mStatus=(\d+)\}")
HAL_SECTION = "Current temperatures from HAL:"
# PowerManager.THERMAL_STATUS_*
STATUS = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
CPU, SKIN = 0, 3  # Temperature.TYPE_*
STATS: tuple[str, ...] = ("prompt_tokens", "generated_tokens", "inference_start_ms", "inference_end_ms")
STATS += ("prompt_eval_end_ms", "first_token_ms", "model_load_start_ms", "model_load_end_ms")


@dataclass(frozen=True)
class Listed:
    """A device that adb lists: serial, state (``device``, ``unauthorized``, ``offline``…) and model."""

    serial: str
    state: str
    model: str = ""


def devices(text: str) -> list[Listed]:
    """The devices of an adb server's long listing.

    >>> devices("39V4\\tdevice usb:1-1 product:x model:Pixel_8 device:y\\n")
    [Listed(serial='39V4', state='device', model='Pixel_8')]
    """
    listed = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) < 2:
            continue
        model = re.search(r"model:(\S+)", line)
        # "no permissions (…)" is a state of two words.
        state = "no permissions" if fields[1] == "no" else fields[1]
        listed.append(Listed(fields[0], state, model[1] if model else ""))
    return listed


def free_bytes(text: str) -> int | None:
    """Bytes that ``df -k PATH`` says are available; None when it says nothing of the kind."""
    lines = [line.split() for line in text.strip().splitlines()]
    if len(lines) < 2 or "Available" not in lines[0]:
        return None
    column = lines[0].index("Available") - len(lines[0])  # from the right: "Mounted on" are two words
    try:
        return int(lines[-1][column + 1]) * 1024
    except (IndexError, ValueError):
        return None


def battery(text: str) -> dict[str, Any]:
    """Of ``dumpsys battery``: ``level`` (%), ``celsius``, ``volts``, ``powered``, ``charge`` (µAh)."""
    fields = dict(re.findall(r"^\s*([A-Za-z ]+): (\S+)\s*$", text, re.M))
    sources = ("AC", "USB", "Wireless", "Dock")
    state: dict[str, Any] = {"powered": any(fields.get(f"{name} powered") == "true" for name in sources)}
    scales = (("level", "level", 1), ("temperature", "celsius", 0.1), ("voltage", "volts", 0.001))
    for name, key, scale in scales:
        if re.fullmatch(r"-?\d+", fields.get(name, "")):
            state[key] = round(int(fields[name]) * scale, 3)
    charge = fields.get("Charge counter", "")
    if charge.isdigit() and int(charge) > 0:  # phones without a counter say 0 or a negative number
        state["charge"] = int(charge)
    return state


def thermal(text: str) -> dict[str, Any]:
    """Of ``dumpsys thermalservice``: ``status`` in a word, ``celsius`` of the hottest CPU or skin."""
    state: dict[str, Any] = {}
    if status := re.search(r"^Thermal Status: (\d+)", text, re.M):
        state["status"] = STATUS[min(int(status[1]), len(STATUS) - 1)]
    # The cached values before this line may be old; phones without the section have only those.
    section = text.partition(HAL_SECTION)[2].partition(" cooling devices")[0] or text
    sensors = [(int(kind), float(value)) for value, kind, _, _ in TEMPERATURE.findall(section)]
    for sensor in (CPU, SKIN):
        values = [value for kind, value in sensors if kind == sensor and 0 < value < 150]
        if values:
            state["celsius"] = max(values)
            break
    return state


def runner_flags(text: str) -> set[str]:
    """The flags that a gflags program's ``--help`` lists."""
    return set(FLAG.findall(text))


def runner_stats(text: str) -> dict[str, int]:
    """The last ``PyTorchObserver`` line. Raises :class:`CheckError` for none, or one of another version."""
    lines = OBSERVER.findall(text)
    if not lines:
        raise CheckError(f"the runner printed no PyTorchObserver line; it ended with: {last_line(text)}")
    try:
        stats = json.loads(lines[-1])
        return {name: int(stats[name]) for name in STATS}
    except (ValueError, KeyError, TypeError) as error:
        message = f"the runner's PyTorchObserver line is of another version (lacks {error}), not 1.x"
        raise CheckError(message) from None


def peak_bytes(text: str) -> int | None:
    """``VmHWM`` of a ``/proc/PID/status`` in bytes."""
    match = re.search(r"^VmHWM:\s+(\d+) kB", text, re.M)
    return int(match[1]) * 1024 if match else None


def properties(text: str) -> dict[str, str]:
    """``getprop``'s lines ``[name]: [value]``."""
    return dict(re.findall(r"^\[([^\]]+)\]: \[([^\]]*)\]", text, re.M))


def last_line(text: str) -> str:
    """The last line that says something, at most 200 characters of it."""
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1].strip()[:200] if lines else "no output"
