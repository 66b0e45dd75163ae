"""A Chromium: located, started with a profile of its own, watched and stopped."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from phantom_edge.bench.machine import PROC
from phantom_edge.errors import InputError
from phantom_edge.system.children import child
from phantom_edge.system.partials import temporary_folder
from phantom_edge.system.programs import BROWSERS, MAC_BROWSERS, installed

# Nothing in the background, nothing throttled: the page is the only thing that the browser does.
ARGUMENTS = (
    "--headless=new",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-extensions",
    "--disable-sync",
    "--disable-component-update",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
    # It still asks its makers for updates, models and the time: no name but the page's leads anywhere.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost",
    "--no-proxy-server",
)
# Chromium hides WebGPU behind these on Linux only.
LINUX_WEBGPU = ("--enable-unsafe-webgpu", "--enable-features=Vulkan")


@dataclass
class Browser:
    """A running browser. ``pid`` leads a process group of its own."""

    process: subprocess.Popen[bytes]
    errors: Path

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    @property
    def last_words(self) -> str:
        """The last line that it wrote to stderr."""
        lines = self.errors.read_text(errors="replace").strip().splitlines()
        return lines[-1][-200:] if lines else f"exit status {self.process.returncode}"

    def core_seconds(self) -> float:
        """What its processes have used of the cores; 0 without /proc."""
        total = 0
        for pid in _descendants(self.process.pid):
            with contextlib.suppress(OSError, ValueError, IndexError):
                fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
                total += sum(map(int, fields[11:13]))
        return total / os.sysconf("SC_CLK_TCK")

    def peak_memory(self) -> int | None:
        """Peak bytes of the page's process, and of the GPU's if there is one; None without /proc."""
        peaks: dict[str, int] = {}
        for pid in _descendants(self.process.pid):
            with contextlib.suppress(OSError):
                command = (PROC / str(pid) / "cmdline").read_bytes()
                kind = re.search(rb"--type=(renderer|gpu-process)", command)
                peak = re.search(r"^VmHWM:\s+(\d+) kB", (PROC / str(pid) / "status").read_text(), re.M)
                if kind and peak:  # several renderers exist; the page's is by far the largest
                    name = kind[1].decode()
                    peaks[name] = max(peaks.get(name, 0), int(peak[1]) * 1024)
        return sum(peaks.values()) if "renderer" in peaks else None


def find(path: Path | None) -> Path:
    """The browser to use. Raises :class:`InputError` when it is no program or none is installed."""
    if path is not None:
        named = shutil.which(path.resolve() if path.exists() else path)
        if named is None:
            raise InputError(f"--browser {path}: no program is there; give the path of a Chromium or Chrome")
        return Path(named)
    if program := installed(*BROWSERS, *MAC_BROWSERS):
        return Path(program)
    raise InputError("no Chromium or Chrome was found; install one (apt: chromium) or use --browser PATH")


@contextmanager
def started(program: Path, url: str, *, webgpu: bool) -> Iterator[Browser]:
    """Open ``url`` headless in a fresh profile. Raises :class:`InputError` if it cannot start."""
    arguments = [*ARGUMENTS, *(LINUX_WEBGPU if webgpu and sys.platform == "linux" else ())]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--no-sandbox")  # Chromium refuses to sandbox for root
    with temporary_folder() as folder:
        errors = folder / "stderr"
        command = [str(program), *arguments, f"--user-data-dir={folder}/profile", url]
        with contextlib.ExitStack() as stack, errors.open("wb") as sink:
            try:
                process = stack.enter_context(
                    child(command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink)
                )
            except OSError as error:
                raise InputError(f"{program}: cannot be started ({error.strerror})") from None
            yield Browser(process, errors)


def _descendants(pid: int) -> list[int]:
    """The process and all below it, from /proc; empty where there is none."""
    parents: dict[int, int] = {}
    for stat in PROC.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The name in brackets may hold spaces and brackets itself.
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    tree, fresh = [pid] if pid in parents else [], [pid]
    while fresh:
        fresh = [child for child, parent in parents.items() if parent in fresh]
        tree += fresh
    return tree
