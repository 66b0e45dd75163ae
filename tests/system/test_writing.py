"""Writing: complete or not at all, whenever the process ends, and with nothing left behind."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from phantom_edge.errors import InputError, UnwritableError
from phantom_edge.system import writing
from phantom_edge.system.causes import SCRATCH
from phantom_edge.system.partials import partial_folder, scratch, temporary_folder
from phantom_edge.system.writing import exchange, mend, replacing_file, replacing_folder


def make(path: Path, text: str) -> None:
    with replacing_folder(path) as folder:
        (folder / "a").write_text(text)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def child(code: str, *arguments: object, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.fixture(params=["exchange", "renames"])
def way(request, monkeypatch):
    """Both ways of replacing a folder: what this system can, and what every system can."""
    if request.param == "renames":
        monkeypatch.setattr(writing, "exchange", lambda one, other: False)
    return request.param


def test_a_folder_is_replaced_whole(tmp_path, way):
    make(tmp_path / "x", "one")
    make(tmp_path / "x", "two")
    assert (tmp_path / "x" / "a").read_text() == "two"
    assert names(tmp_path) == ["x"]


def test_an_empty_folder_and_new_parents(tmp_path, way):
    (tmp_path / "x").mkdir()
    make(tmp_path / "x", "one")
    make(tmp_path / "p" / "q" / "x", "one")
    assert names(tmp_path) == ["p", "x"]


def test_parents_that_were_made_for_nothing_go(tmp_path):
    with pytest.raises(ZeroDivisionError), replacing_folder(tmp_path / "p" / "q" / "x"):
        raise ZeroDivisionError
    assert names(tmp_path) == []


@pytest.mark.skipif(sys.platform not in ("linux", "darwin"), reason="no atomic exchange here")
def test_folders_are_exchanged_in_one_step(tmp_path):
    for name in "xy":
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    if not exchange(tmp_path / "x", tmp_path / "y"):
        pytest.skip("this disk has no atomic exchange")
    assert (names(tmp_path / "x"), names(tmp_path / "y")) == (["y"], ["x"])
    with pytest.raises(FileNotFoundError):
        exchange(tmp_path / "x", tmp_path / "none")


def test_a_failing_rename_leaves_everything_as_it_was(tmp_path, monkeypatch):
    make(tmp_path / "x", "one")
    rename = Path.rename

    def fails(self, target):
        if ".partial-" in self.name and not target.exists():
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(writing, "exchange", lambda one, other: False)
    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(OSError, match="Input/output"):
        make(tmp_path / "x", "two")
    assert (tmp_path / "x" / "a").read_text() == "one"
    assert names(tmp_path) == ["x"]


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from phantom_edge.system import writing

    rename, kill_at, calls = Path.rename, int(sys.argv[2]), 0
    def counted(self, target):
        global calls
        calls += 1
        if calls == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return rename(self, target)
    Path.rename = counted
    if sys.argv[3] == "renames":
        writing.exchange = lambda one, other: False
    with writing.replacing_folder(Path(sys.argv[1])) as folder:
        (folder / "a").write_text("two")
        if kill_at == 0:
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("kill_at", [0, 1, 2, 3])
@pytest.mark.parametrize("how", ["exchange", "renames"])
def test_a_kill_at_any_rename_loses_nothing(tmp_path, kill_at, how):
    """Before the first rename, between any two, and after the last."""
    make(tmp_path / "x", "one")
    assert child(KILLED, tmp_path / "x", kill_at, how).wait() in (-signal.SIGKILL, 0)
    mend(tmp_path / "x")
    assert (tmp_path / "x" / "a").read_text() in ("one", "two")
    make(tmp_path / "x", "three")
    assert (tmp_path / "x" / "a").read_text() == "three"
    assert names(tmp_path) == ["x"]


WAITING = """
    import sys, time
    from pathlib import Path
    from phantom_edge.system.writing import replacing_folder
    with replacing_folder(Path(sys.argv[1])) as folder:
        (folder / "a").write_text("theirs")
        print("ready", flush=True)
        time.sleep(60)
