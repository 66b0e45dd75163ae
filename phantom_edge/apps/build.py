"""Building the app for the browser, once per version of its sources; the model is not built in."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from phantom_edge.apps.node import Node, find_node
from phantom_edge.apps.sources import app_sources, fingerprint, source_files
from phantom_edge.progress import Step, no_step
from phantom_edge.system.caching import cached
from phantom_edge.system.writing import explaining, partial_beside, put

INSTALL: Final = ("ci", "--ignore-scripts", "--no-audit", "--no-fund")
INSTALLED: Final = Path("node_modules", ".package-lock.json")  # written when an installation is complete


def built_app(step: Step = no_step) -> Path:
    """The folder of the built app without a model, from the cache or built now with Node.js.

    Raises :class:`InputError` for no Node.js, :class:`CheckError` where the build failed.
    """
    sources = app_sources("web")

    def make(folder: Path) -> None:
        node = find_node()
        with explaining(folder), partial_beside(folder) as work:
            for path in source_files(sources):
                (work / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(sources / path, work / path)
            _take_modules(sources, work)
            put(build_project(work, node, step), folder)

    return cached(Path("web-app", fingerprint(sources)), _is_built, make, step)


def _is_built(folder: Path) -> bool:
    return (folder / "index.html").is_file()


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
