"""Wheels for the emulated Python, by pip with all that it is set to: another index, a proxy, certificates."""

from __future__ import annotations

import importlib.util
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from phantom_edge.errors import InputError, one_line
from phantom_edge.progress import Step
from phantom_edge.runtime.arm.packages import PLATFORM, PYTHON, Wheel
from phantom_edge.system import children
from phantom_edge.system.files import file_sha256
from phantom_edge.system.reading import reading


def install(wheels: Sequence[Wheel], downloads: Path, target: Path, step: Step) -> None:
    """Unpack ``wheels`` into ``target``; pip downloads what is not in ``downloads``.

    Raises :class:`InputError` without pip, and where it fails, also for another file than the pinned one.
    """
    for wheel in wheels:
        path = _present(wheel, downloads) or _download(wheel, downloads, step)
        with (
            reading(path, "remove it, and the next run downloads it again"),
            zipfile.ZipFile(path) as archive,
        ):
            archive.extractall(target)


def _present(wheel: Wheel, downloads: Path) -> Path | None:
    paths = downloads.glob(f"{wheel.name}-{wheel.version}-*.whl")
    return next((path for path in paths if file_sha256(path) == wheel.sha256), None)


def _download(wheel: Wheel, downloads: Path, step: Step) -> Path:
    if importlib.util.find_spec("pip") is None:
        raise InputError("--machine downloads wheels with pip, which is missing here: `python -m ensurepip`")
    step(f"downloading {wheel.name} {wheel.version} for 64-bit Arm")
    requirements = downloads / f"{wheel.name}.txt"
    requirements.write_text(f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
    platform = ["--platform", PLATFORM, "--python-version", PYTHON, "--implementation", "cp"]
    choice = ["--only-binary=:all:", "--no-deps", "--require-hashes", *platform]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    result = children.run([*command, *choice, "--dest", str(downloads), "-r", str(requirements)])
    path = _present(wheel, downloads)
    if result.returncode or path is None:
        lines = [line for line in result.stderr.splitlines() if line.startswith("ERROR:")] or ["it failed"]
        raise InputError(
            f"{wheel.name} {wheel.version} for 64-bit Arm: pip cannot download it "
            f"({one_line(lines[-1].removeprefix('ERROR: '), 120)}); the first run with --machine needs the "
            "network"
        )
    return path
