"""The folder behind a path or a Hugging Face id: every wait has a bound, and every refusal its reason."""

from __future__ import annotations

import errno
import logging
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from phantom_edge.checkpoint.refusals import refuse_file
from phantom_edge.errors import InputError, first_line, one_line
from phantom_edge.progress import Step, no_step
from phantom_edge.reading import is_file, is_folder

HUB_FILES = ("*.safetensors", "*.json", "tokenizer.model")
HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]{0,95}/[\w.-]{1,96}$")
COMMIT = re.compile(r"^[0-9a-f]{40}$")
ANSWER_SECONDS = 10.0
"""The hub has so long to answer a first question; then what the cache has is used."""
SILENCE_SECONDS = 90.0
"""A download without a new byte is given up; longer than the hub's library tries again by itself."""
_POLL_SECONDS = 0.2
_LOG = logging.getLogger(__name__)

T = TypeVar("T")


def resolve(
    source: str | Path, *, revision: str | None = None, local: bool = False, step: Step = no_step
) -> Path:
    """The local folder behind a path or a Hugging Face id, which is downloaded if it is not in the cache.

    ``local`` asks nothing of the network. Where the hub does not answer, what the cache has is used,
    and a line on stderr says so.

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
    # What a commit names never changes.
    if local or (revision is not None and COMMIT.match(revision)):
        cached = _cached(name, revision)
        if cached is not None:
            return cached
        if local:
            at = "" if revision is None else f" at revision {revision[:60]}"
            raise InputError(
                f"{name}{at}: neither a folder nor in the local cache of the hub; "
                "give it with --model to have it downloaded"
            )
    with _quiet_library(bars=step is no_step and sys.stderr.isatty()):
        try:
            step(f"asking the hub for {name}")
            size = _bounded(lambda: _size(name, revision), ANSWER_SECONDS)
            return _download(name, revision, size, step)
        except Exception as error:  # the hub's library raises a wide family; all of them mean "cannot be had"
            return _fall_back(name, revision, error)


def _fall_back(name: str, revision: str | None, error: Exception) -> Path:
    """What the cache has, where the hub's refusal leaves that open; else :class:`InputError` says why."""
    from huggingface_hub.errors import OfflineModeIsEnabled, RevisionNotFoundError

    reason = _reason(name, revision, error)
    cached = None if isinstance(error, RevisionNotFoundError) else _cached(name, revision)
    if cached is None:
        raise InputError(f"{name}: {reason}") from None
    if not isinstance(error, OfflineModeIsEnabled):
        _LOG.warning("%s: %s; using the copy in the local cache", name, reason)
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


def _size(name: str, revision: str | None) -> int:
    """Ask the hub how many bytes there are to be had; 0 where it does not say."""
    from fnmatch import fnmatchcase

    from huggingface_hub import HfApi

    info = HfApi().model_info(name, revision=revision, timeout=ANSWER_SECONDS, files_metadata=True)
    files = info.siblings or []
    return sum(f.size or 0 for f in files if any(fnmatchcase(f.rfilename, p) for p in HUB_FILES))


def _download(name: str, revision: str | None, size: int, step: Step) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.constants import HF_HUB_CACHE

    blobs = Path(HF_HUB_CACHE) / f"models--{name.replace('/', '--')}" / "blobs"

    def received() -> int:
        done = _bytes_below(blobs)
        if size:
            step(f"downloading {name}: {min(done, size) >> 20} of {size >> 20} MiB")
        return done

    def work() -> str:
        return snapshot_download(
            name, revision=revision, allow_patterns=list(HUB_FILES), etag_timeout=ANSWER_SECONDS
        )

    return Path(_bounded(work, SILENCE_SECONDS, received))


def _bytes_below(folder: Path) -> int:
    try:
        return sum(path.stat().st_size for path in folder.iterdir())
    except OSError:  # not there yet, or a file that has just got its final name
        return 0


def _bounded(work: Callable[[], T], silence: float, received: Callable[[], int] = lambda: 0) -> T:
    """What ``work`` returns or raises. Raises :class:`TimeoutError` after ``silence`` seconds without news.

    The library has waits without a bound of their own. Work that is given up ends with the process.
    """
    results: list[T] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(work())
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    heard, last = time.monotonic(), received()
    while thread.is_alive():
        thread.join(_POLL_SECONDS)
        if (now := received()) != last:
            heard, last = time.monotonic(), now
        if thread.is_alive() and time.monotonic() - heard > silence:
            raise TimeoutError(f"no answer for {silence:.0f} s")
    if errors:
        raise errors[0]
    return results[0]


@contextmanager
def _quiet_library(*, bars: bool) -> Iterator[None]:
    """Without the library's own warnings, and with its progress bars only where nothing else shows any."""
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    logger = logging.getLogger("huggingface_hub")
    level, disabled = logger.level, are_progress_bars_disabled()
    logger.setLevel(logging.ERROR)
    if not bars and not disabled:
        disable_progress_bars()
    try:
        yield
    finally:
        logger.setLevel(level)
        if not bars and not disabled:
            enable_progress_bars()


def _reason(name: str, revision: str | None, error: Exception) -> str:
    """Why the hub gave nothing, and what to do about it."""
    from huggingface_hub import errors as hub
    from huggingface_hub.constants import ENDPOINT, HF_HUB_CACHE

    match error:
        case hub.GatedRepoError():
            return f"is gated: ask for access on {ENDPOINT}/{name} and log in with `hf auth login`"
        case hub.RevisionNotFoundError():
            return f"has no revision {str(revision)[:60]!r}; {ENDPOINT}/{name}/refs lists branches and tags"
        case hub.RepositoryNotFoundError():
            return (
                "no such folder, and no such model on the hub; if it is private, log in with `hf auth login`"
            )
        case hub.OfflineModeIsEnabled():
            return "no such folder, not in the local cache, and HF_HUB_OFFLINE forbids to ask the hub"
        case hub.HfHubHTTPError() if (status := error.response.status_code) in (401, 403):
            return (
                f"the hub refuses it ({status}): log in with `hf auth login`, and look at {ENDPOINT}/{name}"
            )
        case hub.HfHubHTTPError():
            return f"the hub answers {error.response.status_code}; try again later"
        case OSError() if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"no room in the hub's cache ({HF_HUB_CACHE}); free some, or set HF_HOME to another place"
        case PermissionError():
            return f"the hub's cache cannot be written ({HF_HUB_CACHE}); set HF_HOME to another place"
    kind = first_line(error) or type(error).__name__
    return f"no such folder, and the hub at {ENDPOINT} cannot be reached ({kind[:90]}); try again"
