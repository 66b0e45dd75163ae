"""The folder behind a path or a Hugging Face id: every wait has a bound, and every refusal its reason."""

from __future__ import annotations

import json
import logging
import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from phantom_edge.checkpoint.refusals import refuse_file
from phantom_edge.errors import InputError, one_line
from phantom_edge.progress import Step, no_step
from phantom_edge.system.reading import is_file, is_folder

HUB_FILES = ("*.safetensors", "*.json", "tokenizer.model")
HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]{0,95}/[\w.-]{1,96}$")
COMMIT = re.compile(r"^[0-9a-f]{40}$")
ANSWER_SECONDS = 10.0
"""The hub has so long to answer a first question; then what the cache has is used."""
SILENCE_SECONDS = 90.0
"""A download without a new byte is given up; longer than the hub's library tries again by itself."""
START_SECONDS = 60.0
"""For the process that downloads to import its library, on a slow disk."""
_PROCESS = Path(__file__).with_name("hub_process.py")
_POLL_SECONDS = 0.2
_LOG = logging.getLogger(__name__)


def resolve(
    source: str | Path, *, revision: str | None = None, local: bool = False, step: Step = no_step
) -> Path:
    """The local folder behind a path or a Hugging Face id, which is downloaded if it is not in the cache.

    ``local`` asks nothing of the network. Where the hub does not answer, what the cache has is used, and a
    line on stderr says so.

    Raises :class:`InputError`: no such folder or id, no access, or no answer and nothing in the cache.
    """
    folder = Path(source).expanduser()
    if is_folder(folder):
        if revision is not None:
            raise InputError(
                f"{folder}: is a folder, and --revision goes with a Hugging Face id; leave it out"
            )
        return folder
    if is_file(folder):
        refuse_file(folder)
    if not HUB_ID.match(str(source)):
        name = one_line(str(source), 120)
        raise InputError(f"{name}: no such folder, and not a Hugging Face id of the form owner/name")
    return _from_hub(str(source), revision, local, step)


def _from_hub(name: str, revision: str | None, local: bool, step: Step) -> Path:
    if local or (revision is not None and COMMIT.match(revision)):  # what a commit names never changes
        cached = _cached(name, revision)
        if cached is not None:
            return cached
        if local:
            at = "" if revision is None else f" at revision {revision[:60]}"
            raise InputError(
                f"{name}{at}: neither a folder nor in the local cache of the hub; "
                "give it with --model to have it downloaded"
            )
    answer = _download(name, revision, step)
    if "folder" in answer:
        return Path(answer["folder"])
    cached = None if answer["final"] else _cached(name, revision)
    if cached is None:
        raise InputError(f"{name}: {answer['reason']}")
    if not answer["quiet"]:
        _LOG.warning("%s: %s; using the copy in the local cache", name, answer["reason"])
    return cached


def _cached(name: str, revision: str | None) -> Path | None:
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            name, revision=revision, allow_patterns=list(HUB_FILES), local_files_only=True
        )
    except (OSError, ValueError):  # LocalEntryNotFoundError is an OSError
        return None
    return Path(folder)


def _download(name: str, revision: str | None, step: Step) -> dict[str, Any]:
    """The last word of the process that downloads: a ``folder``, or the ``reason`` why there is none."""
    step(f"asking the hub for {name}")
    watch = _Watch(name, step)
    with _process(name, revision) as messages:
        while not watch.is_silent:
            try:
                message = messages.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                watch.look()
                continue
            if message is None:
                return _failed("the download ended early")
            if "folder" in message or "reason" in message:
                return message
            watch.hear(message)
    return _failed(f"cannot be reached (no answer for {watch.silence:.0f} s)")


def _failed(what: str) -> dict[str, Any]:
    from huggingface_hub.constants import ENDPOINT

    reason = f"no such folder, and the hub at {ENDPOINT}: {what}; try again"
    return {"reason": reason.replace(": cannot", " cannot"), "final": False, "quiet": False}


class _Watch:
    """How long nothing has come; a new byte in the cache counts as something."""

    def __init__(self, name: str, step: Step):
        from huggingface_hub.constants import HF_HUB_CACHE

        self._name, self._step = name, step
        self._blobs = Path(HF_HUB_CACHE) / f"models--{name.replace('/', '--')}" / "blobs"
        self._size, self._received = 0, 0
        self.silence = START_SECONDS
        self._heard = time.monotonic()

    @property
    def is_silent(self) -> bool:
        return time.monotonic() - self._heard > self.silence

    def hear(self, message: dict[str, Any]) -> None:
        self._heard = time.monotonic()
        self.silence = SILENCE_SECONDS if "bytes" in message else ANSWER_SECONDS
        self._size = message.get("bytes", 0)
        self.look()

    def look(self) -> None:
        received = _bytes_below(self._blobs) if self._size else 0
        if self._size:
            done = min(received, self._size)
            self._step(f"downloading {self._name}: {done >> 20} of {self._size >> 20} MiB")
        if received != self._received:
            self._heard, self._received = time.monotonic(), received


def _bytes_below(folder: Path) -> int:
    try:
        return sum(path.stat().st_size for path in folder.iterdir())
    except OSError:  # not there yet, or a file that has just got its final name
        return 0


@contextmanager
def _process(name: str, revision: str | None) -> Iterator[queue.Queue[dict[str, Any] | None]]:
    """The process that downloads, with what it says, None at its end; it ends with the block."""
    arguments = [name, revision or "", str(ANSWER_SECONDS), *HUB_FILES]
    environment = {**os.environ, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    child = subprocess.Popen(
        [sys.executable, "-P", str(_PROCESS), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    )
    messages: queue.Queue[dict[str, Any] | None] = queue.Queue()

    def listen() -> None:
        for line in child.stdout or ():
            messages.put(json.loads(line))
        messages.put(None)

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield messages
    finally:
        child.kill()
        child.wait()
        thread.join()
