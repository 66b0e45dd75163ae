"""Runs inputs in processes that are forked once and reused: killed and replaced only when one hangs or grows.

Each worker has an empty working folder and an empty folder for temporary files, which must be empty again
after every input. What it writes to its standard streams, also from native code, goes into files.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECONDS = 20.0
BYTES = 4 << 30
ADDRESS_SPACE = 24 << 30  # what a worker may map at most, so that one that grows cannot take the machine
POLL = 0.05


@dataclass(frozen=True)
class Outcome:
    """How one input ended."""

    kind: str
    seed: int
    code: int | None
    """Exit code; None where the process was killed or died."""
    text: str
    """What stands on stderr."""
    seconds: float
    memory: int
    left: tuple[str, ...] = ()
    """Files that were not there before."""
    fault: str = ""
    """What must not be: empty where all is right."""


Make = Callable[[str, int], Callable[[Path], Callable[[], int]]]
"""Of a kind and a seed: what puts the input into a folder, and returns the call that reads it."""


def outcomes(jobs: Sequence[tuple[str, int]], make: Make) -> Iterator[Outcome]:
    """Every job's outcome, in order; ``make`` prepares the input of a kind and a seed in the worker."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as place:
        worker = _Worker(make, Path(place))
        try:
            for kind, seed in jobs:
                outcome = worker.run(kind, seed)
                if outcome is None or not worker.alive:
                    worker.stop()
                    worker = _Worker(make, Path(place))
                yield outcome or Outcome(kind, seed, None, "", 0.0, 0, fault="no answer")
        finally:
            worker.stop()


class _Worker:
    def __init__(self, make: Make, place: Path):
        self._pipe, child = multiprocessing.Pipe()
        self._folder = Path(tempfile.mkdtemp(dir=place))
        context = multiprocessing.get_context("fork")
        self._process = context.Process(target=_serve, args=(child, make, self._folder), daemon=True)
        self._process.start()
        child.close()
        # What the process was forked with is not the input's: pages are shared until they are written.
        self._forked = _resident(self._process.pid or 0)

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def run(self, kind: str, seed: int) -> Outcome | None:
        """The outcome; a worker that takes too long or too much is killed."""
        self._pipe.send((kind, seed))
        start, peak = time.monotonic(), 0
        while not self._pipe.poll(POLL):
            taken = _resident(self._process.pid or 0) - self._forked
            seconds, peak = time.monotonic() - start, max(peak, taken)
            if not self.alive:
                code = self._process.exitcode or 0
                name = signal.Signals(-code).name if code < 0 else str(code)
                return Outcome(kind, seed, None, self._stderr(), seconds, peak, fault=f"died of {name}")
            if seconds > SECONDS or peak > BYTES:
                self.stop()
                fault = "hang" if seconds > SECONDS else "memory"
                return Outcome(kind, seed, None, self._stderr(), seconds, peak, fault=fault)
        try:
            outcome: Outcome = self._pipe.recv()
        except EOFError:
            self._process.join(5)
            code = self._process.exitcode or 0
            name = signal.Signals(-code).name if code < 0 else str(code)
            return Outcome(kind, seed, None, self._stderr(), 0.0, peak, fault=f"died of {name}")
        return outcome

    def stop(self) -> None:
        if self.alive:
            self._process.kill()
        self._process.join()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _stderr(self) -> str:
        path = self._folder / "stderr"
        return path.read_text("utf-8", "replace")[-2000:] if path.exists() else ""


def _resident(pid: int) -> int:
    """Bytes of memory that a process has of its own; libraries and files that it maps do not count."""
    return _status("RssAnon", pid)


def _status(name: str, pid: int | str = "self") -> int:
    """A size in bytes of ``/proc/PID/status``; 0 for a process that is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith(name)), 0)


def _serve(pipe: Any, make: Make, folder: Path) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    work, scratch = folder / "work", folder / "tmp"
    os.environ["TMPDIR"] = tempfile.tempdir = str(scratch)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), number)
    sys.stdout = open(1, "w", 1, "utf-8", "replace", closefd=False)  # noqa: SIM115, for as long as it lives
    sys.stderr = open(2, "w", 1, "utf-8", "replace", closefd=False)  # noqa: SIM115
    while True:
        try:
            kind, seed = pipe.recv()
        except EOFError:  # whoever forked this is gone
            return
        for place in (work, scratch):
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
        for number in (1, 2):
            os.ftruncate(number, 0)
            os.lseek(number, 0, os.SEEK_SET)
        pipe.send(_run(kind, seed, make, work, scratch, folder / "stderr"))


def _run(kind: str, seed: int, make: Make, work: Path, scratch: Path, stderr: Path) -> Outcome:
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak of memory begins anew
    forked = _status("VmRSS")
    os.chdir(work)
    ready = make(kind, seed)(work)
    start = time.monotonic()
    before = set(map(str, work.rglob("*")))
    try:
        code = ready()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
        code = -1
    seconds = time.monotonic() - start
    left = sorted((set(map(str, work.rglob("*"))) - before) | set(map(str, scratch.rglob("*"))))
    peak = _status("VmHWM") - forked
    text = stderr.read_text("utf-8", "replace")
    names = tuple(Path(path).name for path in left)
    return Outcome(kind, seed, code, text[-2000:], seconds, peak, names, fault_of(code, text, names, peak))


def fault_of(code: int, text: str, left: tuple[str, ...], memory: int) -> str:
    """What an outcome breaks of what is promised for any input."""
    lines = text.strip().splitlines()
    if "Traceback" in text or "error: unexpected " in text:
        return "traceback"
    if code not in (0, 1, 2):
        return f"exit code {code}"
    if code == 2 and len(lines) != 1:
        return f"{len(lines)} lines"
    if lines and code == 2 and (len(lines[0]) > 300 or not lines[0].startswith("error: ")):
        return "a long line" if len(lines[0]) > 300 else "no error line"
    if left:
        return "left behind"
    return "memory" if memory > BYTES else ""
