"""Debian's package files unpacked without Debian's tools: an `ar` archive with a `tar` inside."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import BinaryIO, Final

from phantom_edge.errors import InputError
from phantom_edge.system.reading import opened

MAGIC: Final = b"!<arch>\n"
HEADER: Final = 60
DATA: Final = "data.tar"
AGAIN: Final = "remove it, and the next run downloads it again"


def unpack(path: Path, target: Path, keep: tuple[str, ...]) -> None:
    """Write what ``path`` holds under the names that begin with one of ``keep`` below ``target``.

    Links to absolute paths are left out.

    Raises :class:`InputError` for damage, and for a file that would lie elsewhere.
    """
    with opened(path, mend=AGAIN) as file:
        _find_data(file, path)
        names = tuple(name.rstrip("/") for name in keep)
        with tarfile.open(fileobj=file, mode="r|*") as archive:
            for member in archive:
                if member.issym() and member.linkname.startswith("/"):
                    continue  # Python's settings in /etc, which is not unpacked
                name = member.name.removeprefix("./")
                if name in names or name.startswith(keep):
                    archive.extract(member, target, filter="data")
                    if keep == (name,):  # a single file: what follows need not be decompressed
                        return


def _find_data(file: BinaryIO, path: Path) -> None:
    """Leave ``file`` at the start of the archive's data. Raises :class:`InputError`."""
    if file.read(len(MAGIC)) != MAGIC:
        raise InputError(f"{path}: no Debian package; {AGAIN}")
    while len(header := file.read(HEADER)) == HEADER:
        name, size = header[:16].decode("ascii").strip(), int(header[48:58])
        if name.startswith(DATA):
            return
        file.seek(size + size % 2, 1)
    raise InputError(f"{path}: holds no {DATA}; {AGAIN}")
