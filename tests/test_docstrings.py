"""Every example in a docstring runs and prints what it says, beside a picture and a bundle of Nano."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import pytest
from PIL import Image

import phantom_edge as pe
from phantom_edge.scenes.write import write_scenes

ROOT = Path(__file__).parents[1]
MODULES = sorted(
    str(path.relative_to(ROOT).with_suffix("")).replace("/", ".").removesuffix(".__init__")
    for path in (ROOT / "phantom_edge").rglob("*.py")
    if ">>>" in path.read_text(encoding="utf-8")
)
SLOW = {"phantom_edge.pipeline.quantize", "phantom_edge.sweep.job"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """``photo.jpg``, the bundle ``nano-desktop``, and ``scenes`` with ``triples.jsonl``."""
    folder = tmp_path_factory.mktemp("examples")
    pe.export(pe.ExportRequest(target="desktop", output=folder / "nano-desktop"))
    write_scenes(folder / "scenes", split="train", count=8)
    Image.open(folder / "scenes" / "000000.png").save(folder / "photo.jpg", quality=95)
    return folder


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in MODULES]
)
def test_examples(name, folder, monkeypatch):
    monkeypatch.chdir(folder)
    names = {"pe": pe, "Path": Path}
    result = doctest.testmod(import_module(name), extraglobs=names, optionflags=doctest.ELLIPSIS)
    assert result.attempted
    assert not result.failed
    assert "+SKIP" not in Path(import_module(name).__file__).read_text(encoding="utf-8")
