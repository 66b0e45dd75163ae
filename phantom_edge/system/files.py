"""The cache folder, and hashing."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

from phantom_edge.system.reading import opened


def cache_folder() -> Path:
    """The user's cache folder for this package, which may not exist yet.

    It keeps built apps, the embedded model's bundle, calibrations, and runtimes for the benchmark.
    ``XDG_CACHE_HOME`` is honoured everywhere.
    """
    base = os.environ.get("XDG_CACHE_HOME")
    if not base and sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
    default = Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    return Path(base or default).absolute() / "phantom-edge"


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal. Raises :class:`InputError` where it cannot be read."""
    with opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
