"""Disks that are full or read-only, for every command: one line with the true cause, or no harm at all."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager

import pytest
from disks import fill, make_read_only, mounted

from recipes.synthetic import TINY, write_checkpoint

pytestmark = pytest.mark.slow

PROGRAM = (sys.executable, "-m", "phantom_edge")
WRITING = {
    "export": ("export", "-m", "{model}", "-t", "web", "-o", "{disk}/b"),
    "quantize": ("quantize", "-m", "{model}", "-o", "{disk}/q.safetensors"),
    "tune": (
        "tune",
        "-m",
        "{model}",
        "--data",
        "{data}/triples.jsonl",
        "--images",
        "{data}",
        "-o",
        "{disk}/t",
    ),
    "scenes": ("scenes", "{disk}/s"),
    "records": ("eval", "-m", "{model}", "--records", "{disk}/r.jsonl"),
    "page": ("inspect", "-m", "{model}", "--html", "{disk}/p.html"),
    "app web": ("app", "web", "-o", "{disk}/w"),
    "app ios": ("app", "ios", "-o", "{disk}/i"),
    "app android": ("app", "android", "-o", "{disk}/a"),
    "bench": ("bench", "{model}", "--html", "{disk}/p.html"),
    "estimate": ("estimate", "--list", "--html", "{disk}/p.html"),
}
KEPT = ("quantize", "-m", "{model}", "--samples", "8", "--quant", "int4", "-o", "{out}/q.safetensors")


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("disks")
    write_checkpoint(folder / "model", TINY)
    (folder / "out").mkdir()
    made = subprocess.run([*PROGRAM, "scenes", folder / "data", "--count", "2", "--size", "64"])
    assert made.returncode == 0
    return {name: str(folder / name) for name in ("model", "data", "out")}


def run(words, places, **environment):
    words = [word.format(**places) for word in words]
    return subprocess.run(
        [*PROGRAM, *words],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )


@contextmanager
def spoiled(place, state):
    """A small disk that is full or read-only."""
    with mounted(place) as disk:
        {"full": fill, "read-only": make_read_only}[state](disk)
        yield disk


@pytest.mark.parametrize("state", ["full", "read-only"])
def test_every_output_on_such_a_disk_is_refused_before_any_work(state, places, tmp_path):
    with spoiled(tmp_path / "disk", state) as disk:
        before = sorted(disk.iterdir())
        for name, words in WRITING.items():
            done = run(words, {**places, "disk": disk})
            assert (done.returncode, done.stdout) == (2, ""), (name, done.stderr)
            assert done.stderr.count("\n") == 1, name
            assert f"{disk}/" in done.stderr, name
            assert ("the disk is full" if state == "full" else "read-only") in done.stderr, name
        assert sorted(disk.iterdir()) == before


@pytest.mark.parametrize("state", ["full", "read-only"])
def test_cache_and_temporary_files_on_such_a_disk_cost_no_result(state, places, tmp_path):
    with spoiled(tmp_path / "disk", state) as disk:
        done = run(KEPT, places, TMPDIR=str(disk), XDG_CACHE_HOME=str(disk))
        assert done.returncode == 0, done.stderr
        assert "warning: not kept for the next run" in done.stderr
        assert os.path.getsize(f"{places['out']}/q.safetensors") > 0


def test_a_disk_that_gets_full_meanwhile(places, tmp_path):
    """Room for the check before the work, and none for the result."""
    with mounted(tmp_path / "disk", "5m") as disk:
        done = run(("scenes", "{disk}/s", "--count", "400", "--size", "448"), {**places, "disk": disk})
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == f"error: {disk}/s: the disk is full; free some space or choose another place\n"
        assert list(disk.iterdir()) == []
