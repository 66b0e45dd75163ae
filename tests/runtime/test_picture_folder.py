"""What a picture cache keeps: within its bounds, whole or not at all, and nobody else's."""

from __future__ import annotations

import logging
import os
import random
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from disks import fill, make_read_only, mounted

from phantom_edge.errors import InputError, UnwritableError
from phantom_edge.runtime.picture_folder import DIGEST, PictureFolder
from phantom_edge.runtime.pictures import PictureCache, PictureState
from phantom_edge.system.outputs import CACHE_TAG
from phantom_edge.system.reading import open_safetensors

ROOT = Path(__file__).parents[2]
LARGE = 1 << 30
KILLS = 8
WRITER = """
import sys
import numpy as np
from phantom_edge.runtime.picture_folder import PictureFolder

folder, limit, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
store, random = PictureFolder(folder, limit), np.random.default_rng(seed)
print("ready", flush=True)
for n in range(int(sys.argv[4])):
    number = int(random.integers(8))
    arrays = store.read(f"{number:064x}")
    assert arrays is None or (arrays["tokens"] == number).all(), "another's content"
    store.write(f"{number:064x}", {"tokens": np.full((64, 1024), number, np.float32)})
"""


def key(number: int) -> str:
    return f"{number:064x}"


def arrays(number: int, rows: int = 64) -> dict[str, np.ndarray]:
    return {
        "tokens": np.full((rows, 256), number, np.float32),
        "cache.0000": np.full((1, 2), number, np.int8),
    }


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def used_at(folder: PictureFolder, number: int, seconds: int) -> None:
    """Say when a key was last used; a disk's clock is too coarse for a test that takes no time."""
    path = folder.folder / f"{key(number)}.safetensors"
    os.utime(path, (seconds, seconds))


def writer(folder: Path, *words: object) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", WRITER, str(folder), *map(str, words)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    return process


