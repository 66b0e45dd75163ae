"""The wheel carries the apps' sources, all of them and nothing else, and writes a project from them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from phantom_edge.apps.sources import CHECKOUT, app_sources, source_files
from phantom_edge.pipeline.export import ExportRequest, export
from recipes.synthetic import TINY, write_checkpoint

ROOT = CHECKOUT.parent
INSIDE = "phantom_edge/apps/sources/"
NO_SOURCES = [
    "web/node_modules/three/index.js",
    "web/dist/index.html",
    "web/dist/assets/app.js",
    "web/engine/dist/worker.js",
    "web/public/bundle/manifest.json",
    "web/public/bundle/onnx/model.onnx_data",
    "web/.cache/x",
    "android/app/build/outputs/app.apk",
    "android/.gradle/x.lock",
    "ios/PhantomEdge/.build/debug/x.o",
]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of what a wheel is made of, with what installing, building and embedding leave behind."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, copy / name)
    shutil.copytree(
        ROOT / "phantom_edge", copy / "phantom_edge", ignore=shutil.ignore_patterns("__pycache__")
    )
    installed = shutil.ignore_patterns("node_modules", "dist", "build", ".*", "__pycache__")
    shutil.copytree(ROOT / "apps", copy / "apps", ignore=installed)
    for name in NO_SOURCES:
        (copy / "apps" / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / "apps" / name).write_text("no source")
    return copy


@pytest.fixture(scope="module")
def wheel(checkout) -> Path:
    pytest.importorskip("setuptools", minversion="77")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        ".",
        "--no-deps",
        "--no-build-isolation",
        "-q",
        "-w",
        "out",
    ]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return next((checkout / "out").glob("*.whl"))


@pytest.mark.parametrize("name", ["web", "ios", "android"])
def test_the_wheel_has_the_sources_of_each_app_and_nothing_else(wheel, checkout, name):
    prefix = f"{INSIDE}{name}/"
    packed = [
        entry.removeprefix(prefix) for entry in zipfile.ZipFile(wheel).namelist() if entry.startswith(prefix)
    ]
    assert sorted(packed) == source_files(checkout / "apps" / name)
    assert not set(packed) & {entry.removeprefix(f"{name}/") for entry in NO_SOURCES}


def test_a_project_is_written_from_the_wheel(wheel, tmp_path):
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    model = write_checkpoint(tmp_path / "model", TINY)
    bundle = tmp_path / "bundle"
    export(ExportRequest(target="web", model=str(model), output=bundle, context=160, verify=False))
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}

    def python(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert Path(python("-c", "import phantom_edge.apps as a; print(a.__file__)")).is_relative_to(site)
    python("-m", "phantom_edge", "app", "web", "--bundle", str(bundle), "--output", "project")
    project = tmp_path / "project"
    assert set(source_files(app_sources("web"))) <= set(source_files(project))
    assert (project / "public" / "bundle" / "manifest.json").is_file()
