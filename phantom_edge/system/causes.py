"""Why the system refused: which disk is full, what may not be written, what ran out. One line each."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Final

from phantom_edge.errors import UnwritableError
from phantom_edge.system.files import cache_folder

SCRATCH: Final = "phantom-edge.run-"
"""What the folders for temporary files of a command begin with."""
FULL: Final = (errno.ENOSPC, errno.EDQUOT)
LEAST_ROOM: Final = 4 << 20  # bytes; a disk with less left is full for anything that is written here
LONGEST: Final = 120  # characters of a path that a line repeats
_NATIVE: Final = re.compile(r"\(os error (\d+)\)")  # of libraries in Rust
_MEMORY: Final = re.compile(
    r"can't allocate memory|cannot allocate memory|not enough memory|bad_alloc|bad allocation"
    r"|failed to allocate memory|out of memory|unable to allocate|failed to map segment|std::length_error",
    re.IGNORECASE,
)
_REASONS: Final = {
    errno.EROFS: "is on a read-only disk; choose another place",
    errno.EACCES: "no permission; choose another place, or change its owner or mode",
    errno.EPERM: "not permitted; choose another place",
    errno.ENAMETOOLONG: "the name is too long for this disk; choose a shorter one",
    errno.EFBIG: "grew beyond the largest file that is allowed here; see `ulimit -f`",
    errno.ENOTDIR: "a part of the path is no folder; choose another place",
    errno.ENOENT: "its folder does not exist; make it first",
    errno.ELOOP: "is a circle of links",
    errno.EBUSY: "is in use by the system (a mount point?); name a folder inside it",
    errno.EIO: "the disk reports an error (input/output); check it",
}
_LIMITS: Final = {
    errno.EMFILE: "too many open files for this process; raise the limit (`ulimit -n`)",
    errno.ENFILE: "too many open files on this machine; close other programs",
    errno.EAGAIN: "no further process or thread can be started; close other programs",
}


def number_of(error: BaseException) -> int | None:
    """The system's number of an error, also where a library only puts it into words."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    text = str(error)
    if "No space left on device" in text or (isinstance(error, OSError) and "written" in text):
        return errno.ENOSPC  # numpy's `tofile` says "8192 requested and 0 written"
    native = _NATIVE.search(text)
    return int(native[1]) if native else None


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: Python's own error, or a library's in its words.

    >>> out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to …"))
    True
    """
    if isinstance(error, MemoryError) or number_of(error) == errno.ENOMEM:
        return True
    return isinstance(error, RuntimeError | OSError | ImportError) and _MEMORY.search(str(error)) is not None


def unwritable(error: BaseException, output: Path | None = None) -> UnwritableError | None:
    """The error of a writer in one line with its true cause; None where it is about something else.

    ``output`` is what was being written. Its disk, that of temporary files and that of the cache are
    distinguished: by the file that the error names, else by which of them has no room. A native writer's
    error may name neither file nor number.
    """
    number = number_of(error)
    silent = number is None and output is not None and _full_place(None, output) in ("output", "temporary")
    if number in FULL or silent:
        return UnwritableError(_full(error, output))
    if number in _LIMITS:
        return UnwritableError(_LIMITS[number])
    subject = output or _named(error)
    if number in _REASONS and subject is not None:
        return UnwritableError(f"{short(subject)}: {_REASONS[number]}")
    return None


def short(path: Path | str) -> str:
    """A path as an error shows it: of a very long one the end."""
    text = str(path)
    return text if len(text) <= LONGEST else f"…{text[-LONGEST:]}"


def has_room(folder: Path) -> bool:
    """Whether a disk has room for more than a few small files."""
    try:
        inodes = os.statvfs(folder)
        without_files = inodes.f_files > 0 and inodes.f_favail == 0
        disk = shutil.disk_usage(folder)  # of what is no real disk, /proc or /sys, the size is 0
        return disk.total == 0 or (disk.free >= LEAST_ROOM and not without_files)
    except (OSError, AttributeError):
        return True


def existing(path: Path) -> Path:
    """The path itself, or its nearest parent that exists."""
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return path


def _full(error: BaseException, output: Path | None) -> str:
    place = _full_place(_named(error), output)
    if place == "temporary":
        return f"{short(_temporary())}: the disk of temporary files is full; free some space, or set TMPDIR"
    if place == "cache":
        cache = short(cache_folder())
        return f"{cache}: the disk of the cache is full; free some space, or set XDG_CACHE_HOME"
    subject = f"{short(output)}: " if output is not None else ""
    return f"{subject}the disk is full; free some space or choose another place"


def _full_place(named: Path | None, output: Path | None) -> str | None:
    """``output``, ``temporary`` or ``cache``: where the named file lies, else the first without room."""
    places = {} if output is None else {"output": existing(output.absolute().parent)}
    places |= {"temporary": existing(_temporary()), "cache": existing(cache_folder())}
    if named is not None:
        nearer = [name for name in ("cache", "temporary") if named.is_relative_to(places[name])]
        if output is None or not named.is_relative_to(places["output"]):
            return nearer[0] if nearer else "output"
        return "output"
    return next((name for name, folder in places.items() if not has_room(folder)), None)


def _named(error: BaseException) -> Path | None:
    name = error.filename if isinstance(error, OSError) else None
    return Path(os.path.abspath(os.fsdecode(name))) if isinstance(name, str | bytes) else None


def _temporary() -> Path:
    """Where temporary files go; of a command's own folder for them, the one around it."""
    try:
        folder = Path(tempfile.gettempdir())
    except OSError:
        return Path(os.environ.get("TMPDIR") or os.sep)
    return folder.parent if folder.name.startswith(SCRATCH) else folder
