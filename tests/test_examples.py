"""The scripts in ``examples/`` run as their first lines say, and print what one would look for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import phantom_edge as pe
from phantom_edge.scenes.write import write_scenes

EXAMPLES = Path(__file__).parents[1] / "examples"
RUNS = {
    "export_and_verify.py": (["--output", "again"], "verified again: right"),
    "ask.py": (["scenes/000000.png", "How many objects are there?", "Describe the image."], "\n2\n"),
    "quantize_with_pictures.py": (["scenes", "--output", "out", "--quant", "int4"], "wrote out/desktop"),
    "check_bundle.py": (["nano-desktop"], "phantom-nano for desktop, int4"),
    "compare_recipes.py": (["int4", "int8", "--output", "both", "--samples", "2"], "int8 against int4: "),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("examples")
    write_scenes(folder / "scenes", split="train", count=8)
    pe.export(pe.ExportRequest(target="desktop", output=folder / "nano-desktop"))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_example(name, folder):
    arguments, expected = RUNS[name]
    command = [sys.executable, EXAMPLES / name, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout


def test_every_example_is_run_and_is_short():
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(RUNS)
    for path in EXAMPLES.glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) < 60