"""


def test_leftovers_of_a_killed_process_go_and_those_of_a_living_one_stay(tmp_path):
    living, killed = child(WAITING, tmp_path / "x"), child(WAITING, tmp_path / "x")
    try:
        for process in (living, killed):
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        killed.kill()
        killed.wait()
        assert len(names(tmp_path)) == 2
        make(tmp_path / "x", "mine")
        left = names(tmp_path)
        assert len(left) == 2
        assert left[1] == "x"
        assert (tmp_path / left[0] / "a").read_text() == "theirs"
    finally:
        living.kill()
        living.wait()
    make(tmp_path / "x", "mine")
    assert names(tmp_path) == ["x"]


def test_two_at_once_leave_one_of_both(tmp_path, way):
    with replacing_folder(tmp_path / "x") as outer:
        (outer / "a").write_text("outer")
        make(tmp_path / "x", "inner")
    assert (tmp_path / "x" / "a").read_text() == "outer"
    assert names(tmp_path) == ["x"]


def test_what_others_put_there_meanwhile_stays(tmp_path):
    def check(path: Path) -> None:
        if (path / "mine").exists():
            raise InputError("in use")

    def race() -> None:
        with replacing_folder(tmp_path / "x", check):
            (tmp_path / "x").mkdir()
            (tmp_path / "x" / "mine").touch()

    with pytest.raises(InputError, match="in use"):
        race()
    assert names(tmp_path / "x") == ["mine"]


@pytest.mark.parametrize("length", [200, 255])
def test_long_names(tmp_path, length):
    path = tmp_path / ("é" * (length // 2) + "x" * (length % 2))
    make(path, "one")
    make(path, "two")
    with replacing_file(path.with_name(f"{'y' * (length - 5)}.json")) as partial:
        partial.write_text("{}")
    assert len(names(tmp_path)) == 2


def test_a_file_keeps_its_earlier_content_until_the_end(tmp_path):
    path = tmp_path / "f.txt"
    path.write_text("one")
    with replacing_file(path) as partial:
        partial.write_text("two")
        assert path.read_text() == "one"
    assert path.read_text() == "two"
    with pytest.raises(KeyboardInterrupt), replacing_file(path) as partial:
        raise KeyboardInterrupt(partial.write_text("three"))
    assert (path.read_text(), names(tmp_path)) == ("two", ["f.txt"])


def test_a_missing_parent_is_one_line(tmp_path):
    with (
        pytest.raises(UnwritableError, match="its folder does not exist"),
        replacing_file(tmp_path / "n" / "f"),
    ):
        pytest.fail("the block must not run")


class TestTemporaryFolders:
    def test_a_library_s_files_lie_in_one_folder_of_the_process(self, tmp_path, monkeypatch):
        import tempfile

        monkeypatch.setattr(tempfile, "tempdir", None)
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        with scratch():
            tempfile.mkdtemp()  # of a library that forgets it
            with temporary_folder() as folder:
                assert folder.parent.parent == tmp_path
            assert os.environ["TMPDIR"] != str(tmp_path)
        assert names(tmp_path) == []
        assert os.environ["TMPDIR"] == str(tmp_path)
        with temporary_folder() as folder:
            assert folder.parent == tmp_path

    def test_those_of_a_killed_process_go_with_the_next(self, tmp_path):
        code = """
            import tempfile, time
            from phantom_edge.system.partials import scratch
            with scratch():
                tempfile.mkdtemp()
                print("ready", flush=True)
                time.sleep(60)
        """
        process = child(code, env={**os.environ, "TMPDIR": str(tmp_path)})
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        with partial_folder(tmp_path, SCRATCH):
            assert len(names(tmp_path)) == 2
        process.kill()
        process.wait()
        with partial_folder(tmp_path, SCRATCH):
            assert len(names(tmp_path)) == 1

    def test_what_is_not_this_user_s_or_no_folder_stays(self, tmp_path):
        (tmp_path / "target").mkdir()
        (tmp_path / f"{SCRATCH}link").symlink_to(tmp_path / "target")
        (tmp_path / f"{SCRATCH}file").touch()
        with partial_folder(tmp_path, SCRATCH):
            pass
        assert names(tmp_path) == [f"{SCRATCH}file", f"{SCRATCH}link", "target"]


def test_many_kills_by_chance(tmp_path):
    """A writer is killed at twenty moments; the folder is whole each time."""
    code = """
        import sys
        from pathlib import Path
        from phantom_edge.system.writing import replacing_folder
        print("ready", flush=True)
        for n in range(10**6):
            with replacing_folder(Path(sys.argv[1])) as folder:
                for name in "ab":
                    (folder / name).write_text(str(n))
    """
    for n in range(20):
        process = child(code, tmp_path / "x")
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.002 * (1 + n))
        process.kill()
        process.wait()
        if (tmp_path / "x").exists():
            assert (tmp_path / "x" / "a").read_text() == (tmp_path / "x" / "b").read_text() != ""
    with replacing_folder(tmp_path / "x") as folder:
        (folder / "a").touch()
    assert names(tmp_path) == ["x"]
