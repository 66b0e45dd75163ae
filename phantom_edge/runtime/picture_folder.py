"""Arrays by key in the files of one folder, for several processes at once and across crashes.

A file gets its name whole, in one step, so that no reader meets half of one. Nothing waits for the disk: what
a power failure leaves hollow, what is damaged and what has another's name does not have its own digest, and
is removed and computed again. Files and folder are for their owner alone: they come from pictures.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from phantom_edge.errors import InputError, NoRoomError, first_line
from phantom_edge.system.causes import unwritable
from phantom_edge.system.outputs import CACHE_TAG, CACHE_TAG_TEXT, check_cache_folder
from phantom_edge.system.partials import partial_folder
from phantom_edge.system.reading import check_size, has_bytes, open_safetensors
from phantom_edge.system.writing import explaining, replacing_file

LOG: Final = logging.getLogger(__name__)
DIGEST: Final = "picture_sha256"
"""Of a file's key and arrays, in its own metadata."""
PARTIAL: Final = ".partial-"
NAME: Final = re.compile(r"[0-9a-f]{64}\.safetensors")
Arrays = Mapping[str, np.ndarray]


class _File(NamedTuple):
    used: int
    bytes: int
    path: Path


class PictureFolder:
    """Files of arrays in ``folder``, of ``limit`` bytes together; what was not used longest goes first.

    A folder that is not there is made. Nothing in it is touched but files of these names, and it can be
    removed at any time.

    Raises :class:`InputError` for a folder that holds other things, :class:`UnwritableError` where it cannot
    be made.
    """

    def __init__(self, folder: str | Path, limit: int):
        self.folder, self.limit = Path(os.path.abspath(folder)), limit
        self._warned = False
        check_cache_folder(self.folder)
        with explaining(self.folder, always=True):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not has_bytes(self.folder / CACHE_TAG, CACHE_TAG_TEXT):
            with replacing_file(self.folder / CACHE_TAG) as file:
                file.write_bytes(CACHE_TAG_TEXT)

    def read(self, key: str) -> dict[str, np.ndarray] | None:
        """The arrays of a key; None where there are none, or a file that is not what was written."""
        path = self._path(key)
        if not _is_own(path):
            return None
        try:
            arrays = self._read(path, key)
        except NoRoomError:
            return None
        except InputError as error:
            LOG.info("removed from the picture cache (%s)", error)
            self.remove(key)
            return None
        with suppress(OSError):
            os.utime(path)  # used now
        return arrays

    def write(self, key: str, arrays: Arrays) -> None:
        """Keep arrays by a key. Where that cannot be, a warning says so once and all goes on without."""
        size = sum(array.nbytes for array in arrays.values())
        if size > self.limit:
            return
        from safetensors import SafetensorError
        from safetensors.numpy import save_file

        contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        try:
            self._make_room(size)
            with partial_folder(self.folder, PARTIAL) as folder:
                file = folder / self._path(key).name
                save_file(contiguous, file, {DIGEST: digest(key, contiguous)})
                file.chmod(0o600)
                file.replace(self._path(key))
            self._make_room(0)  # another process may have written meanwhile
        except (OSError, SafetensorError) as error:
            if not self._warned:
                LOG.warning("a picture is not kept (%s)", unwritable(error, self.folder) or first_line(error))
            self._warned = True

    def remove(self, key: str) -> None:
        """Forget a key."""
        with suppress(OSError):
            self._path(key).unlink()

    def clear(self) -> None:
        """Remove all files of arrays."""
        for file in self._files():
            with suppress(OSError):
                file.path.unlink()

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"

    def _read(self, path: Path, key: str) -> dict[str, np.ndarray]:
        check_size(path, self.limit + (1 << 20))  # the description of the arrays comes on top
        with open_safetensors(path, "np") as file:
            arrays: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if (file.metadata() or {}).get(DIGEST) != digest(key, arrays):
                raise InputError(f"{path}: its content is not that of its digest")
        return arrays

    def _files(self) -> Iterator[_File]:
        """Those that are there and this user's."""
        with suppress(OSError), os.scandir(self.folder) as entries:
            for entry in entries:
                with suppress(OSError):  # another process may remove it meanwhile
                    if NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                        status = entry.stat(follow_symlinks=False)
                        yield _File(status.st_mtime_ns, status.st_size, Path(entry.path))

    def _make_room(self, size: int) -> None:
        """Remove the oldest until ``size`` more bytes are within the limit."""
        files = sorted(self._files())
        total = size + sum(file.bytes for file in files)
        for file in files:
            if total <= self.limit:
                return
            with suppress(OSError):
                file.path.unlink()
            total -= file.bytes


def digest(key: str, arrays: Arrays) -> str:
    """SHA-256, in hexadecimal, of a key with names, types, shapes and values of contiguous arrays."""
    sha = hashlib.sha256(key.encode())
    for name, array in sorted(arrays.items()):
        sha.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        sha.update(array.data)
    return sha.hexdigest()


def _is_own(path: Path) -> bool:
    """Whether an ordinary file of this user is there: another's may hold what they like."""
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and (not hasattr(os, "getuid") or status.st_uid == os.getuid())
