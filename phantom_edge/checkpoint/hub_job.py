"""Work with the hub, done by a process that can be ended: every wait for it has a bound."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from phantom_edge.errors import InputError, one_line

ANSWER_SECONDS = 10.0
"""The hub has so long to answer a first question; then what the cache has is used."""
SILENCE_SECONDS = 90.0
"""Without a new byte for so long it is given up; longer than the hub's library tries again by itself."""
START_SECONDS = 60.0
"""For the process to import the hub's library, on a slow disk."""
_PROCESS: Final = Path(__file__).with_name("hub_process.py")
_POLL_SECONDS: Final = 0.2

Show = Callable[[int, int, str], None]
"""Called with the bytes that have come, of how many, and the library's own bar where it shows one."""


def work(do: str, job: Mapping[str, Any], arriving: Path | None = None, show: Show | None = None) -> Any:
    """The last word on a job of ``hub_process.py``: what it gives, or the ``reason`` why it cannot be done.

    ``arriving`` is the folder in which bytes appear as long as there is life. Raises :class:`InputError`
    where the hub's library is not installed.
    """
    require_library()
    watch = _Watch(arriving, show)
    with _process({"do": do, "seconds": ANSWER_SECONDS, **job}) as messages:
        while not watch.is_silent:
            try:
                message = messages.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                watch.look()
                continue
            if message is None:
                return _failed("and the work with it ended early")
            if not message.keys() & {"ready", "bytes", "bar"}:
                return message
            watch.hear(message)
    return _failed(f"cannot be reached (no answer for {watch.silence:.0f} s)")


def require_library() -> None:
    """Raise :class:`InputError` where the hub's library is not installed, as on a small box."""
    if importlib.util.find_spec("huggingface_hub") is None:
        raise InputError("the hub needs one more package: pip install huggingface_hub")


def _failed(what: str) -> dict[str, Any]:
    from huggingface_hub.constants import ENDPOINT

    return {"reason": f"the hub at {ENDPOINT} {what}; try again", "final": False, "quiet": False}


class _Watch:
    """How long nothing has come; a new byte in the folder, or a bar that moves, counts as something."""

    def __init__(self, arriving: Path | None, show: Show | None):
        self._arriving, self._show = arriving, show
        self._size, self._received, self._bar = 0, 0, ""
        self.silence = START_SECONDS
        self._heard = time.monotonic()

    @property
    def is_silent(self) -> bool:
        return time.monotonic() - self._heard > self.silence

    def hear(self, message: dict[str, Any]) -> None:
        self._heard = time.monotonic()
        self.silence = ANSWER_SECONDS if "ready" in message else SILENCE_SECONDS
        self._size = message.get("bytes", self._size)
        self._bar = one_line(str(message.get("bar", "")), 60)
        self.look()

    def look(self) -> None:
        received = _bytes_below(self._arriving) if self._size and self._arriving else 0
        if self._show is not None and (self._size or self._bar):
            self._show(min(received, self._size), self._size, self._bar)
        if received != self._received:
            self._heard, self._received = time.monotonic(), received


def _bytes_below(folder: Path) -> int:
    try:
        return sum(path.stat().st_size for path in folder.iterdir())
    except OSError:  # not there yet, or a file that has just got its final name
        return 0


@contextmanager
def _process(job: Mapping[str, Any]) -> Iterator[queue.Queue[dict[str, Any] | None]]:
    """The process that works, with what it says, None at its end; it ends with the block."""
    # Bars are shown for what is sent alone, as signs of life: without a terminal too (-1), however slow (1).
    bars = {"HF_HUB_DISABLE_PROGRESS_BARS": "0", "TQDM_POSITION": "-1", "TQDM_MINITERS": "1"}
    quiet = {"HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    child = subprocess.Popen(
        [sys.executable, "-P", str(_PROCESS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **(bars if job["do"] == "push" else quiet)},
    )
    messages: queue.Queue[dict[str, Any] | None] = queue.Queue()

    def listen() -> None:
        for line in child.stdout or ():
            messages.put(json.loads(line))
        messages.put(None)

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        with contextlib.suppress(BrokenPipeError):  # it has ended already: the messages say so
            print(json.dumps(job), file=child.stdin, flush=True)
        yield messages
    finally:
        child.kill()
        child.wait()
        thread.join()
        for pipe in (child.stdin, child.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
