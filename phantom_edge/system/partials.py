"""Folders of a running process: what it fills before that gets its place, and its temporary files.

Each is locked by its process as long as that lives. A process that was killed leaves its folders behind,
unlocked; the next one that works at the same place removes them. Two that run at once never touch each
other's.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Final

from phantom_edge.errors import UnwritableError
from phantom_edge.system import interrupts
from phantom_edge.system.causes import SCRATCH, unwritable

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows: nothing is locked, and nothing of others is removed
    fcntl = None

FREE, BUSY, UNKNOWN = "free", "busy", "unknown"
_PROCESS: Final = os.getpid()
_open: dict[Path, int] = {}


@contextmanager
def partial_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A new folder ``parent/prefix…`` of this process, removed at the end if it is still there.

    Those that killed processes left under the same prefix are removed first. Raises :class:`OSError`.
    """
    sweep(parent, prefix)
    with interrupts.deferred():
        folder = _make(parent, prefix)
    try:
        yield folder
    finally:
        _release(folder)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder for what nobody keeps, in the system's place for that (``TMPDIR``).

    Raises :class:`UnwritableError` when there is no room for one.

    >>> with temporary_folder() as folder:
    ...     _ = (folder / "file").write_text("gone in a moment")
    """
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(partial_folder(Path(tempfile.gettempdir()), SCRATCH))
        except OSError as error:
            none = "no folder for temporary files can be written; set TMPDIR to one with room"
            raise unwritable(error) or UnwritableError(none) from None
        yield folder


@contextmanager
def scratch() -> Iterator[None]:
    """Give the temporary files of all libraries one folder of this process while the block runs.

    Not every library cleans up, and none does after a kill; the folder is removed as a whole, by the next
    command if need be. Where none can be made, all goes on without it.
    """
    before, environment = tempfile.tempdir, os.environ.get("TMPDIR")
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(partial_folder(Path(tempfile.gettempdir()), SCRATCH))
        except OSError:
            yield
            return
        tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
        try:
            yield
        finally:
            tempfile.tempdir = before
            os.environ.pop("TMPDIR")
            if environment is not None:
                os.environ["TMPDIR"] = environment


def sweep(parent: Path, prefix: str) -> None:
    """Remove the folders ``parent/prefix…`` whose process is gone."""
    for folder in leftovers(parent, prefix):
        with locked(folder) as state:
            if state == FREE:
                shutil.rmtree(folder, ignore_errors=True)


def leftovers(parent: Path, prefix: str) -> list[Path]:
    """This user's own folders ``parent/prefix…``; links are none."""
    try:
        with os.scandir(parent) as entries:
            return sorted(Path(entry.path) for entry in entries if _own(entry, prefix))
    except OSError:
        return []


def _own(entry: os.DirEntry[str], prefix: str) -> bool:
    try:
        if not entry.name.startswith(prefix) or not entry.is_dir(follow_symlinks=False):
            return False
        return not hasattr(os, "getuid") or entry.stat(follow_symlinks=False).st_uid == os.getuid()
    except OSError:
        return False


@contextmanager
def locked(folder: Path) -> Iterator[str]:
    """Lock a folder during the block, if it can be: ``free`` means that it was and is now this process's.

    ``busy``: another process has it, or it is gone. ``unknown``: this disk has no locks (some of networks).
    """
    try:
        descriptor = os.open(
            folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
        )
    except OSError:
        yield UNKNOWN if fcntl is None else BUSY
        return
    try:
        yield _lock(folder, descriptor)
    finally:
        os.close(descriptor)


def _lock(folder: Path, descriptor: int) -> str:
    if fcntl is None:
        return UNKNOWN
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return BUSY
    except OSError:
        return UNKNOWN
    try:  # who removes it may have been faster than the lock
        return FREE if os.path.samestat(os.fstat(descriptor), os.stat(folder)) else BUSY
    except OSError:
        return BUSY


def _make(parent: Path, prefix: str) -> Path:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        if fcntl is None:
            _open[folder] = -1
            return folder
        try:
            descriptor = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:  # taken for a leftover in the moment before its lock
            continue
        if _lock(folder, descriptor) != BUSY:
            _open[folder] = descriptor
            return folder
        os.close(descriptor)


def _release(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    descriptor = _open.pop(folder, -1)
    if descriptor >= 0:
        os.close(descriptor)


def _remove_all() -> None:
    """Remove what is still there when a command or the process ends, or a second signal ends it."""
    if os.getpid() == _PROCESS:  # in a process that was forked they are its parent's
        for folder in list(_open):
            _release(folder)


interrupts.at_end(_remove_all)
atexit.register(_remove_all)
