"""The fallback where the mirrors have newer files than the pinned ones: what Debian's signed index names.

`apt-get` runs with a configuration of its own, below one folder: it needs no root, reads nothing of this
system's but Debian's keys, and changes nothing of it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from phantom_edge.errors import InputError, one_line
from phantom_edge.progress import Step
from phantom_edge.runtime.arm.packages import RELEASE, DebianPackage
from phantom_edge.system import children

KEYS: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
CONFIGURATION: Final = """
Dir "{folder}";
Dir::State "state";
Dir::State::status "{folder}/status";
Dir::Cache "cache";
Dir::Etc "{folder}";
Dir::Etc::SourceList "{folder}/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Parts "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Dir::Etc::Trusted "/dev/null";
Dir::Etc::TrustedParts "/dev/null";
APT::Architecture "amd64";
APT::Architectures {{ "amd64"; "arm64"; }};
APT::Sandbox::User "";
Acquire::Languages "none";
"""


def newest(packages: Sequence[DebianPackage], mirror: str, folder: Path, step: Step) -> dict[str, Path]:
    """Files of the newest versions of ``packages`` in the pinned release, by name, in ``folder``.

    Raises :class:`InputError` without `apt-get` or Debian's keys, and where it fails.
    """
    names = ", ".join(package.name for package in packages)
    if shutil.which("apt-get") is None or not KEYS.is_file():
        raise InputError(
            f"{names}: the pinned version is no longer on Debian's mirrors, and a newer one is checked by "
            "apt-get with debian-archive-keyring; install both, or update phantom-edge"
        )
    step("asking Debian for newer versions than the pinned ones")
    shutil.rmtree(folder, ignore_errors=True)
    for below in ("state/lists/partial", "cache/archives/partial", "files"):
        (folder / below).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text(f"deb [signed-by={KEYS}] {mirror} {RELEASE} main\n")
    (folder / "apt.conf").write_text(CONFIGURATION.format(folder=folder))
    _apt(folder, "update")
    _apt(folder, "download", *(f"{package.name}:{package.architecture}" for package in packages))
    return {package.name: _downloaded(folder / "files", package) for package in packages}


def version_of(path: Path) -> str:
    """The version in a package file's name.

    >>> version_of(Path("zlib1g_1%3a1.3_arm64.deb"))
    '1:1.3'
    """
    return path.name.split("_")[1].replace("%3a", ":")


def _downloaded(folder: Path, package: DebianPackage) -> Path:
    return next(folder.glob(f"{package.name}_*_{package.architecture}.deb"))


def _apt(folder: Path, *arguments: str) -> None:
    environment = {**os.environ, "APT_CONFIG": str(folder / "apt.conf"), "LC_ALL": "C.UTF-8"}
    command = ["apt-get", "-qq", "-o", "Acquire::Retries=1", *arguments]
    result = children.run(command, env=environment, cwd=folder / "files")
    if result.returncode:
        lines = [line for line in result.stderr.splitlines() if line.startswith("E:")] or ["it failed"]
        raise InputError(f"apt-get {arguments[0]}: {one_line(lines[0], 150)}; try again later")
