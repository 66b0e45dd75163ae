"""Where the sources of the demo apps lie, and which of their files belong to an app."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

from phantom_edge.errors import InputError

PACKAGED: Final = Path(__file__).resolve().parent / "sources"  # in a wheel
CHECKOUT: Final = Path(__file__).resolve().parents[2] / "apps"  # beside the package, in the repository
NOT_SOURCES: Final = {"node_modules", "dist", "build", "__pycache__"}
BUNDLE: Final = "public/bundle"
"""Where an app for the browser has its bundle; the sources come without one."""


def app_sources(name: str) -> Path:
    """The folder of one app's sources. Raises :class:`InputError` where this installation has none."""
    for root in (PACKAGED, CHECKOUT):
        if (root / name).is_dir():
            return root / name
    raise InputError(f"this installation lacks the sources of the {name} app; install phantom-edge again")


def source_files(folder: Path) -> list[str]:
    """Sorted paths, with slashes, of an app's files: nothing hidden, installed, built, and no links."""
    files = []
    for root, folders, names in os.walk(folder):
        here = Path(root)
        folders[:] = [name for name in folders if _belongs(folder, here / name)]
        files += [here / name for name in names if _belongs(folder, here / name)]
    return sorted(path.relative_to(folder).as_posix() for path in files)


def _belongs(folder: Path, path: Path) -> bool:
    hidden = path.name.startswith(".") or path.name in NOT_SOURCES
    return not hidden and not path.is_symlink() and path.relative_to(folder).as_posix() != BUNDLE


def fingerprint(folder: Path) -> str:
    """A digest of all source files, names and contents: equal for equal apps."""
    digest = hashlib.sha256()
    for name in source_files(folder):
        digest.update(f"{name}\0".encode())
        digest.update(hashlib.sha256((folder / name).read_bytes()).digest())
    return digest.hexdigest()[:16]
