"""The Swift compiler, where one is installed that also runs: it may be missing, or not see the sources."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SWIFT, SWIFTC = shutil.which("swift"), shutil.which("swiftc")


def complaint() -> str:
    """Why no Swift compiler can be used on the repository's files; empty where one can."""
    if SWIFT is None or SWIFTC is None:
        return "no Swift compiler (swift.org, or `swiftlang` in Debian 13)"
    here = Path(__file__).parent
    told = subprocess.run([SWIFTC, "--version"], capture_output=True, text=True, cwd=here, check=False)
    return (
        "" if told.returncode == 0 else f"the Swift compiler does not run here: {told.stderr.strip()[-200:]}"
    )


REASON = complaint()
needs_swift = pytest.mark.skipif(bool(REASON), reason=REASON)
