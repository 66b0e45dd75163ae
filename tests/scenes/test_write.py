"""Scenes as files, from Python and from the command line."""

import json
import subprocess
import sys

import pytest
from PIL import Image

from phantom_edge.errors import InputError
from phantom_edge.scenes import make_scene
from phantom_edge.scenes.write import write_scenes


def _lines(folder):
    return [json.loads(line) for line in (folder / "triples.jsonl").read_text(encoding="utf-8").splitlines()]


def test_files_hold_the_scenes(tmp_path):
    progress = []
    folder = write_scenes(
        tmp_path / "a" / "scenes", "test", 4, 9, 64, lambda done, count: progress.append((done, count))
    )
    assert progress == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert sorted(p.name for p in folder.iterdir()) == [*(f"{n:06d}.png" for n in range(4)), "triples.jsonl"]
    lines = _lines(folder)
    for index in range(4):
        scene = make_scene("test", index, 9)
        assert Image.open(folder / f"{index:06d}.png").tobytes() == scene.render(64).tobytes()
        mine = [line for line in lines if line["image"] == f"{index:06d}.png"]
        assert [line["question"] for line in mine] == [triple.question for triple in scene.triples()]
    assert set(lines[0]) == {"image", "task", "question", "answer", "wrong"}


def test_a_folder_in_use_and_bad_numbers_are_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(InputError, match="new or empty folder"):
        write_scenes(tmp_path, "test", 1)
    with pytest.raises(InputError, match="give a count"):
        write_scenes(tmp_path / "new", "test", 0)
    with pytest.raises(InputError, match="no split"):
        write_scenes(tmp_path / "new", "exam", 1)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_nothing_half_written_stays(tmp_path):
    def stop(done, _):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_scenes(tmp_path / "scenes", "train", 5, size=32, progress=stop)
    assert not list(tmp_path.iterdir())


def test_the_command_line(tmp_path):
    command = [
        sys.executable,
        "-m",
        "phantom_edge",
        "scenes",
        str(tmp_path / "out"),
        "--count",
        "2",
        "--size",
        "48",
    ]
    assert "2 pictures" in subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert len({line["image"] for line in _lines(tmp_path / "out")}) == 2
    again = subprocess.run(command, capture_output=True, text=True)
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
