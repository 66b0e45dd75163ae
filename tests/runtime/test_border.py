"""A bundle is run where nothing is installed but what a box has, and all else says in one line what it
lacks.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

import phantom_edge as pe
from phantom_edge.bundle.folder import finish
from phantom_edge.bundle.manifest import MANIFEST, Manifest
from phantom_edge.export.onnx_layout import find
from phantom_edge.scenes.write import write_scenes

pytestmark = pytest.mark.slow  # exports, and processes of their own

ROOT = Path(__file__).parents[2]
QUESTIONS = ("How many objects are there?", "Describe the image.")
# Each with what it has besides the plain export: the runtime reads it from the files, without `onnx`.
KINDS = {
    "int4": {},
    "int8 cache, trimmed, two tiles": {"kv_cache": "int8", "vocab": ("en",), "tile_sizes": (192, 128)},
}


def in_a_box(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tests/support/in_a_box.py"), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("scenes") / "one"
    write_scenes(folder, "test", 1, 0, 224)
    return folder / "000000.png"


@pytest.fixture(scope="module")
def bundles(tmp_path_factory) -> dict[str, Path]:
    """Phantom-Nano for the CPU, in every kind."""
    folder, made = tmp_path_factory.mktemp("border"), {}
    for number, (kind, options) in enumerate(KINDS.items()):
        made[kind] = folder / f"bundle-{number}"
        pe.export(pe.ExportRequest(target="desktop", output=made[kind], verify=False, **options))
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_a_bundle_answers_as_it_does_with_everything_installed(bundles, kind, picture):
    bundle = bundles[kind]
    asked = [part for question in QUESTIONS for part in ("-p", question)]
    sizes = [tiles.size for tiles in pe.Bundle.open(bundle).manifest.tiles.others]
    for size in (None, *sizes):
        chat = pe.Session.open(bundle, tile_size=size).chat(picture)
        expected = ["".join(chat.ask(question)) for question in QUESTIONS]
        option = () if size is None else ("--tile-size", size)
        done = in_a_box("run", "-m", bundle, "-i", picture, *asked, *option)
        assert done.stderr == ""
        assert done.stdout.splitlines() == expected


def test_an_endless_loop_is_refused_there_too(bundles, picture, tmp_path):
    """Not by the digests, which whoever writes a bundle writes too."""
    bundle = shutil.copytree(bundles["int4"], tmp_path / "bundle")
    path = find(bundle, "token_embedding")
    model = onnx.load(path, load_external_data=False)
    body = onnx.helper.make_graph([], "body", [], [])
    model.graph.node.append(onnx.helper.make_node("Loop", ["", "", ""], ["never"], body=body))
    path.write_bytes(model.SerializeToString())
    finish(bundle, Manifest.read(bundle / MANIFEST))
    done = in_a_box("run", "-m", bundle, "-i", picture, "-p", "?")
    assert (done.returncode, done.stdout) == (2, "")
    assert "'Loop', which this toolkit does not write" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "line",
    [
        "run -p ?", "run -m someone/model -p ?", "export", "verify BUNDLE", "eval -m BUNDLE", "inspect",
        "quantize", "sweep", "estimate", "conform BUNDLE", "app demo",
    ],
)  # fmt: skip
def test_what_needs_more_says_so_in_one_line(line, bundles):
    done = in_a_box(*line.replace("BUNDLE", str(bundles["int4"])).split())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: this needs ")
    assert ", which is not installed here; " in done.stderr
    assert "pip install phantom-edge" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_help_and_the_version_need_nothing():
    assert in_a_box("--version").stdout == f"phantom-edge {pe.__version__}\n"
    for arguments in (["--help"], ["run", "--help"], ["targets"]):
        done = in_a_box(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
