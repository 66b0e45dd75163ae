"""Giving memory back: mapped files leave it and read the same afterwards, and nothing else is touched."""

from __future__ import annotations

import mmap
import sys
import threading
from contextlib import contextmanager

import pytest

from phantom_edge.system.memory import Region, give_back, regions

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's /proc")
SIZE = 4 << 20
SMAPS = """\
55d0c0a00000-55d0c0a21000 rw-p 00000000 00:00 0                          [heap]
Size:                132 kB
Rss:                  80 kB
Anonymous:            80 kB
Swap:                  4 kB
VmFlags: rd wr mr mw me ac
7f0000000000-7f0000200000 r--p 00010000 fe:00 1886466                    /data/my model.onnx_data
Rss:                2048 kB
Anonymous:             0 kB
Swap:                  0 kB
7ffd00000000-7ffd00001000 r-xp 00000000 00:00 0
Rss:                   4 kB
Anonymous:             0 kB
"""


@contextmanager
def mapped(path, access=mmap.ACCESS_READ):
    """A file of :data:`SIZE` bytes, all of which are in memory."""
    path.write_bytes(bytes(range(256)) * (SIZE // 256))
    with path.open("rb") as file, mmap.mmap(file.fileno(), SIZE, access=access) as data:
        assert sum(data[:: mmap.PAGESIZE]) == 0
        yield data


@pytest.fixture
def alone(monkeypatch):
    """As in a process of one thread: pytest's workers have one of their own, which unmaps nothing."""
    monkeypatch.setattr(threading, "active_count", lambda: 1)


def resident(path) -> int:
    """Bytes of a mapped file that are in memory."""
    return sum(region.resident for region in regions() if region.path == str(path))


def test_regions_of_a_listing():
    heap, data, code = regions(SMAPS)
    assert heap == Region(0x55D0C0A00000, 0x55D0C0A21000, "[heap]", 80 << 10, 84 << 10)
    assert data == Region(0x7F0000000000, 0x7F0000200000, "/data/my model.onnx_data", 2 << 20, 0)
    assert code.path == ""


@pytest.mark.usefixtures("alone")
def test_mapped_pages_leave_memory_and_come_back(tmp_path):
    path = tmp_path / "weights"
    with mapped(path) as data:
        assert resident(path) == SIZE
        give_back(tmp_path)
        assert resident(path) == 0
        assert data[:512] == bytes(range(256)) * 2


@pytest.mark.usefixtures("alone")
def test_a_region_that_was_written_to_stays(tmp_path):
    path = tmp_path / "weights"
    with mapped(path, mmap.ACCESS_COPY) as data:
        data[SIZE // 2] = 77
        before = resident(path)
        give_back(tmp_path)
        assert resident(path) == before > 0
        assert data[SIZE // 2] == 77


@pytest.mark.usefixtures("alone")
def test_a_region_that_may_be_written_to_and_was_not_leaves_memory(tmp_path):
    path = tmp_path / "weights"
    with mapped(path, mmap.ACCESS_COPY) as data:
        give_back(tmp_path)
        assert resident(path) == 0
        assert data[:512] == bytes(range(256)) * 2


@pytest.mark.usefixtures("alone")
def test_files_elsewhere_stay(tmp_path):
    path, folder = tmp_path / "weights", tmp_path / "weigh"
    folder.mkdir()
    with mapped(path):
        give_back(folder)
        assert resident(path) == SIZE


def test_nothing_is_unmapped_while_another_thread_runs(tmp_path):
    path, done = tmp_path / "weights", threading.Event()
    thread = threading.Thread(target=done.wait)
    with mapped(path):
        thread.start()
        try:
            give_back(tmp_path)
            assert resident(path) == SIZE
        finally:
            done.set()
            thread.join()