class TestFolder:
    def test_what_was_written_is_read(self, tmp_path):
        store = PictureFolder(tmp_path / "a" / "b", LARGE)
        kinds = (np.float16, np.float32, np.int8)
        wide = np.arange(24).reshape(2, 3, 4)
        given = {kind.__name__: wide.astype(kind)[:, ::2] for kind in kinds}  # not contiguous
        store.write(key(1), given)
        again = PictureFolder(tmp_path / "a" / "b", LARGE).read(key(1))
        assert again.keys() == given.keys()
        for name, array in given.items():
            assert np.array_equal(again[name], array)
            assert again[name].dtype == array.dtype
        assert store.read(key(2)) is None

    def test_only_its_owner_can_read_it(self, tmp_path):
        before = os.umask(0)
        try:
            store = PictureFolder(tmp_path / "seen", LARGE)
            store.write(key(1), arrays(1))
        finally:
            os.umask(before)
        assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
        assert [stat.S_IMODE(path.stat().st_mode) for path in files(store.folder)] == [0o600]

    def test_the_one_that_was_not_used_longest_goes_first(self, tmp_path):
        one = sum(array.nbytes for array in arrays(0).values())
        store = PictureFolder(tmp_path / "seen", 4 * one)  # of which a file's description takes a little
        for number in range(3):
            store.write(key(number), arrays(number))
            used_at(store, number, 1000 + number)
        assert store.read(key(0)) is not None  # used now
        for number in (3, 4):
            store.write(key(number), arrays(number))
        assert [n for n in range(5) if store.read(key(n)) is not None] == [0, 3, 4]
        assert sum(path.stat().st_size for path in files(store.folder)) <= 4 * one
        store.write(key(5), arrays(5, rows=64 * 5))  # larger than all of it
        assert len(files(store.folder)) == 3
        PictureFolder(store.folder, one // 2).write(key(6), arrays(6, rows=1))
        assert [path.stem for path in files(store.folder)] == [key(6)]

    def test_damage_is_removed_and_never_read(self, tmp_path):
        store = PictureFolder(tmp_path / "seen", LARGE)
        store.write(key(1), arrays(1))
        [path] = files(store.folder)
        sound, random_ = path.read_bytes(), random.Random(0)
        header = 8 + int.from_bytes(sound[:8], "little")
        cuts = [sound[:n] for n in (0, 4, header - 1, header, len(sound) - 1)]
        flips = []
        for place in [*random_.sample(range(header), 40), *random_.sample(range(header, len(sound)), 10)]:
            flips.append(
                sound[:place] + bytes([sound[place] ^ 1 << random_.randrange(8)]) + sound[place + 1 :]
            )
        for damaged in (*cuts, *flips, sound + b"more", b"\0" * len(sound)):
            path.write_bytes(damaged)
            read = store.read(key(1))
            if read is None:
                assert not path.exists()
            else:  # white space of the description
                assert damaged[:header].split() == sound[:header].split()
                assert all(np.array_equal(read[name], array) for name, array in arrays(1).items())
        path.write_bytes(sound)
        path.rename(store.folder / f"{key(2)}.safetensors")  # another picture's name
        assert store.read(key(2)) is None
        assert files(store.folder) == []

    def test_a_file_too_large_is_not_read(self, tmp_path):
        store = PictureFolder(tmp_path / "seen", 1 << 20)
        path = store.folder / f"{key(1)}.safetensors"
        with path.open("wb") as file:
            file.write((100).to_bytes(8, "little"))
            file.truncate(1 << 40)  # a terabyte that takes no room
        assert store.read(key(1)) is None
        assert not path.exists()

    def test_nothing_of_others_is_touched(self, tmp_path):
        store = PictureFolder(tmp_path / "seen", 1 << 20)
        mine, aside = store.folder / "notes.safetensors", tmp_path / "aside.safetensors"
        mine.write_bytes(b"mine")
        PictureFolder(tmp_path / "other", LARGE).write(key(1), arrays(1))
        files(tmp_path / "other")[0].rename(aside)
        (store.folder / f"{key(1)}.safetensors").symlink_to(aside)
        (store.folder / f"{key(2)}.safetensors").mkdir()
        assert store.read(key(1)) is None  # a link may lead anywhere
        assert store.read(key(2)) is None
        store.write(key(2), arrays(2))
        for number in range(3, 30):
            store.write(key(number), arrays(number))
        store.clear()
        left = sorted(path.name for path in store.folder.iterdir())
        assert left == [f"{key(1)}.safetensors", f"{key(2)}.safetensors", CACHE_TAG, "notes.safetensors"]
        assert aside.exists()

    @pytest.mark.skipif(
        not hasattr(os, "getuid") or os.getuid() != 0, reason="needs to be root, to give away"
    )
    def test_another_users_file_is_not_believed(self, tmp_path):
        store = PictureFolder(tmp_path / "seen", LARGE)
        store.write(key(1), arrays(1))
        os.chown(files(store.folder)[0], 1, 1)
        assert store.read(key(1)) is None

    def test_places_where_none_can_be(self, tmp_path):
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "letter.txt").write_text("mine")
        (tmp_path / "tagged").mkdir()
        (tmp_path / "tagged" / CACHE_TAG).write_text("Signature: 8a477f597d28d172789f06886806bc55\n")
        (tmp_path / "file").write_text("")
        for place, message in (
            ("full", "holds letter.txt, and is no cache"),
            ("tagged", "is no cache of this toolkit"),
            ("file", "is no folder"),
            ("x" * 300, "too long"),
            ("a\0b", "null character"),
        ):
            with pytest.raises(InputError, match=message):
                PictureFolder(tmp_path / place, LARGE)
        assert (tmp_path / "full" / "letter.txt").read_text() == "mine"
        (tmp_path / "empty").mkdir()
        PictureFolder(tmp_path / "empty", LARGE)
        (tmp_path / "link").symlink_to("empty")
        PictureFolder(tmp_path / "link", LARGE).write(key(1), arrays(1))
        assert len(files(tmp_path / "empty")) == 1

    @pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="root writes everywhere")
    def test_a_folder_that_cannot_be_written(self, tmp_path):
        (tmp_path / "closed").mkdir(mode=0o500)
        with pytest.raises(UnwritableError, match="cannot be written"):
            PictureFolder(tmp_path / "closed" / "seen", LARGE)

    def test_what_cannot_be_written_later_is_said_once(self, tmp_path, caplog):
        store = PictureFolder(tmp_path / "seen", LARGE)
        (store.folder / CACHE_TAG).unlink()
        store.folder.rmdir()
        with caplog.at_level(logging.WARNING):
            for number in range(3):
                store.write(key(number), arrays(number))
        assert len(caplog.records) == 1
        assert "a picture is not kept" in caplog.text
        assert store.read(key(1)) is None

    def test_a_full_or_closed_disk_costs_nothing_but_the_cache(self, tmp_path, caplog):
        with mounted(tmp_path / "disk") as disk:
            store = PictureFolder(disk / "seen", LARGE)
            store.write(key(1), arrays(1))
            fill(disk)
            store.write(key(2), arrays(2))
            assert "the disk is full" in caplog.text
            assert [path.stem for path in files(store.folder)] == [key(1)]
            (disk / "full").unlink()
            make_read_only(disk)
            store.write(key(3), arrays(3))
            assert np.array_equal(store.read(key(1))["tokens"], arrays(1)["tokens"])
            assert store.read(key(3)) is None
            again = PictureFolder(disk / "seen", LARGE)
            assert again.read(key(1)) is not None
            with pytest.raises(UnwritableError):
                PictureFolder(disk / "other", LARGE)
        assert len(caplog.records) == 1


