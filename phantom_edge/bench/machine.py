"""This machine under a benchmark; what its platform does not tell (/proc, /sys) is None."""

from __future__ import annotations

import os
import platform
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What integer and half-precision kernels look for, on x86 and on Arm.
FLAGS: tuple[str, ...] = ("avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16")
FLAGS += ("amx_int8", "amx_bf16", "asimddp", "i8mm", "bf16", "sve")
NOISY_SHARE = 0.05  # of all cores, used by other processes: above it a timing is marked as noisy
PROC, THERMAL = Path("/proc"), Path("/sys/class/thermal")
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
"""What times are read from. The processor time of one thread is the wall's on a machine that nothing else
uses, and does not count what others take of it; of several threads it is their sum.
"""


def describe() -> dict[str, Any]:
    """CPU model, instruction sets that matter here, cores, memory and kernel."""
    cpu = _text(PROC / "cpuinfo")
    model = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", cpu, re.M)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", cpu, re.M)
    memory = re.search(r"MemTotal:\s+(\d+)", _text(PROC / "meminfo"))
    facts = {
        "cpu": model[1] if model else platform.processor() or platform.machine(),
        "flags": " ".join(f for f in FLAGS if flags and f in flags[1].split()),
        "cores": cores(),
        "kernel": platform.release(),
    }
    return facts | ({"memory, GB": round(int(memory[1]) * 1024 / 1e9, 1)} if memory else {})


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class Usage:
    """What the machine did during a block: seconds of wall clock, and core seconds that other processes used.

    ``foreign`` is None where the platform does not tell.
    """

    seconds: float = 0.0
    foreign: float | None = None

    @property
    def others(self) -> float | None:
        """The share of all cores that others used."""
        if self.foreign is None:
            return None
        # The kernel counts in ticks of 10 ms: over a short block the share can come out above 1.
        return min(1.0, max(0.0, self.foreign) / max(self.seconds * (os.cpu_count() or 1), 1e-9))

    @property
    def noisy(self) -> bool:
        return self.others is not None and self.others > NOISY_SHARE


@contextmanager
def watched() -> Iterator[Usage]:
    """Measure the block's duration, and how busy the cores were with anything but this process."""
    usage = Usage()
    busy, own, start = _busy(), _own(), time.perf_counter()
    yield usage
    usage.seconds = time.perf_counter() - start
    now = _busy()
    if busy is not None and now is not None:
        usage.foreign = (now - busy) - (_own() - own)


def status_bytes(*names: str, text: str | None = None) -> dict[str, int]:
    """Fields of /proc/self/status (``VmRSS``, ``RssAnon``, ``VmHWM``…) in bytes."""
    text = (PROC / "self" / "status").read_text() if text is None else text
    sizes = dict(re.findall(r"^(\w+):\s+(\d+) kB", text, re.M))
    return {name: int(sizes[name]) * 1024 for name in names}


def peak_memory() -> int:
    """The most memory that this process took at once, in bytes."""
    if (PROC / "self" / "status").exists():
        return status_bytes("VmHWM")["VmHWM"]
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts in bytes, others in kilobytes


def resident_memory() -> int | None:
    """What this process has in memory now, in bytes; None where the platform does not tell."""
    if not (PROC / "self" / "status").exists():
        return None
    return status_bytes("VmRSS")["VmRSS"]


def temperature(root: Path = THERMAL) -> float | None:
    """The hottest zone in degrees Celsius, None where there is none."""
    celsius = []
    for path in root.glob("thermal_zone*/temp"):
        try:
            celsius.append(int(path.read_text()) / 1000)
        except (OSError, ValueError):
            continue
    return max(celsius, default=None)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _busy() -> float | None:
    """Seconds of all cores spent on anything since boot, time stolen by the hypervisor included."""
    lines = _text(PROC / "stat").splitlines()
    if not lines:
        return None
    fields = [int(n) for n in lines[0].split()[1:9]]
    user, nice, system, _, _, irq, softirq, steal = fields
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _own() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
