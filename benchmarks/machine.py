"""The machine under a benchmark: what it is, how fast it reads memory, and who else used it meanwhile (Linux)."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FLAGS = ("avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16")
NOISY_SHARE = 0.05  # of all cores, used by other processes: above it a timing is marked as noisy
STREAM_BYTES = 512 << 20  # far beyond any cache
STREAM_ROUNDS = 7


def describe() -> dict[str, Any]:
    """CPU model, instruction sets that matter here, cores, memory and kernel."""
    cpu = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.+)$", cpu, re.M)
    flags = set(re.search(r"^flags\s*:\s*(.+)$", cpu, re.M)[1].split()) if "flags" in cpu else set()
    memory = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1])
    return {
        "cpu": model[1] if model else "unknown",
        "flags": " ".join(f for f in FLAGS if f in flags),
        "cores": len(os.sched_getaffinity(0)),
        "memory, GB": round(memory * 1024 / 1e9, 1),
        "kernel": os.uname().release,
    }


def load() -> str:
    """The load averages of the last 1, 5 and 15 minutes."""
    return " ".join(f"{n:.2f}" for n in os.getloadavg())


def read_bandwidth(threads: int) -> float:
    """Bytes per second at which ``threads`` threads sum a large array: the ceiling of anything that reads weights."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        data, best = torch.ones(STREAM_BYTES // 4), float("inf")
        for _ in range(STREAM_ROUNDS):
            start = time.perf_counter()
            data.sum()
            best = min(best, time.perf_counter() - start)
    finally:
        torch.set_num_threads(before)
    return STREAM_BYTES / best


@dataclass
class Usage:
    """What the machine did during a block: seconds of wall clock and the share of all cores that others used."""

    seconds: float = 0.0
    others: float = 0.0

    @property
    def noisy(self) -> bool:
        return self.others > NOISY_SHARE


@contextmanager
def watched() -> Iterator[Usage]:
    """Measure the block's duration and how busy the cores were with anything but this process and its children."""
    usage = Usage()
    busy, own, start = _busy(), _own(), time.perf_counter()
    yield usage
    usage.seconds = time.perf_counter() - start
    foreign = max(0.0, (_busy() - busy) - (_own() - own))
    # The kernel counts in ticks of 10 ms: over a block not much longer than that the share can come out above 1.
    usage.others = min(1.0, foreign / max(usage.seconds * (os.cpu_count() or 1), 1e-9))


def status_bytes(*names: str, text: str | None = None) -> dict[str, int]:
    """Fields of /proc/self/status (``VmRSS``, ``RssAnon``, ``VmHWM``…) in bytes."""
    text = Path("/proc/self/status").read_text() if text is None else text
    return {name: int(re.search(rf"^{name}:\s+(\d+) kB", text, re.M)[1]) * 1024 for name in names}


def _busy() -> float:
    """Seconds of all cores spent on anything since boot, time stolen by the hypervisor included."""
    fields = [int(n) for n in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    user, nice, system, _, _, irq, softirq, steal = fields
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _own() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
