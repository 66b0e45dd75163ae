"""Runs a program and sees what it writes and whom it would reach: look-ups, connections, files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_suffix(".c")
DEVICES = ("/dev/", "/proc/self/")
# ONNX Runtime sends nothing where one of these says that it runs in continuous integration.
CI = (
    "CI", "TF_BUILD", "GITHUB_ACTIONS", "GITLAB_CI", "CIRCLECI", "TRAVIS", "JENKINS_URL",
    "CODEBUILD_BUILD_ID", "BUILDKITE", "TEAMCITY_VERSION", "APPVEYOR",
)  # fmt: skip
UNSET = (
    "ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK", "HF_HOME", "HF_HUB_OFFLINE", *CI,
)  # fmt: skip


@dataclass(frozen=True)
class Watched:
    """A program's exit status, what it printed, and what it did outside of itself."""

    status: int
    output: str
    reached: list[str]  # "lookup NAME", "connect ADDRESS", "send ADDRESS"
    written: list[Path]
    left: list[Path]  # files in its home, its cache and its temporary folder when it had ended


class Watcher:
    """Programs with a fresh home below ``folder``; nothing that they send gets out."""

    def __init__(self, folder: Path):
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if sys.platform != "linux" or compiler is None:
            pytest.skip("needs Linux with a C compiler: only there are a library's look-ups seen")
        self.folder, self.library = folder, folder / "outbound.so"
        command = [compiler, "-O1", "-shared", "-fPIC", "-o", str(self.library), str(SOURCE), "-ldl"]
        subprocess.run(command, check=True, capture_output=True, text=True)

    def run(self, name: str, arguments: Sequence[str], **variables: str) -> Watched:
        """Run Python with ``arguments``, in an empty folder."""
        root = self.folder / name
        home, cache, temporary, work = (root / each for each in ("home", "cache", "tmp", "work"))
        for folder in (home, cache, temporary, work):
            folder.mkdir(parents=True)
        log = root / "log"
        log.touch()
        environment = {key: value for key, value in os.environ.items() if key not in UNSET}
        environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(cache), "TMPDIR": str(temporary)}
        environment |= {"LD_PRELOAD": str(self.library), "OUTBOUND_LOG": str(log)}
        environment |= {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1", **variables}
        done = subprocess.run(
            [sys.executable, *arguments], cwd=work, env=environment, text=True, timeout=600,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        lines = log.read_text(errors="replace").splitlines()
        files = [line.removeprefix("write ") for line in lines if line.startswith("write ")]
        return Watched(
            done.returncode,
            done.stdout,
            [line for line in lines if not line.startswith("write ")],
            [Path(os.path.normpath(path)) for path in files if not path.startswith(DEVICES)],
            [path for folder in (home, cache, temporary) for path in folder.rglob("*") if path.is_file()],
        )
