"""The Swift package's own tests, compiled here, beside the Python package: pictures, ids, prompts,
conversations.

The conversations run on an exported bundle's real graphs: Swift's loop asks, this process computes.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest
from native_bench import assert_the_lines_are_those_of_local, bench_server
from native_forms import write_forms
from native_goldens import write_goldens
from native_server import LiveServer
from native_vectors import (
    at_small_tile,
    export_small,
    transcript_picture,
    write_chats,
    write_transcripts,
    write_vectors,
)
from swift import SWIFT, SWIFTC, needs_swift

from phantom_edge.bench.apple.devicectl import JOB
from phantom_edge.runtime.session import Session

PACKAGE = Path(__file__).parents[2] / "apps" / "ios" / "PhantomEdge"
STUBS = Path(__file__).parent / "stubs" / "apple"


@pytest.fixture(scope="module")
def vectors(tmp_path_factory) -> tuple[Path, Session]:
    """A folder with everything that the Swift tests compare with, and the session behind it."""
    folder = tmp_path_factory.mktemp("swift")
    with pytest.MonkeyPatch.context() as patch:
        bundle = export_small("ios", folder, patch)
    session = Session.of_bundle(bundle)
    write_vectors(folder)
    write_transcripts(folder, session, at_small_tile(bundle, session))
    write_forms(folder, session, transcript_picture(1))
    write_chats(folder, bundle)
    write_goldens(folder)
    return folder, session


def build_folder() -> Path:
    """Outside the repository, and kept: a second run compiles what has changed."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "phantom-edge" / f"swift-{hashlib.sha256(bytes(PACKAGE)).hexdigest()[:12]}"


def run_swift(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Run the compiler's driver on the package."""
    command = [SWIFT, *arguments, "--package-path", str(PACKAGE), "--scratch-path", str(build_folder())]
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )


@needs_swift
def test_swift_tests_pass(vectors):
    folder, session = vectors
    with LiveServer(session, folder) as server, bench_server(session, folder):
        result = run_swift("test", PHANTOM_EDGE_VECTORS=str(folder))
    wrong = [line[:1000] for line in (result.stdout + result.stderr).splitlines() if "error:" in line]
    assert result.returncode == 0, "\n".join(wrong) or result.stdout[-3000:] + result.stderr[-3000:]
    assert "skipped" not in result.stdout, "a test found no vectors"
    assert {kind for kind, _, _ in server.calls} == set("vecd")
    assert_the_lines_are_those_of_local(folder)


def test_the_benchmark_is_asked_for_as_the_driver_asks():
    assert f'variable = "{JOB}"' in (PACKAGE / "Sources" / "PhantomEdge" / "BenchmarkApp.swift").read_text()


@needs_swift
def test_the_core_ml_layer_fits_the_apis_it_uses(tmp_path):
    """Against declarations of Apple's own (``stubs/apple``), where no Apple SDK is; nothing of it runs."""
    swift = [SWIFTC, "-swift-version", "6", "-parse-as-library", "-I", str(tmp_path)]
    core = sorted((PACKAGE / "Sources" / "PhantomEdgeCore").glob("*.swift"))
    modules = {
        name: [STUBS / f"{name}.swift"]
        for name in ("CoreGraphics", "CoreVideo", "ImageIO", "VideoToolbox", "CoreML")
    }
    for name, sources in (modules | {"PhantomEdgeCore": core}).items():
        output = ["-emit-module", "-module-name", name, "-o", str(tmp_path / f"{name}.swiftmodule")]
        made = subprocess.run(
            [*swift, *output, *map(str, sources)], capture_output=True, text=True, check=False
        )
        assert made.returncode == 0, f"{name}: {made.stderr[-3000:]}"
    layer = sorted((PACKAGE / "Sources" / "PhantomEdge").glob("*.swift"))
    checked = subprocess.run(
        [*swift, "-typecheck", "-module-name", "PhantomEdge", "-warnings-as-errors", *map(str, layer)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr[-6000:]


@needs_swift
def test_swift_sources_are_formatted():
    folders = [str(PACKAGE / name) for name in ("Package.swift", "Sources", "Tests")]
    result = subprocess.run(
        [SWIFT, "format", "lint", "-r", *folders], capture_output=True, text=True, check=False
    )
    if "unknown subcommand" in result.stderr or "unable to find" in result.stderr:
        pytest.skip("needs a Swift compiler with a formatter")
    assert result.stderr == ""
