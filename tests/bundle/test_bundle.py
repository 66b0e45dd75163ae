"""Bundles: atomic writing, and every way a finished one can be damaged."""

import errno
import os
from pathlib import Path

import pytest
from sample_manifest import sample_manifest

from phantom_edge.bundle.folder import Bundle, finish, is_bundle, writing
from phantom_edge.bundle.manifest import MANIFEST
from phantom_edge.errors import InputError


def make(output: Path, text: str = "weights") -> Bundle:
    with writing(output) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "model.bin").write_text(text)
        finish(folder, sample_manifest())
    return Bundle.open(output)


def siblings(output: Path) -> list[str]:
    return sorted(p.name for p in output.parent.iterdir())


def test_a_bundle_appears_complete_and_is_replaced_whole(tmp_path):
    output = tmp_path / "b"
    assert make(output, "one").manifest.schema == 2
    assert make(output, "two").bytes == 3
    assert (output / "sub" / "model.bin").read_text() == "two"
    assert siblings(output) == ["b"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, SystemExit])
def test_whatever_happens_the_earlier_bundle_stays(tmp_path, error):
    output = tmp_path / "b"
    make(output, "one")

    def interrupted():
        with writing(output) as folder:
            (folder / "half").write_text("written")
            raise error

    with pytest.raises(error):
        interrupted()
    assert Bundle.open(output).bytes == 3
    assert siblings(output) == ["b"]


def test_private_files_become_ordinary_ones(tmp_path):
    """Some writers make theirs readable by their owner alone, which a web server is not."""
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    with writing(tmp_path / "b") as folder:
        (folder / "private").touch(mode=0o600)
        finish(folder, sample_manifest())
    assert (tmp_path / "b" / "private").stat().st_mode == ordinary.stat().st_mode


def test_an_interrupted_swap_puts_the_earlier_bundle_back(tmp_path, monkeypatch):
    output = tmp_path / "b"
    make(output, "one")
    rename = Path.rename

    def fails(self, target):
        if ".partial-" in self.name:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(KeyboardInterrupt):
        make(output, "two")
    assert (output / "sub" / "model.bin").read_text() == "one"
    assert siblings(output) == ["b"]


def test_a_full_disk_is_said_and_nothing_is_left(tmp_path):
    with pytest.raises(InputError, match="disk is full"), writing(tmp_path / "b"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert siblings(tmp_path / "b") == []


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_something_else_in_the_way_is_refused(tmp_path, kind):
    output = tmp_path / "b"
    if kind == "file":
        output.write_text("mine")
    elif kind == "folder":
        output.mkdir()
        (output / "mine.txt").write_text("mine")
    else:
        output.symlink_to(tmp_path)
    with pytest.raises(InputError, match="choose another --output"), writing(output):
        pytest.fail("the block must not run")
    assert output.exists()


def flip(folder):
    data = bytearray((folder / "sub" / "model.bin").read_bytes())
    data[2] ^= 1
    (folder / "sub" / "model.bin").write_bytes(data)


def link(folder):
    """As a hub's cache keeps files: the content right, elsewhere."""
    blob = folder.parent / "blobs" / "0123"
    blob.parent.mkdir()
    (folder / "sub" / "model.bin").rename(blob)
    (folder / "sub" / "model.bin").symlink_to(Path("..", "..", "blobs", "0123"))


def link_folder(folder):
    (folder / "sub").rename(folder.parent / "elsewhere")
    (folder / "sub").symlink_to(folder.parent / "elsewhere")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (link, r"sub/model.bin is a link, .* copy the bundle with `cp -rL`"),
        (link_folder, r"sub is a link, .* copy the bundle with `cp -rL`"),
        (lambda f: os.link(f / "sub" / "model.bin", f.parent / "other"), r"sub/model.bin is a hard link"),
        (lambda f: (f / "loop").symlink_to("loop"), "loop is a link"),
        (lambda f: os.mkfifo(f / "pipe"), "pipe is no ordinary file"),
        (flip, "model.bin is not the file that was exported"),
        (lambda f: (f / "sub" / "model.bin").unlink(), "model.bin is missing"),
        (lambda f: (f / "sub" / "model.bin").write_text("weightsX"), "not the file"),
        (lambda f: (f / "added").touch(), "added is not listed"),
        (lambda f: (f / MANIFEST).unlink(), "not a bundle"),
        (lambda f: (f / MANIFEST).write_text("{"), "not readable as JSON"),
    ],
)
def test_damage_is_named(tmp_path, change, message):
    make(tmp_path / "b")
    change(tmp_path / "b")
    with pytest.raises(InputError, match=message):
        Bundle.open(tmp_path / "b")


def test_a_folder_is_a_bundle_by_its_manifest(tmp_path):
    assert not is_bundle(tmp_path)
    make(tmp_path / "b")
    assert is_bundle(tmp_path / "b")


def test_a_browser_runs_what_was_made_for_one():
    """A desktop's graphs share a data file, which no browser fetches."""
    made = {"onnx": True, "onnx-webgpu": True, "executorch": False}
    assert {kind: Bundle(Path(), sample_manifest(format=kind)).browser for kind in made} == made
    assert not Bundle(Path(), sample_manifest(browser=False)).browser


@pytest.mark.parametrize("change", [link, link_folder])
def test_a_link_is_refused_also_where_the_content_is_not_looked_at(tmp_path, change):
    made = make(tmp_path / "b").folder
    change(made)
    with pytest.raises(InputError, match="is a link"):
        Bundle.open(made, check=False)


def test_what_an_operating_system_leaves_is_no_part_of_a_bundle(tmp_path):
    made = make(tmp_path / "b").folder
    size = Bundle.open(made).bytes
    for name in (".DS_Store", "sub/.DS_Store", "sub/._model.bin", "Thumbs.db", "desktop.ini"):
        (made / name).write_bytes(b"left by a file manager")
    assert Bundle.open(made).bytes == size
