"""How much memory another process has, and how much this machine has."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final

from phantom_edge.system import children

MEMORY: Final = Path("/proc/meminfo")  # of Linux
_PROC: Final = Path("/proc/self/statm")  # of Linux
_PATIENCE: Final = 5.0  # seconds that `ps` may take


def resident(pid: int) -> int | None:
    """Bytes that a process has in memory; None where the system does not say, or has no such process.

    >>> import os
    >>> resident(os.getpid()) > 1 << 20
    True
    """
    try:
        if _PROC.exists():
            return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        listed = children.run(["ps", "-o", "rss=", "-p", str(pid)], timeout=_PATIENCE)
        return int(listed.stdout) * 1024
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired):
        return None


def available() -> int | None:
    """Bytes that programs may still take, or all there are where the system tells no more, or None."""
    try:
        for line in MEMORY.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    except (OSError, ValueError, IndexError):
        pass  # not Linux
    return physical()


def physical() -> int | None:
    """Bytes of this machine's memory; None where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows
        return None
