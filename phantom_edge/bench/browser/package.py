"""onnxruntime-web: a folder that the user names, or a copy fetched once with npm and kept."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from phantom_edge.errors import InputError
from phantom_edge.files import cache_folder

NAME = "onnxruntime-web"
VERSION = "1.30.0"
FILES = ("ort.wasm.min.mjs", "ort.webgpu.min.mjs")
TIMEOUT = 600  # seconds for a download of about 140 MB, unpacked
MANUAL = f"name a folder with --onnxruntime-web (after `npm install {NAME}`: node_modules/{NAME})"


@dataclass(frozen=True)
class WebRuntime:
    """The files that a page loads, and their version."""

    dist: Path
    version: str


def find(folder: Path | None, step: Callable[[str], None]) -> WebRuntime:
    """The package in ``folder``, or the kept copy, which is fetched when it is not there yet.

    Raises :class:`InputError` when a folder is no such package, or when npm is missing or fails.
    """
    if folder is not None:
        return _opened(folder)
    kept = cache_folder() / f"{NAME}-{VERSION}"
    if not kept.is_dir():
        step(f"fetching {NAME} {VERSION} with npm, once")
        _fetch(kept)
    return _opened(kept)


def _opened(folder: Path) -> WebRuntime:
    for place in (folder / "node_modules" / NAME, folder):
        description = place / "package.json"
        if description.is_file():
            break
    else:
        raise InputError(f"{folder}: holds no package.json of {NAME}; {MANUAL}")
    try:
        told = json.loads(description.read_text(encoding="utf-8"))
        name, version = told["name"], str(told["version"])
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{description}: not readable; {MANUAL}") from None
    if name != NAME:
        raise InputError(f"{folder}: holds the package {name!r}; {MANUAL}")
    missing = [file for file in FILES if not (place / "dist" / file).is_file()]
    if missing:
        raise InputError(f"{folder}: {NAME} {version} has no dist/{missing[0]}; use version {VERSION}")
    return WebRuntime(place / "dist", version)


def _fetch(kept: Path) -> None:
    """Install into a temporary sibling, so that an interrupted download leaves nothing that looks
    complete.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise InputError(f"{NAME} is fetched with npm, which is not installed; install Node.js or {MANUAL}")
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{kept.name}.partial-", dir=kept.parent))
    except OSError as error:
        raise InputError(f"{kept.parent}: cannot be written ({error.strerror}); {MANUAL}") from None
    command = [
        npm,
        "install",
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        "--no-save",
        f"{NAME}@{VERSION}",
    ]
    try:
        done = subprocess.run(command, cwd=partial, capture_output=True, text=True, timeout=TIMEOUT)
        if done.returncode:
            last = next(
                (line for line in reversed(done.stderr.splitlines()) if line.strip()), "no reason given"
            )
            raise InputError(f"npm could not fetch {NAME} {VERSION} ({last.strip()}); {MANUAL}")
        partial.rename(kept)
    except subprocess.TimeoutExpired:
        raise InputError(f"npm took more than {TIMEOUT} s to fetch {NAME}; {MANUAL}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
