"""Resident memory: what a process has taken, and giving back what it does not need at the moment."""

from __future__ import annotations

import contextlib
import gc
import mmap
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import numpy as np

SMAPS: Final = Path("/proc/self/smaps")
MAPS: Final = Path("/proc/self/maps")
PAGES: Final = Path("/proc/self/pagemap")
_DONTNEED: Final = 4  # MADV_DONTNEED of <sys/mman.h> on Linux
_REGION: Final = re.compile(
    r"^([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \S+ *(.*)\n((?:[A-Z]\w+:.*(?:\n|$))*)", re.MULTILINE
)
_PLACE: Final = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+ +(/.*)$", re.MULTILINE)
_SIZE: Final = re.compile(r"^(Rss|Anonymous|Swap): +(\d+) kB", re.MULTILINE)


class Region(NamedTuple):
    """Addresses ``start`` to ``end`` of this process, the file mapped there ("" for none), in bytes.

    ``resident`` of them are in memory. ``own`` are not the file's, in memory or swapped out: taken by malloc,
    or written since.
    """

    start: int
    end: int
    path: str
    resident: int
    own: int


def regions(text: str | None = None) -> Iterator[Region]:
    """The regions that ``/proc/self/smaps`` lists, or ``text`` in its form; none where there is no such file.

    >>> from phantom_edge.system.memory import regions
    >>> text = "1000-3000 r--p 0 fd:00 7   /model.pte\\nRss:  8 kB\\nAnonymous:  0 kB\\n"
    >>> next(regions(text))
    Region(start=4096, end=12288, path='/model.pte', resident=8192, own=0)
    """
    if text is None:
        try:
            text = SMAPS.read_text(errors="surrogateescape")
        except OSError:
            return
    for match in _REGION.finditer(text):
        sizes = {name: int(size) * 1024 for name, size in _SIZE.findall(match[4])}
        own = sizes.get("Anonymous", 0) + sizes.get("Swap", 0)
        yield Region(int(match[1], 16), int(match[2], 16), match[3], sizes.get("Rss", 0), own)


def give_back(folder: Path) -> None:
    """Give back memory that is free or can be read again, where the platform has a way to; else do nothing.

    That is what malloc keeps for later, and pages of files mapped from below ``folder``: a runtime reads them
    once to repack its weights, and the system maps sixteen pages where a row of an embedding is read. Pages
    that are needed again come from the system's cache, at the cost of a page fault. A region that was written
    to is left alone, and all of them are while another thread could unmap one.
    """
    if not sys.platform.startswith("linux"):
        return
    # Another C library may lack one of the three, and a small Python (runtime/arm) has no ctypes.
    with contextlib.suppress(OSError, AttributeError, ImportError):
        import ctypes

        library = ctypes.CDLL(None)
        library.malloc_trim(0)
        if threading.active_count() > 1:
            return
        below = f"{folder.resolve()}/"
        with _no_collection():
            for start, end in _unwritten(below):
                at, size = ctypes.c_void_p(start), ctypes.c_size_t(end - start)
                library.munlock(at, size)  # ExecuTorch locks what it maps, where it may
                library.madvise(at, size, _DONTNEED)


def _unwritten(below: str) -> Iterator[tuple[int, int]]:
    """Addresses of mapped files whose path begins with ``below`` and of which no page was written to.

    Read from the list of addresses and from the state of these pages: for sizes the system looks at every
    page of the process, which takes 40 ms where this takes three.
    """
    text = MAPS.read_text(errors="surrogateescape")
    with PAGES.open("rb", buffering=0) as pages:
        for match in _PLACE.finditer(text):
            start, end, rights, path = int(match[1], 16), int(match[2], 16), match[3], match[4]
            if path.startswith(below) and ("w" not in rights or not _has_own_page(pages, start, end)):
                yield start, end


def _has_own_page(pages: BinaryIO, start: int, end: int) -> bool:
    """Whether a page between two addresses is the process's own: written to, in memory or swapped out.

    Each has 64 bits in ``pages``: 63 in memory, 62 swapped out, 61 of a file. Source: Linux's
    ``Documentation/admin-guide/mm/pagemap.rst``.
    """
    pages.seek(start // mmap.PAGESIZE * 8)
    state = np.frombuffer(pages.read((end - start) // mmap.PAGESIZE * 8), np.uint64)
    present, of_file = state >> np.uint64(62), state >> np.uint64(61) & np.uint64(1)
    return bool(((present != 0) & (of_file == 0)).any())


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """No object is destroyed in the block by Python's collector, and with it a mapping that it owns."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
