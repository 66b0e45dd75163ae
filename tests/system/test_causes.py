"""Why the system refused, in one line with the true cause."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest
from disks import fill, mounted

from phantom_edge.system import causes
from phantom_edge.system.causes import number_of, out_of_memory, unwritable


@pytest.fixture
def small_disk(tmp_path):
    with mounted(tmp_path / "disk") as folder:
        yield folder


def test_the_full_disk_is_named(small_disk, tmp_path, monkeypatch):
    """Output, temporary files and cache are three places; the error itself names none of them."""
    error = fill(small_disk)
    assert number_of(error) == errno.ENOSPC
    elsewhere = tmp_path / "out"
    assert "out: the disk is full" in str(unwritable(error, small_disk / "out"))
    monkeypatch.setattr(causes.tempfile, "tempdir", str(small_disk))
    assert f"{small_disk}: the disk of temporary files is full" in str(unwritable(error, elsewhere))
    monkeypatch.setattr(causes.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(small_disk))
    assert "the disk of the cache is full" in str(unwritable(error, elsewhere))


def test_libraries_errors_have_their_number(small_disk):
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    fill(small_disk)
    (small_disk / "other").touch()
    with pytest.raises(SafetensorError) as native:
        save_file({"a": torch.zeros(1 << 20)}, small_disk / "a.safetensors")
    assert number_of(native.value) == errno.ENOSPC
    with pytest.raises(OSError, match="written") as short:
        np.zeros(1 << 20).tofile(small_disk / "other")
    assert number_of(short.value) == errno.ENOSPC


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EROFS, "read-only disk"),
        (errno.EACCES, "no permission"),
        (errno.ENAMETOOLONG, "too long"),
        (errno.EFBIG, "ulimit -f"),
        (errno.EMFILE, "ulimit -n"),
    ],
)
def test_other_causes(number, words, tmp_path):
    line = str(unwritable(OSError(number, os.strerror(number)), tmp_path / "out"))
    assert words in line
    assert unwritable(OSError(number, os.strerror(number), str(tmp_path / ("x" * 5000)))) is not None


def test_what_is_about_something_else_is_left_alone(tmp_path):
    assert unwritable(ValueError("no such tensor"), tmp_path / "out") is None
    assert unwritable(OSError(errno.ECONNREFUSED, "Connection refused")) is None


def test_memory():
    import torch

    with pytest.raises(RuntimeError) as error:
        torch.empty(1 << 50)
    assert out_of_memory(error.value)
    assert out_of_memory(MemoryError())
    assert out_of_memory(RuntimeError("std::bad_alloc"))
    assert out_of_memory(OSError(errno.ENOMEM, "Cannot allocate memory"))
    assert not out_of_memory(RuntimeError("size mismatch"))


@pytest.mark.parametrize(
    ("first", "code", "words"),
    [
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 1, "out of memory"),
        (OSError(errno.ENOSPC, "No space left on device"), 2, "disk"),
        (ValueError("bad magic"), 2, "model.onnx: damaged"),
        (FileNotFoundError(errno.ENOENT, "No such file", "x"), 2, "model.onnx: damaged"),
    ],
)
def test_the_line_of_a_command_names_the_true_cause(first, code, words, capsys):
    """Readers call every failure a damaged file."""
    import typer

    from phantom_edge.cli.console import command
    from phantom_edge.errors import InputError

    def work() -> None:
        try:
            raise first
        except Exception:
            raise InputError("model.onnx: damaged") from None

    with pytest.raises(typer.Exit) as ended:
        command(work)()
    assert ended.value.exit_code == code
    assert words in capsys.readouterr().err
