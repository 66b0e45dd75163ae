"""A process that runs models for this one and is told over a pipe what to do, in messages of ``frames``."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import numpy as np

from phantom_edge.errors import InputError, NoRoomError, one_line
from phantom_edge.runtime import frames
from phantom_edge.system.children import child, end

ENDING: Final = 10.0  # seconds until a process that no longer answers is ended
LAST_WORDS: Final = 4096  # bytes of what the process said at its end
Answer = tuple[dict[str, Any], list[np.ndarray]]


class EndedError(InputError):
    """The process ended, or said what is no message."""


class WorkerProcess:
    """A running process; ``name`` is what an error names."""

    def __init__(self, process: subprocess.Popen[Any], said: BinaryIO, name: str):
        self._process, self._said, self._name = process, said, name
        self._requests = cast(BinaryIO, process.stdin)
        self._replies = cast(BinaryIO, process.stdout)

    @property
    def pid(self) -> int:
        """Of the process, which leads a group of its own."""
        return int(self._process.pid)

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def call(self, call: str, arrays: Sequence[np.ndarray] = (), **head: Any) -> Answer:
        """Ask the process. Raises :class:`InputError` with its error, or when it has ended."""
        self.send(call, arrays, **head)
        return self.reply()

    def send(self, call: str, arrays: Sequence[np.ndarray] = (), **head: Any) -> None:
        """Ask, and wait for no answer. Raises :class:`EndedError`."""
        try:
            frames.write(self._requests, {"call": call, **head}, arrays)
        except (OSError, ValueError):
            raise EndedError(self._last_words()) from None

    def reply(self) -> Answer:
        """The next answer. Raises :class:`InputError` with its error, :class:`EndedError`."""
        try:
            answer, values = frames.read(self._replies)
        except (OSError, EOFError, ValueError):  # it ended, or says what is no message
            raise EndedError(self._last_words()) from None
        if "error" in answer:
            kind = NoRoomError if answer.get("kind") == NoRoomError.__name__ else InputError
            raise kind(answer["error"])
        return answer, values

    def kill(self) -> None:
        """End it at once, whatever it does."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _last_words(self) -> str:
        """Why the process ended: its signal or exit code, and the last line that it wrote."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(ENDING)
        end(self._process)
        code = self._process.returncode
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        size = self._said.seek(0, os.SEEK_END)
        self._said.seek(max(0, size - LAST_WORDS))
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        said = f": {one_line(lines[-1], 150)}" if lines else ""
        return f"{self._name} ended {how}{said}"


@contextmanager
def worker_process(
    command: Sequence[str], scratch: Path, name: str, variables: Mapping[str, str] | None = None
) -> Iterator[WorkerProcess]:
    """Start ``command`` in ``scratch``; it ends with the block. ``name`` is what an error calls it."""
    pipe = subprocess.PIPE
    environment = None if variables is None else dict(variables)
    with (
        (scratch / "stderr").open("w+b") as said,
        child(command, env=environment, cwd=scratch, stdin=pipe, stdout=pipe, stderr=said) as process,
    ):
        yield WorkerProcess(process, said, name)
