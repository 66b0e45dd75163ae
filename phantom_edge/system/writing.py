"""Writing that is complete or does not happen, whatever ends the process and whenever.

What is written grows in a folder of its own beside its place and then takes that place in one step. An
earlier folder is exchanged for the new one atomically where the system can do that. Elsewhere there is an
instant in which it has another name; whoever opens or writes the place next puts it back (:func:`mend`).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from phantom_edge.errors import PhantomEdgeError, UnwritableError
from phantom_edge.system import interrupts
from phantom_edge.system.causes import unwritable
from phantom_edge.system.files import cache_folder
from phantom_edge.system.partials import BUSY, leftovers, locked, partial_folder, sweep

PARTIAL: Final = ".partial-"
OLD: Final = ".old-"
LONGEST_NAME: Final = 255 - len(PARTIAL) - 16  # bytes, with what is appended
TRIES: Final = 10  # when others write the same place at the same time
_AT_FDCWD: Final = -2 if sys.platform == "darwin" else -100
_EXCHANGE: Final = 2  # RENAME_EXCHANGE of Linux, RENAME_SWAP of macOS


def sync(path: Path) -> None:
    """Flush a file or folder to the disk, so that a crash after a rename cannot leave a hollow one."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def use_default_permissions(path: Path) -> None:
    """Give a file or folder the permissions of an ordinary new one: some writers make theirs private.

    A program stays one.
    """
    umask = os.umask(0)
    os.umask(umask)
    path.chmod((0o777 if path.is_dir() or os.access(path, os.X_OK) else 0o666) & ~umask)


@contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """A file to write, of the same name, that takes the place of ``path`` when the block ends without error.

    An earlier file stays untouched until then, and nothing is left behind. Raises :class:`UnwritableError`
    when the file cannot be written.

    >>> with replacing_file(Path("report.json")) as partial:
    ...     _ = partial.write_text("{}")
    """
    path = Path(os.path.abspath(path))
    with explaining(path, always=True), partial_beside(path) as folder:
        partial = folder / path.name
        yield partial
        interrupts.check()
        use_default_permissions(partial)
        sync(partial)
        with interrupts.deferred():
            partial.replace(path)
            interrupts.complete(path)


@contextmanager
def replacing_folder(path: Path, check: Callable[[Path], None] = lambda _: None) -> Iterator[Path]:
    """A temporary sibling folder that takes the place of ``path`` when the block ends without an error.

    ``check`` refuses, by raising :class:`InputError`, a ``path`` that must not be replaced. What was there
    stays untouched until the new folder is complete and on the disk; nothing is left behind. Raises
    :class:`UnwritableError` when it cannot be written.
    """
    path = Path(os.path.abspath(path))
    mend(path)
    check(path)
    with explaining(path), parents(path), partial_beside(path) as partial:
        yield partial
        interrupts.check()
        for entry in [*partial.rglob("*"), partial]:
            use_default_permissions(entry)
            sync(entry)
        check(path)
        with interrupts.deferred():
            put(partial, path)
            interrupts.complete(path)
        sync(path.parent)


@contextmanager
def partial_beside(path: Path) -> Iterator[Path]:
    """A folder of this process beside ``path``, in which that is made. Raises :class:`UnwritableError`."""
    if path.is_relative_to(cache_folder()):
        for folder in leftovers(path.parent, "."):  # all in there is this toolkit's
            if PARTIAL in folder.name:
                sweep(path.parent, folder.name)
    with contextlib.ExitStack() as stack:
        try:
            partial = stack.enter_context(partial_folder(path.parent, f".{_stem(path)}{PARTIAL}"))
        except OSError as error:
            raise unwritable(error, path) or _refusal(error, path) from None
        yield partial


@contextmanager
def parents(path: Path) -> Iterator[None]:
    """The folders above ``path``, made if need be, and removed again if the block fails."""
    made = [folder for folder in path.parents if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()  # refused where something is in it
        raise


@contextmanager
def explaining(path: Path, *, always: bool = False) -> Iterator[None]:
    """Say in one line why ``path`` cannot be written: a disk without room, or ``always`` whatever it is."""
    try:
        yield
    except PhantomEdgeError:
        raise
    except Exception as error:
        reason = unwritable(error, path)
        about_writing = isinstance(error, OSError) or type(error).__name__ == "SafetensorError"
        if reason is not None and (always or _is_general(error)):
            raise reason from None
        if always and about_writing:
            raise _refusal(error, path) from None
        raise


def mend(path: Path) -> None:
    """Put a folder back that a killed process had moved aside, and remove what others left aside."""
    path = Path(os.path.abspath(path))
    for folder in leftovers(path.parent, f".{_stem(path)}{OLD}"):
        with locked(folder) as state:
            if state == BUSY:
                continue
            if not os.path.lexists(path):
                with contextlib.suppress(OSError):
                    folder.rename(path)
            else:
                shutil.rmtree(folder, ignore_errors=True)


def put(partial: Path, path: Path) -> None:
    """Move a folder to ``path``; an earlier one there is then at ``partial``, or gone.

    Raises :class:`OSError`, and leaves everything as it was.
    """
    for _ in range(TRIES):
        try:
            partial.rename(path)  # to a new place, or over an empty folder
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        try:
            if exchange(partial, path) or _move_aside(partial, path):
                return
        except FileNotFoundError:  # another process has just moved it
            continue
    raise UnwritableError(f"{path}: other processes keep writing it; choose another place")


def exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; False where this system or disk cannot. Raises :class:`OSError`."""
    library = ctypes.CDLL(None, use_errno=True) if sys.platform in ("linux", "darwin") else None
    call = getattr(library, "renameatx_np" if sys.platform == "darwin" else "renameat2", None)
    if call is None:
        return False
    names = os.fsencode(one), os.fsencode(other)
    if call(_AT_FDCWD, names[0], _AT_FDCWD, names[1], ctypes.c_uint(_EXCHANGE)) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP):
        return False
    raise OSError(number, os.strerror(number), str(other))


def _move_aside(partial: Path, path: Path) -> bool:
    """Two renames; a kill between them leaves what :func:`mend` puts right."""
    aside = path.with_name(f".{_stem(path)}{OLD}{partial.name.rpartition('-')[2]}")
    with locked(path):  # so that nobody takes it for the rest of a killed process
        path.rename(aside)
        try:
            partial.rename(path)
        except BaseException:
            aside.rename(path)
            raise
    shutil.rmtree(aside, ignore_errors=True)
    return True


def _stem(path: Path) -> str:
    """The name, or as much of it as leaves room for what is appended, with its hash."""
    name = os.fsencode(path.name)
    if len(name) <= LONGEST_NAME:
        return path.name
    digest = hashlib.sha256(name).hexdigest()[:16]
    return f"{name[: LONGEST_NAME - 17].decode(errors='ignore')}-{digest}"


def _is_general(error: Exception) -> bool:
    """Whether an error among much other work is about what is written: room, or a limit of the process."""
    return not isinstance(error, OSError) or error.errno not in (
        errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EBUSY, errno.EIO, errno.ELOOP,
    )  # fmt: skip


def _refusal(error: Exception, path: Path) -> UnwritableError:
    return UnwritableError(f"{path}: cannot be written ({getattr(error, 'strerror', None) or error})")