class TestProcesses:
    @pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
    def test_a_writer_killed_at_any_moment_leaves_whole_files(self, tmp_path, how):
        moments = random.Random(0)
        limit = 5 * 64 * 1024 * 4
        for seed in range(KILLS // 2):
            process = writer(tmp_path / "seen", limit, seed, 10**6)
            time.sleep(moments.uniform(0.0, 0.2))
            process.send_signal(how)
            process.communicate()
            for path in files(tmp_path / "seen"):
                with open_safetensors(path, "np") as file:
                    assert file.metadata().keys() == {DIGEST}
                expected = int(path.stem, 16)
                store = PictureFolder(tmp_path / "seen", LARGE)
                assert (store.read(path.stem)["tokens"] == expected).all()
        store.write(key(1), arrays(1))
        left = {path.name for path in store.folder.iterdir()}
        assert left == {CACHE_TAG, *(path.name for path in files(store.folder))}

    def test_two_at_once(self, tmp_path):
        """Both write and read the same keys in a folder that holds five of eight."""
        limit = 5 * 64 * 1024 * 4 + 5000
        processes = [writer(tmp_path / "seen", limit, seed, 150) for seed in (1, 2)]
        said = [process.communicate(timeout=60)[1].decode() for process in processes]
        assert [process.returncode for process in processes] == [0, 0], said
        assert said == ["", ""]
        assert 0 < sum(path.stat().st_size for path in files(tmp_path / "seen")) <= limit
        left = {path.name for path in (tmp_path / "seen").iterdir()}
        assert left == {CACHE_TAG, *(path.name for path in files(tmp_path / "seen"))}


def state(number: int, rows: int = 100) -> PictureState:
    cache = tuple(np.full((1, 2, rows, 4), number + n, np.float32) for n in range(3))
    return PictureState(np.full((rows, 8), number, np.float32), cache)


def same(one: PictureState, other: PictureState) -> bool:
    pairs = zip((one.tokens, *one.cache), (other.tokens, *other.cache), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


class TestCache:
    def test_memory_is_bounded_and_the_oldest_goes_first(self):
        cache = PictureCache(memory=3 * state(0).nbytes)
        for number in range(3):
            cache.put(key(number), state(number))
        assert cache.get(key(0)) is not None
        cache.put(key(3), state(3))
        assert [n for n in range(4) if cache.get(key(n))] == [0, 2, 3]
        assert cache.nbytes == 3 * state(0).nbytes
        cache.put(key(4), state(4, rows=1000))
        assert cache.get(key(4)) is None
        assert cache.nbytes == 3 * state(0).nbytes
        cache.put(key(3), state(3, rows=1))  # in the place of the earlier
        assert cache.nbytes == 2 * state(0).nbytes + state(0, rows=1).nbytes
        cache.clear()
        assert (cache.nbytes, cache.get(key(0))) == (0, None)

    def test_what_memory_forgot_the_disk_knows(self, tmp_path):
        cache = PictureCache(memory=state(0).nbytes, folder=tmp_path / "seen")
        for number in (1, 2):
            cache.put(key(number), state(number))
        for number, place in ((1, "disk"), (1, "memory"), (2, "disk"), (1, "disk")):
            known, source = cache.get(key(number))
            assert source == place
            assert same(known, state(number))
        cache.remove(key(1))
        assert cache.get(key(1)) is None
        cache.clear()
        assert cache.get(key(2)) is None
        assert files(tmp_path / "seen") == []

    def test_order_and_number_of_the_arrays(self, tmp_path):
        arrays = tuple(np.full((2,), n, np.float32) for n in range(300))
        PictureCache(folder=tmp_path / "seen").put(key(1), PictureState(np.zeros((1, 1), np.float32), arrays))
        known, _ = PictureCache(folder=tmp_path / "seen").get(key(1))
        assert [int(array[0]) for array in known.cache] == list(range(300))

    @pytest.mark.parametrize("bounds", [{"memory": -1}, {"disk": -1}])
    def test_senseless_bounds_are_refused(self, bounds):
        with pytest.raises(InputError, match="give a number of bytes"):
            PictureCache(**bounds)

    def test_bounds_of_nothing(self, tmp_path):
        cache = PictureCache(memory=0, folder=tmp_path / "seen", disk=0)
        cache.put(key(1), state(1))
        assert cache.get(key(1)) is None
        assert files(tmp_path / "seen") == []
