"""The web app as users get it: written, built, served, and opened in Chromium."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from node_packages import installed, node_or_skip
from scene_video import some_scenes, write_video
from web_serving import served

from phantom_edge.apps.build import build_project
from phantom_edge.apps.node import Node
from phantom_edge.apps.sources import app_sources
from phantom_edge.apps.web import write_web_app
from phantom_edge.pipeline.export import ExportRequest, export

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SECONDS = 600  # for one scenario in the browser: no timing, only an end


@pytest.fixture(scope="session")
def node() -> Node:
    return node_or_skip()


@pytest.fixture(scope="session")
def chromium() -> str:
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM)), None)
    return path or pytest.skip("needs Chromium (install it, or set CHROMIUM to its path)")


@pytest.fixture(scope="session")
def sources(node) -> Path:
    """The app's sources with their libraries installed: `npm ci`, once."""
    return installed(app_sources("web"), node)


@pytest.fixture(scope="session")
def web_bundle(tmp_path_factory) -> Path:
    """The embedded model for browsers, not verified: that is tested elsewhere."""
    output = tmp_path_factory.mktemp("web") / "bundle"
    return export(ExportRequest(target="web", output=output, verify=False)).bundle.folder


@pytest.fixture(scope="session")
def project(web_bundle, sources, tmp_path_factory) -> Path:
    """A project as `phantom-edge app web` writes it; the libraries are those of the checkout."""
    folder = write_web_app(web_bundle, tmp_path_factory.mktemp("web") / "project")
    os.symlink(sources / "node_modules", folder / "node_modules")
    return folder


@pytest.fixture(scope="session")
def app(project, node) -> Path:
    """The built app: static files, with the bundle inside."""
    return build_project(project, node)


@pytest.fixture(scope="session")
def video(tmp_path_factory) -> Path:
    """What the camera sees: made-up scenes, a second each, again and again."""
    return write_video(tmp_path_factory.mktemp("video") / "scenes.y4m", some_scenes(4))


@pytest.fixture(scope="session")
def address(app) -> Iterator[str]:
    with served({"": app}) as server:
        yield server.address


@pytest.fixture(scope="session")
def check(sources, node, chromium) -> Callable[..., dict[str, Any]]:
    """Runs one scenario of ``e2e/check.mjs``; ``cut`` is called when it says that the network may go."""

    def run(name: str, cut: Callable[[], None] | None = None, **options: Any) -> dict[str, Any]:
        command = [*node.node, "e2e/check.mjs", name, json.dumps(options, default=str)]
        environment = {**os.environ, "CHROMIUM": chromium}
        process = subprocess.Popen(
            command, cwd=sources, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        timer = threading.Timer(SECONDS, process.kill)
        timer.start()
        try:
            if cut is not None and process.stdout.readline().strip() == "CUT":
                cut()
                process.stdin.write("\n")
                process.stdin.flush()
            out, errors = process.communicate()
        finally:
            timer.cancel()
            process.kill()
        assert process.returncode == 0, f"{name}: {errors[-2000:]}"
        return json.loads(out.strip().splitlines()[-1])

    return run
