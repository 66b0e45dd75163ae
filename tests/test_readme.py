"""The commands and the Python of README and first pages, run as they stand; and what they say of the tree."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from PIL import Image

from phantom_edge.numbers.recipe import load_recipe
from phantom_edge.targets import targets

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = (
    "README.md",
    "docs/getting-started.md",
    "docs/exporting.md",
    "docs/bundle.md",
    "docs/accuracy.md",
    "docs/answers.md",
)
TEXT = "\n".join((ROOT / page).read_text(encoding="utf-8") for page in PAGES)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


@pytest.fixture
def here(tmp_path):
    Image.new("RGB", (320, 240), (200, 40, 40)).save(tmp_path / "photo.jpg")
    return tmp_path


@pytest.mark.slow
def test_the_commands(here):
    lines = [line for block in blocks("sh") for line in block.splitlines() if line]
    assert len(lines) >= 4
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for line in lines:
        done = subprocess.run(
            shlex.split(line),
            cwd=here,
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, "PATH": path},
        )
        assert done.returncode == 0, (line, done.stderr)
        assert done.stderr == "", line
        assert done.stdout.strip(), line
    assert (here / "report.html").exists()


@pytest.mark.slow
def test_the_python(here):
    """In the order of the pages: later ones use the bundle that the first has written."""
    assert len(blocks("python")) >= 4
    for block in blocks("python"):
        command = [sys.executable, "-c", block]
        done = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()


def test_the_recipe(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(blocks("toml")[0])
    assert str(load_recipe(str(path)).resolve("text_decoder.layers.0.qkv", (64, 64))) == "int8"


def test_the_table_names_every_target():
    for target in targets().values():
        assert f"| `{target.name}` | {'ONNX' if target.format.startswith('onnx') else ''}" in README


def test_every_folder_of_code_is_packaged():
    """An explicit list, because one folder is installed into another distribution's namespace."""
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    folders = {p.parent for p in (ROOT / "phantom_edge").rglob("*.py")} | {ROOT / "phantom_edge" / "nano"}
    names = {str(folder.relative_to(ROOT)).replace(os.sep, ".") for folder in folders} - {
        "phantom_edge.optimum_register"
    }
    assert names <= listed


def test_the_top_level_links_lead_to_the_packages():
    for name in ("export", "quantize", "runtime"):
        assert (ROOT / name).resolve() == ROOT / "phantom_edge" / name
