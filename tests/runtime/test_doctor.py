"""``doctor`` on machines that lack things: what is old, broken or missing is said; only libraries fail."""

from __future__ import annotations

import os
import sys
import time

import pytest

from phantom_edge.runtime import doctor as of_doctor
from phantom_edge.runtime import machine_programs
from phantom_edge.runtime.doctor import IMPORTS, PURPOSES, doctor

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX system")


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A PATH with the programs that a test makes alone."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/bin")

    def make(name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return make


def rows() -> dict[str, tuple[str, str]]:
    return {check.name: (check.value, check.detail) for check in machine_programs.checks()}


def test_an_old_a_broken_and_a_silent_program(programs, monkeypatch):
    monkeypatch.setattr(machine_programs, "PATIENCE", 1.0)
    programs("node", "echo v18.1.0")
    programs("adb", "echo 'no such library' >&2; exit 1")
    programs("chromium", "exec sleep 60")
    before = time.monotonic()
    said = rows()
    assert time.monotonic() - before < 10
    assert said["Node.js"][0] == "18.1.0"
    assert said["Node.js"][1].startswith("too old, 20.19 is needed")
    assert said["adb"][0] == "does not work"
    assert "no such library" in said["adb"][1]
    assert said["Chromium or Chrome"][0] == "does not answer"


def test_a_good_and_a_missing_program(programs):
    programs("node", "echo v22.19.0")
    programs("adb", "echo 'Android Debug Bridge version 1.0.41'; echo 'Version 35.0.2-12147458'")
    said = rows()
    assert said["Node.js"] == ("22.19.0", "builds the web app: `app web --build`, `app demo`")
    assert said["adb"][0] == "1.0.41"
    assert "get it" in said["QEMU for 64-bit Arm"][1] or sys.platform != "linux"


def test_every_library_has_a_purpose():
    assert PURPOSES.keys() == IMPORTS.keys()


def test_a_missing_library_fails_and_a_missing_program_does_not(programs, monkeypatch):
    monkeypatch.setattr(of_doctor, "IMPORTS", {**IMPORTS, "no-such-library": "import nothing"})
    monkeypatch.setattr(of_doctor, "PURPOSES", {**PURPOSES, "no-such-library": "tests"})
    assert [check.name for check in doctor().failures] == ["no-such-library"]


def test_a_library_that_does_not_load_is_seen_with_load_alone(monkeypatch):
    monkeypatch.setattr(of_doctor, "IMPORTS", {"pillow": "raise ImportError('torn')"})
    assert doctor().ok
    (failed,) = doctor(load=True).failures
    assert (failed.name, failed.detail) == ("pillow", "ImportError: torn")
