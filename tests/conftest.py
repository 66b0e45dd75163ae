"""Checkpoints that tests share, marks that follow from fixtures, and the count of what was skipped."""

from __future__ import annotations

import os
import platform
from pathlib import Path

# Before torch is imported. Threads spin against whatever else runs here: on small models one is faster.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from needs import skipped_line
from recorded import RECORDED

from recipes.synthetic import TINY_FAMILIES, write_checkpoint

# Who takes the fixture carries the mark.
MARKS = {"arm64": "arm64", "checkpoint_dirs": "conformance", "chromium": "browser", "node": "browser"}


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their marks
def pytest_collection_modifyitems(items):
    for item in items:
        for fixture in MARKS.keys() & item.fixturenames:
            item.add_marker(MARKS[fixture])


def pytest_terminal_summary(terminalreporter):
    """Say what was skipped for want of what."""
    skipped = terminalreporter.stats.get("skipped", [])
    if line := skipped_line(report.longrepr[2] for report in skipped):
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def tiny_dirs(tmp_path_factory) -> dict[str, Path]:
    """One tiny random checkpoint per decoder family: ``qwen2``, ``internlm2``, ``phi3``."""
    root = tmp_path_factory.mktemp("checkpoints")
    return {
        name: write_checkpoint(root / name, sizes, seed=n, dtype="float32")
        for n, (name, sizes) in enumerate(TINY_FAMILIES.items())
    }


@pytest.fixture(scope="session")
def checkpoint_dirs(tiny_dirs) -> dict[str, Path]:
    """The recorded checkpoints by folder name (``phantom-0.5b``…) where they are, else ``tiny_dirs``."""
    return {p.name: p for p in RECORDED} or tiny_dirs


@pytest.fixture(scope="session")
def arm64():
    """The emulated 64-bit Arm, set up in the user's cache; without a network for that, tests are skipped."""
    from phantom_edge.errors import InputError
    from phantom_edge.runtime.arm.environment import environment

    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        pytest.skip("needs Linux on x86-64, to emulate 64-bit Arm")
    try:
        return environment()
    except InputError as error:
        if "needs the network" not in str(error):
            raise
        pytest.skip(f"needs an emulated 64-bit Arm: {error}")
