"""The documentation builds without a warning, every link leads somewhere, and its target package works."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import phantom_edge as pe

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "benchmarks" / "README.md"])
PAGE = (ROOT / "docs" / "adding-a-target.md").read_text(encoding="utf-8")


def files_of_the_page() -> dict[str, str]:
    """File name: contents, of each block whose fence names a file."""
    return dict(re.findall(r"^```\w+ (\S+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))


@pytest.mark.slow
def test_the_site_builds(tmp_path):
    pytest.importorskip("sphinx")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-d", tmp_path / "doctrees"]
    done = subprocess.run([*command, ROOT / "docs", tmp_path / "site"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    api = (tmp_path / "site" / "reference" / "api.html").read_text(encoding="utf-8")
    for name in pe.__all__:
        assert name == "__version__" or f'id="phantom_edge.{name}"' in api, name
    for page in (tmp_path / "site").rglob("*.html"):
        loaded = re.findall(
            r'<(?:script|link|img)[^>]*(?:src|href)="(https?:[^"]+)"', page.read_text("utf-8")
        )
        assert not loaded, page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_paths_lead_to_files(page):
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text):
        assert (page.parent / link).exists(), link
    for path in re.findall(
        r"`((?:apps|benchmarks|docs|examples|phantom_edge|recipes|tests)/[\w./-]+)`", text
    ):
        assert (ROOT / path).exists(), path
    for module in re.findall(r"`(phantom_edge(?:\.[a-z_]+)+)`", text):
        assert hasattr(pe, module.split(".")[1]) or find_spec(module), module


@pytest.mark.slow
def test_another_package_adds_a_target_by_the_page(tmp_path):
    """Its two files, installed, add a target with which Nano is exported and verified."""
    files = files_of_the_page()
    assert set(files) == {"kiosk.py", "pyproject.toml"}
    assert sum(text.count("\n") for text in files.values()) < 50
    package, site = tmp_path / "package", tmp_path / "site"
    package.mkdir()
    for name, text in files.items():
        (package / name).write_text(text, encoding="utf-8")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
    ]
    subprocess.run([*pip, "--target", site, package], check=True, timeout=300)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "phantom_edge", *arguments]
        options = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True, "timeout": 300}
        done = subprocess.run(command, **options)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert re.search(r"^kiosk +onnx +int8 +context 512, chunk 128 +Shop kiosks", run("targets"), re.MULTILINE)
    run("export", "--target", "kiosk", "--output", "nano-kiosk")
    bundle = pe.Bundle.open(tmp_path / "nano-kiosk")
    assert (bundle.manifest.target, bundle.manifest.context) == ("kiosk", 512)
    assert bundle.manifest.verification.ok
