"""The emulated machine's files, made once in the user's cache: QEMU, a C library, Python and two wheels.

Each part appears whole or not at all; what has been downloaded is kept until then, so that the next try goes
on. Needs no root, and changes nothing outside the cache.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from phantom_edge.errors import InputError, first_line
from phantom_edge.progress import Step, no_step
from phantom_edge.runtime.arm import apt, wheels
from phantom_edge.runtime.arm.deb import unpack
from phantom_edge.runtime.arm.download import fetch
from phantom_edge.runtime.arm.packages import MIRRORS, PACKAGES, PYTHON, QEMU, WHEELS, DebianPackage
from phantom_edge.system import children
from phantom_edge.system.caching import cached
from phantom_edge.system.reading import is_file, read_json
from phantom_edge.system.writing import explaining, replacing_folder

FOLDER: Final = "arm64"
RECORD: Final = "packages.json"
DOWNLOADS: Final = "downloads"
PROGRAMS: Final = ("qemu-aarch64-static", "qemu-aarch64")
OLDEST: Final = (10, 0)
"""Of QEMU. 7.2 multiplies wrongly with SME; only newer ones show the emulated core in ``/proc/cpuinfo``."""
SELF_TEST: Final = "import numpy, onnxruntime; print(numpy.__version__, onnxruntime.__version__)"


@dataclass(frozen=True)
class Environment:
    """``root`` is what emulated programs see as ``/``, with the wheels in ``site``.

    ``qemu`` is the emulator with its ``version``; ``newer`` are packages that are not the pinned ones.
    """

    qemu: Path
    version: str
    root: Path
    newer: tuple[str, ...] = ()

    @property
    def site(self) -> Path:
        return self.root / "site"

    def command(self, cpu: str, *arguments: str) -> list[str]:
        """How the emulated Python is started on ``cpu``."""
        python = self.root / "usr" / "bin" / f"python{PYTHON}"
        return [str(self.qemu), "-L", str(self.root), "-cpu", cpu, str(python), "-s", *arguments]

    def variables(self, *folders: Path) -> dict[str, str]:
        """Its environment variables, with modules also from ``folders``."""
        path = ":".join(map(str, (self.site, *folders)))
        return {
            "PYTHONPATH": path,
            "PYTHONDONTWRITEBYTECODE": "1",
            "ORT_DISABLE_TELEMETRY": "1",
            "LANG": "C.UTF-8",
        }


def environment(step: Step = no_step) -> Environment:
    """The environment, made now if it is not there yet: about 120 MB are downloaded once.

    Raises :class:`InputError` where it cannot be made: without the network, or without room.
    """
    qemu, version, newer = _qemu(step)

    def make(folder: Path) -> None:
        with installed(PACKAGES, folder, step) as partial:
            (partial / "lib").symlink_to("usr/lib")  # where programs look for the dynamic linker
            wheels.install(WHEELS, folder.parent / DOWNLOADS, partial / "site", step)
            step("trying the emulated Python")
            _try(Environment(qemu, version, partial))

    root = cached(Path(FOLDER, _fingerprint(PACKAGES, WHEELS)), _is_whole, make, step)
    return Environment(qemu, version, root, (*newer, *newer_packages(root, PACKAGES)))


def check_host(system: str, machine: str) -> None:
    """Raise :class:`InputError` where nothing has to be emulated, or nothing can be."""
    if machine.lower() in ("aarch64", "arm64"):
        raise InputError("this machine is a 64-bit Arm itself; plain `verify` runs on it")
    if (system, machine.lower()) not in (("Linux", "x86_64"), ("Linux", "amd64")):
        raise InputError(
            f"--machine emulates on Linux x86-64 alone, and this is {system} {machine}; run plain `verify` "
            "on the device itself"
        )


def _qemu(step: Step) -> tuple[Path, str, tuple[str, ...]]:
    """The system's QEMU if it is new enough, else Debian's: the program, its version, and what is newer."""
    for path in filter(None, map(shutil.which, PROGRAMS)):
        if (version := _version(Path(path))) and _numbers(version) >= OLDEST:
            return Path(path), version, ()

    def make(folder: Path) -> None:
        with installed([QEMU], folder, step):
            pass

    folder = cached(Path(FOLDER, f"qemu-{_fingerprint([QEMU])}"), _is_whole, make, step)
    program = folder / QEMU.keep[0]
    if not (version := _version(program)):
        raise InputError(f"{program}: does not start; remove {folder}, and the next run makes it again")
    return program, version, newer_packages(folder, [QEMU])


def _version(program: Path) -> str | None:
    """What QEMU calls itself; None where it does not start."""
    try:
        said = children.run([str(program), "--version"], timeout=30).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"version (\d+\.\d+[\d.]*)", said)
    return match[1] if match else None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part)


@contextmanager
def installed(packages: Sequence[DebianPackage], folder: Path, step: Step) -> Iterator[Path]:
    """What becomes ``folder`` when the block ends, with the packages in it; downloads are kept until then."""
    downloads = folder.parent / DOWNLOADS
    with replacing_folder(folder) as partial:
        _unpack_all(packages, downloads, partial, step)
        yield partial
    shutil.rmtree(downloads, ignore_errors=True)


def _unpack_all(packages: Sequence[DebianPackage], downloads: Path, target: Path, step: Step) -> None:
    """Download and unpack packages into ``target``, with a record of their versions."""
    with explaining(downloads, always=True):
        downloads.mkdir(parents=True, exist_ok=True)
    files = {package.name: fetch(package, MIRRORS, downloads, step) for package in packages}
    missing = [package for package in packages if files[package.name] is None]
    versions = {package.name: package.version for package in packages}
    if missing:
        newest = apt.newest(missing, MIRRORS[0], downloads / "apt", step)
        files |= newest
        versions |= {name: apt.version_of(path) for name, path in newest.items()}
    for package in packages:
        path = files[package.name]
        assert path is not None, "what the mirrors lack comes from apt"
        step(f"unpacking {package.name}")
        unpack(path, target, package.keep)
    (target / RECORD).write_text(json.dumps(versions, indent=1))


def _is_whole(folder: Path) -> bool:
    """Whether a part is there: it takes its place when it is complete."""
    return is_file(folder / RECORD)


def newer_packages(folder: Path, packages: Sequence[DebianPackage]) -> tuple[str, ...]:
    """Packages of a part that are not in the pinned version, each with its own."""
    versions = read_json(folder / RECORD)
    return tuple(f"{p.name} {versions.get(p.name)}" for p in packages if versions.get(p.name) != p.version)


def _fingerprint(*tables: Sequence[object]) -> str:
    return hashlib.sha256(repr(tables).encode()).hexdigest()[:16]


def _try(made: Environment) -> None:
    """Raise :class:`InputError` unless the wheels can be imported; their bytecode is there from then on."""
    variables = made.variables()
    del variables["PYTHONDONTWRITEBYTECODE"]
    result = children.run(made.command("cortex-a76", "-c", SELF_TEST), env=variables)
    expected = " ".join(wheel.version for wheel in WHEELS)
    if result.returncode or result.stdout.strip() != expected:
        said = (result.stderr.strip().splitlines() or [f"it ended with {result.returncode}"])[-1]
        raise InputError(
            f"the emulated Python does not run ({first_line(RuntimeError(said))}); please report it"
        )
