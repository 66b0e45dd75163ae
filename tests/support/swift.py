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
        return "needs a Swift compiler (swift.org, or `swiftlang` in Debian 13)"
    here = Path(__file__).parent
    version = subprocess.run([SWIFTC, "--version"], capture_output=True, text=True, cwd=here, check=False)
    works = version.returncode == 0
    return "" if works else f"needs a Swift compiler that runs here: {version.stderr.strip()[-200:]}"


REASON = complaint()


def needs_swift(test):
    """Mark a test that runs the Swift compiler; it is skipped where that cannot be."""
    return pytest.mark.native(pytest.mark.skipif(bool(REASON), reason=REASON)(test))
