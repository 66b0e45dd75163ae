"""One small bundle, relabelled for each platform, and the project that is written around it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from phantom_edge.apps.android import AndroidRequest, write_android_app
from phantom_edge.apps.ios import IosRequest, write_ios_app
from phantom_edge.pipeline.export import ExportRequest, export
from recipes.synthetic import TINY, write_checkpoint

TITLE = 'Bob\'s "Line" <4> ü'  # everything that a plist, a property list, XML or a resource would trip over


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory) -> Path:
    """A real bundle of a tiny model with two sizes of tiles. Its format is ONNX, which is quick to write; see
    ``relabelled``.
    """
    folder = tmp_path_factory.mktemp("native")
    model = write_checkpoint(folder / "tiny", TINY)
    request = ExportRequest(
        target="web",
        model=str(model),
        output=folder / "bundle",
        context=160,
        tile_sizes=(56, 28),
        verify=False,
    )
    return export(request).bundle.folder


@pytest.fixture(scope="session")
def relabelled(tiny_bundle, tmp_path_factory) -> Callable[..., Path]:
    """Copies that say they are of another format: writing a project looks at the manifest, not into the
    graphs.
    """

    def make(target: str, format_name: str, **changes: object) -> Path:
        folder = shutil.copytree(tiny_bundle, tmp_path_factory.mktemp(target) / "bundle")
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest |= {"target": target, "format": format_name, **changes}
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return folder

    return make


@pytest.fixture(scope="session")
def ios_bundle(relabelled) -> Path:
    return relabelled("ios", "coreml")


@pytest.fixture(scope="session")
def android_bundle(relabelled) -> Path:
    return relabelled("android", "executorch")


@pytest.fixture(scope="session")
def ios_project(ios_bundle, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("projects") / "shop-floor"
    return write_ios_app(ios_bundle, output, IosRequest(title=TITLE, team="ABCDE12345")).parent


@pytest.fixture(scope="session")
def android_project(android_bundle, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("projects") / "shop-floor"
    return write_android_app(android_bundle, output, AndroidRequest(title=TITLE))


@pytest.fixture(scope="session")
def command() -> Callable[..., subprocess.CompletedProcess]:
    """``phantom-edge app …`` in a process of its own."""

    def run(*arguments: object) -> subprocess.CompletedProcess:
        words = [sys.executable, "-m", "phantom_edge", "app", *map(str, arguments)]
        return subprocess.run(words, capture_output=True, text=True, timeout=240, check=False)

    return run
