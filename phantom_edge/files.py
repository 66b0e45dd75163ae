"""The cache folder, hashing, and writing that is complete or does not happen."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from phantom_edge.errors import InputError, PhantomEdgeError
from phantom_edge.reading import opened

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
LEAST_ROOM = 4 << 20  # bytes; a disk with less left is full for anything that is written here


def cache_folder() -> Path:
    """The user's cache folder for this package, which may not exist yet.

    It keeps built apps, the embedded model's bundle, calibrations, and runtimes for the benchmark.
    ``XDG_CACHE_HOME`` is honoured everywhere.
    """
    base = os.environ.get("XDG_CACHE_HOME")
    if not base and sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
    default = Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    return Path(base or default).absolute() / "phantom-edge"


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal. Raises :class:`InputError` where it cannot be read."""
    with opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Flush a file or folder to the disk, so that a crash after a rename cannot leave a hollow one."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def use_default_permissions(path: Path) -> None:
    """Give a file or folder the permissions of an ordinary new one: some writers make theirs private."""
    umask = os.umask(0)
    os.umask(umask)
    path.chmod((0o777 if path.is_dir() else 0o666) & ~umask)


@contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """A temporary sibling of ``path``, same suffix, that takes its place when the block ends without error.

    An earlier file stays untouched until then, and nothing is left behind. Raises :class:`InputError` when
    the file cannot be written.

    >>> with replacing_file(Path("report.json")) as partial:
    ...     _ = partial.write_text("{}")
    """
    partial = path.with_name(f".{path.stem}.partial-{os.getpid()}{path.suffix}")
    try:
        yield partial
        use_default_permissions(partial)
        sync(partial)
        partial.replace(path)
    except PhantomEdgeError:
        raise
    except Exception as error:
        raise _unwritable(path, error) from None
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path, check: Callable[[Path], None] = lambda _: None) -> Iterator[Path]:
    """A temporary sibling folder that takes the place of ``path`` when the block ends without an error.

    ``check`` refuses, by raising :class:`InputError`, a ``path`` that must not be replaced. What was there
    stays untouched until the new folder is complete and on the disk; nothing is left behind. Raises
    :class:`InputError` when it cannot be written.
    """
    path = Path(os.path.abspath(path))
    check(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{path.name}.partial-", dir=path.parent))
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
    try:
        yield partial
        for entry in [*partial.rglob("*"), partial]:
            use_default_permissions(entry)
            sync(entry)
        _swap(partial, path)
    except PhantomEdgeError:
        raise
    except Exception as error:
        if is_disk_full(error, path.parent):
            raise _unwritable(path, error) from None
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def is_disk_full(error: Exception, folder: Path) -> bool:
    """Whether writing failed for want of room.

    Native writers report it without an errno, or as another exception; numpy's ``tofile`` says "8192
    requested and 0 written".
    """
    number = error.errno if isinstance(error, OSError) else None
    cut_short = isinstance(error, OSError) and number is None and "written" in str(error)
    return number in FULL or cut_short or (number is None and shutil.disk_usage(folder).free < LEAST_ROOM)


def _unwritable(path: Path, error: Exception) -> Exception:
    if is_disk_full(error, path.parent):
        return InputError(f"{path}: the disk is full; free some space or choose another place")
    if isinstance(error, OSError) or type(error).__name__ == "SafetensorError":
        return InputError(f"{path}: cannot be written ({getattr(error, 'strerror', None) or error})")
    return error


def _swap(partial: Path, path: Path) -> None:
    """Rename ``partial`` to ``path``, moving an earlier folder aside and back if that fails."""
    if not path.exists():
        partial.rename(path)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.old-", dir=path.parent))
    path.rename(aside / path.name)
    try:
        partial.rename(path)
    except BaseException:
        (aside / path.name).rename(path)
        aside.rmdir()
        raise
    shutil.rmtree(aside, ignore_errors=True)
