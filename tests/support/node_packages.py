"""Node.js and the packages of a lock file: what a machine lacks of them skips the test."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import pytest
from filelock import FileLock

from phantom_edge.apps.build import INSTALL, INSTALLED
from phantom_edge.apps.node import Node, Unreachable, find_node
from phantom_edge.errors import InputError


def node_or_skip() -> Node:
    try:
        return find_node()
    except InputError as error:
        pytest.skip(f"needs Node.js: {error}")


def installed(folder: Path, node: Node) -> Path:
    """``folder`` with the packages of its lock file: ``npm ci`` once, whatever number of processes asks."""
    name = hashlib.sha256(bytes(folder.resolve())).hexdigest()[:12]
    with FileLock(Path(tempfile.gettempdir(), f"phantom-edge-npm-{name}.lock")):
        stamp, lock = folder / INSTALLED, folder / "package-lock.json"
        if not stamp.is_file() or stamp.stat().st_mtime < lock.stat().st_mtime:
            try:
                node.run_npm(folder, *INSTALL)
            except Unreachable as error:
                pytest.skip(f"needs the network, once: {error}")
    return folder
