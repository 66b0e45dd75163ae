"""Folders that take long to make, kept in the cache: one that cannot be written costs time, and no result."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from phantom_edge.errors import UnwritableError
from phantom_edge.progress import Step, no_step
from phantom_edge.system.files import cache_folder
from phantom_edge.system.partials import fcntl, temporary_folder

LOG: Final = logging.getLogger(__name__)
LOCK: Final = ".lock"
_for_this_process = contextlib.ExitStack()


def cached(
    place: Path, is_whole: Callable[[Path], bool], make: Callable[[Path], None], step: Step = no_step
) -> Path:
    """The folder ``place`` of the cache: as it is there if it is whole, else made now.

    Of several processes one makes it and the others wait. Where the cache cannot be written, the folder is
    made among this process's temporary files, and a warning says so.
    """
    folder = cache_folder() / place
    if is_whole(folder):
        return folder
    try:
        with alone(folder.parent, step):
            if not is_whole(folder):
                shutil.rmtree(folder, ignore_errors=True)  # damaged, or not there yet
                make(folder)
            return folder
    except UnwritableError as error:
        LOG.warning("not kept for the next run (%s)", error)
    folder = _for_this_process.enter_context(temporary_folder()) / place.name
    make(folder)
    return folder


@contextmanager
def alone(folder: Path, step: Step) -> Iterator[None]:
    """Let only one process at a time do the block. Raises :class:`UnwritableError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("w")
    except OSError as error:
        raise UnwritableError(f"{folder}: cannot be written ({error.strerror})") from None
    with lock:
        if fcntl is not None:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                step("waiting for another process that makes the same")
                fcntl.flock(lock, fcntl.LOCK_EX)
            except OSError:  # a disk without locks: both make it, and the later one replaces the other's
                pass
        yield
