"""The Kotlin compiler of npm with its libraries, and JUnit of Debian, where they are installed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

KOTLIN, JAVA = shutil.which("kotlinc"), shutil.which("java")
_LIBRARIES = ("kotlin-stdlib", "kotlin-test", "kotlin-test-junit", "kotlinx-coroutines-core-jvm")
CLASSPATH = [
    *(Path("/usr/share/java") / f"{name}.jar" for name in ("junit4", "hamcrest-core")),
    *(Path(KOTLIN or "/usr/bin/kotlinc").resolve().parents[1] / "lib" / f"{name}.jar" for name in _LIBRARIES),
]


def needs_kotlin(test):
    """Mark a test that compiles Kotlin and runs it; it is skipped where that cannot be."""
    present = KOTLIN and JAVA and all(jar.exists() for jar in CLASSPATH)
    reason = "needs a Kotlin compiler with JUnit (npm's kotlin-compiler, Debian's junit4)"
    return pytest.mark.native(pytest.mark.skipif(not present, reason=reason)(test))
