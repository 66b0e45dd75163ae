"""The toolkit's folder for what can be made again: built apps, the embedded model's bundle."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """The user's cache folder for this package, which may not exist yet. ``XDG_CACHE_HOME`` is honoured everywhere."""
    base = os.environ.get("XDG_CACHE_HOME")
    if not base:
        local = os.environ.get("LOCALAPPDATA") if sys.platform == "win32" else None
        base = local or Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    return Path(base).absolute() / "phantom-edge"
