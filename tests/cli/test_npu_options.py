"""Options for an NPU: what is wrong with them is one line, and nothing is written."""

from __future__ import annotations

import importlib.util
import platform

import pytest
from typer.testing import CliRunner

from phantom_edge.bundle.folder import Bundle
from phantom_edge.cli import app
from phantom_edge.export import qnn_provider

HERE = importlib.util.find_spec("onnxruntime_qnn") is not None and platform.machine() == "x86_64"


def refused(tmp_path, *options: str) -> str:
    """The one line of an export that is refused."""
    out = tmp_path / "bundle"
    result = CliRunner().invoke(app, ["export", *options, "--output", str(out)])
    assert result.exit_code == 2, result.output
    assert not list(tmp_path.iterdir())
    line = result.stderr.strip()
    assert "\n" not in line
    assert len(line) <= 300
    return line


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("-t", "android", "--npu", "all"), "nothing of android runs on an NPU; leave it out, or export for"),
        (("-t", "desktop", "--soc", "sm8650"), "--soc: nothing of desktop runs on an NPU"),
        (("-t", "ios", "--activations", "fp16"), "--activations: nothing of ios runs on an NPU"),
        (("-t", "snapdragon", "--npu", "decoder"), "--npu 'decoder': it is vision or all"),
        (("-t", "snapdragon", "--activations", "int8"), "--activations 'int8': it is uint16 or fp16"),
        (("-t", "snapdragon", "--soc", "sm8651"), "no such chip (did you mean 'sm8650'?)"),
        (("-t", "snapdragon", "--soc", "sm8450", "--no-verify"), "Hexagon v69, which lacks types"),
        (("-t", "snapdragon", "--samples", "7"), "greater than or equal to 8"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_wrong_use_is_one_line(tmp_path, options, said):
    assert said in refused(tmp_path, *options)


def test_too_few_pictures(tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    result = CliRunner().invoke(
        app,
        [
            "export",
            "-t",
            "snapdragon",
            "--calibrate",
            str(pictures),
            "--no-verify",
            "-o",
            str(tmp_path / "out"),
        ],
    )
    assert result.exit_code == 2
    assert "0 pictures are too few; give 8" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not HERE, reason="needs onnxruntime-qnn and its emulator (Linux x86-64)")
def test_no_package_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(qnn_provider, "find_spec", lambda name: None)
    line = refused(tmp_path, "-t", "snapdragon")
    assert 'needs the package onnxruntime-qnn: pip install "phantom-edge[snapdragon]"' in line
    assert "onnxruntime-qnn" in refused(tmp_path, "-t", "snapdragon", "--no-verify", "--soc", "sm8650")


def test_no_emulator_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    assert "emulator runs on Linux x86-64, not on Linux aarch64" in refused(tmp_path, "-t", "snapdragon")


@pytest.mark.slow
def test_an_export_that_runs_nothing_needs_no_package(tmp_path, tiny_dirs, monkeypatch):
    monkeypatch.setattr(qnn_provider, "find_spec", lambda name: None)
    out = tmp_path / "bundle"
    options = ["-t", "snapdragon", "-m", str(tiny_dirs["qwen2"]), "--no-verify", "--activations", "fp16"]
    result = CliRunner().invoke(app, ["export", *options, "-o", str(out)])
    assert result.exit_code == 0, result.stderr
    assert Bundle.open(out).manifest.npu.activations == "fp16"
    verified = CliRunner().invoke(app, ["verify", str(out), "-m", str(tiny_dirs["qwen2"])])
    assert verified.exit_code in (1, 2)
    assert "onnxruntime-qnn" in verified.output
    timed = CliRunner().invoke(app, ["bench", str(out)])
    assert timed.exit_code == 2
    assert "made for an NPU, which is emulated here" in timed.stderr
