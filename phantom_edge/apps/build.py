"""Building the app for the browser, once per version of its sources; the model is not built in."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from phantom_edge.apps.node import Node, find_node
from phantom_edge.apps.sources import app_sources, fingerprint, source_files
from phantom_edge.errors import InputError
from phantom_edge.files import cache_folder
from phantom_edge.progress import Step, no_step

INSTALL: Final = ("ci", "--ignore-scripts", "--no-audit", "--no-fund")
INSTALLED: Final = Path("node_modules", ".package-lock.json")  # written when an installation is complete


def built_app(step: Step = no_step) -> Path:
    """The folder of the built app without a model, from the cache or built now with Node.js.

    Raises :class:`InputError` for no Node.js or cache folder, :class:`CheckError` where the build failed.
    """
    sources = app_sources("web")
    folder = cache_folder() / "web-app" / fingerprint(sources)
    if (folder / "index.html").is_file():
        return folder
    node = find_node()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".building-", dir=folder.parent))
    except OSError as error:
        raise InputError(f"{folder.parent}: not writable ({error.strerror}); set XDG_CACHE_HOME") from None
    try:
        for path in source_files(sources):
            (work / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(sources / path, work / path)
        _take_modules(sources, work)
        build_project(work, node, step)
        _publish(work / "dist", folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder


def build_project(project: Path, node: Node | None = None, step: Step = no_step) -> Path:
    """Install what a project needs, unless that is done, build it, and return the folder of static files."""
    node = node or find_node()
    if not (project / INSTALLED).is_file():
        step("installing the app's libraries (npm ci)")
        node.run_npm(project, *INSTALL)
    step("building the app (npm run build)")
    node.run_npm(project, "run", "build")
    return project / "dist"


def _take_modules(sources: Path, work: Path) -> None:
    """In a checkout whose libraries are installed by its present lock file, use those."""
    installed = sources / INSTALLED
    lock = sources / "package-lock.json"
    if installed.is_file() and installed.stat().st_mtime >= lock.stat().st_mtime:
        os.symlink(sources / "node_modules", work / "node_modules")


def _publish(dist: Path, folder: Path) -> None:
    try:
        dist.rename(folder)
    except OSError:  # another process was faster; equal sources give equal apps
        if not (folder / "index.html").is_file():
            raise
