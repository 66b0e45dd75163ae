"""Processes that are started here end here: with their block, with a signal, and with this process."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from phantom_edge.system import interrupts

STOPPING: Final = 5.0  # seconds for a polite end
_running: set[subprocess.Popen[Any]] = set()


@contextmanager
def child(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """A process that leads a group of its own; the whole group is ended with the block.

    On Linux it also ends when this process is killed. ``options`` are those of :class:`subprocess.Popen`.
    Raises :class:`OSError` when it cannot be started.
    """
    with interrupts.deferred():
        process = subprocess.Popen([*_bound(command), *command], start_new_session=True, **options)
        _running.add(process)
    try:
        yield process
    finally:
        end(process)
        _running.discard(process)


def run(
    command: Sequence[str], *, timeout: float | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and return what it said, as text.

    Raises :class:`subprocess.TimeoutExpired`, after which nothing of it runs, and :class:`OSError`.
    """
    pipe = subprocess.PIPE
    options = {"stdin": subprocess.DEVNULL, "stdout": pipe, "stderr": pipe, "errors": "replace", **options}
    with child(command, text=True, **options) as process:
        out, err = process.communicate(timeout=timeout)
        return subprocess.CompletedProcess(list(command), process.returncode, out, err)


def end(process: subprocess.Popen[Any]) -> None:
    """End a process and its group, politely first."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        if not _group_lives(process):
            break
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOPPING)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def _group_lives(process: subprocess.Popen[Any]) -> bool:
    process.poll()
    try:
        os.killpg(process.pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _bound(command: Sequence[str]) -> list[str]:
    """What starts a command so that the system ends it with its parent, where there is such a thing."""
    tool = shutil.which("setpriv") if sys.platform == "linux" else None
    program = shutil.which(command[0])
    if tool is None or program is None:
        return []
    with open(program, "rb") as file:  # what cannot be started fails by its own name
        head = file.read(4)
    return [tool, "--pdeathsig", "TERM", "--"] if head.startswith((b"#!", b"\x7fELF")) else []


def _kill_all() -> None:
    for process in list(_running):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


interrupts.at_end(_kill_all)
