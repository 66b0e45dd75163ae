"""The cache costs time when it fails, never the result."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from phantom_edge.errors import CheckError, UnwritableError
from phantom_edge.quantize.cache import Cache
from phantom_edge.system.caching import cached
from phantom_edge.system.writing import replacing_folder

PLACE = Path("things", "one")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "phantom-edge"


def is_whole(folder: Path) -> bool:
    return (folder / "whole").is_file()


class Maker:
    def __init__(self) -> None:
        self.made: list[Path] = []

    def __call__(self, folder: Path) -> None:
        self.made.append(folder)
        with replacing_folder(folder) as partial:
            (partial / "whole").touch()


def test_it_is_made_once_and_again_when_damaged(cache):
    make = Maker()
    folder = cached(PLACE, is_whole, make)
    assert folder == cache / PLACE == cached(PLACE, is_whole, make)
    assert len(make.made) == 1
    (folder / "whole").unlink()
    (folder / "rest").touch()
    assert is_whole(cached(PLACE, is_whole, make))
    assert not (folder / "rest").exists()


def test_where_the_cache_cannot_be_written_it_is_made_elsewhere(cache, caplog):
    cache.parent.write_text("no folder")
    make = Maker()
    folder = cached(PLACE, is_whole, make)
    assert is_whole(folder)
    assert folder == make.made[-1]
    assert not folder.is_relative_to(cache)
    assert "not kept for the next run" in caplog.text


def test_a_cache_that_gets_full_meanwhile(cache, caplog):
    class Full(Maker):
        def __call__(self, folder: Path) -> None:
            if folder.is_relative_to(cache):
                raise UnwritableError(f"{folder}: the disk is full")
            super().__call__(folder)

    assert is_whole(cached(PLACE, is_whole, Full()))
    assert "the disk is full" in caplog.text


def test_another_failure_is_the_result_s(cache):
    def fails(folder: Path) -> None:
        raise CheckError("npm run build failed")

    with pytest.raises(CheckError, match="npm"):
        cached(PLACE, is_whole, fails)


def test_two_processes_make_it_once(tmp_path):
    code = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        from phantom_edge.system.caching import cached
        from phantom_edge.system.writing import replacing_folder

        def make(folder):
            print("made", flush=True)
            time.sleep(0.5)
            with replacing_folder(folder) as partial:
                (partial / "whole").touch()

        folder = cached(Path("things", "one"), lambda folder: (folder / "whole").is_file(), make)
        assert (folder / "whole").is_file()
        """
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=os.environ)
        for _ in range(2)
    ]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(said) == ["", "made\n"]


def test_calibrations_are_kept_if_they_can_be(tmp_path, caplog):
    place = tmp_path / "calibrations"
    Cache(place).keep_options("key", {})
    assert Cache(place).options("key") == {}
    (tmp_path / "file").touch()
    Cache(tmp_path / "file" / "sub").keep_options("key", {})
    assert "not kept for the next run" in caplog.text


def test_what_killed_processes_left_in_the_cache_goes_with_the_next_write(cache):
    (cache / "things").mkdir(parents=True)
    (cache / "things" / ".another.partial-abc").mkdir()
    cached(PLACE, is_whole, Maker())
    assert sorted(path.name for path in (cache / "things").iterdir()) == [".lock", "one"]
