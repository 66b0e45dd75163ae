"""Every source of both apps parses, also without a compiler to say so; the Swift core is compiled and
tested.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from swift import SWIFT, SWIFTC, needs_swift

from phantom_edge.apps.sources import app_sources

SUPPORT = Path(__file__).parents[1] / "support"
FOLDERS = {"swift": app_sources("ios") / "PhantomAR", "kotlin": app_sources("android")}


def sources(language: str) -> list[Path]:
    kinds = {"swift": ("*.swift",), "kotlin": ("*.kt", "*.kts")}[language]
    paths = [path for kind in kinds for path in FOLDERS[language].rglob(kind)]
    return [path for path in paths if not {"build", ".build", ".gradle"} & set(path.parts)]


def first_error(node) -> str | None:
    """Where the first part of a syntax tree is that fits no rule."""
    if node.type == "ERROR" or node.is_missing:
        return f"line {node.start_point[0] + 1}: {node.text.decode()[:80]}"
    return next(filter(None, map(first_error, node.children)), None) if node.has_error else None


@pytest.mark.parametrize("language", FOLDERS)
def test_sources_parse(language):
    tree_sitter = pytest.importorskip("tree_sitter", reason="needs tree-sitter")
    grammar = pytest.importorskip(f"tree_sitter_{language}", reason="needs tree-sitter")
    parser = tree_sitter.Parser(tree_sitter.Language(grammar.language()))
    paths = sources(language)
    assert len(paths) > 20
    wrong = {p.name: first_error(parser.parse(p.read_bytes()).root_node) for p in paths}
    assert {name: error for name, error in wrong.items() if error} == {}
    assert first_error(parser.parse(b"func { ( ]").root_node)


@needs_swift
def test_the_compiler_parses_the_app():
    for path in sources("swift"):
        made = subprocess.run(
            [SWIFTC, "-frontend", "-parse", str(path)], capture_output=True, text=True, check=False
        )
        assert (made.returncode, made.stderr) == (0, ""), path


@needs_swift
def test_the_core_compiles_and_its_tests_pass(ios_project, tiny_bundle, request):
    """The settings are those of a written project; the package is the checkout's, as a project has it."""
    # What was compiled before serves again: the library takes a minute.
    scratch = request.config.cache.mkdir("swift-app-core")
    words = [SWIFT, "test", "--package-path", str(FOLDERS["swift"] / "Core"), "--scratch-path", str(scratch)]
    # Swift 6.0's Observation for Linux was linked without a symbol that nothing calls.
    words += ["-Xlinker", "--allow-shlib-undefined"]
    environment = {
        **os.environ,
        "PHANTOM_EDGE_BUNDLE": str(tiny_bundle),
        "PHANTOM_EDGE_APP_JSON": str(ios_project / "app.json"),
        "PHANTOM_EDGE_APP_VECTORS": str(SUPPORT),
    }
    result = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    said = result.stdout + result.stderr
    wrong = [line[:1000] for line in said.splitlines() if "error:" in line]
    assert result.returncode == 0, "\n".join(wrong) or said[-3000:]
    assert "skipped" not in said, "a test found no bundle"
    tests = (FOLDERS["swift"] / "Core/Tests").rglob("*Tests.swift")
    count = sum(len(re.findall(r"\bfunc test\w*\(", path.read_text())) for path in tests)
    assert f"Executed {count} tests, with 0 failures" in said, said[-1000:]


def test_the_core_needs_no_apple_framework():
    for path in (FOLDERS["swift"] / "Core/Sources").rglob("*.swift"):
        imports = set(re.findall(r"^import (\w+)", path.read_text(), flags=re.MULTILINE))
        assert imports <= {"Foundation", "Observation", "PhantomEdge"}, path


# --- the screen, type-checked -------------------------------------------------------------------------------

LIBRARY_STUBS = Path(__file__).parents[1] / "apps" / "stubs" / "apple"
STUBS = Path(__file__).parent / "stubs" / "apple"
SHARED = ("CoreGraphics", "CoreVideo", "ImageIO", "VideoToolbox", "CoreML")
# Of the library.
USED = (
    "AppleConditions",
    "BenchmarkApp",
    "CompiledModels",
    "CoreMLBackend",
    "Exports",
    "Loading",
    "Pictures",
)
OWN = ("Darwin", "Combine", "UIKit", "AVFoundation", "ARKit", "RealityKit", "SwiftUI", "PhotosUI")


def emit(folder: Path, name: str, sources: list[Path], *options: str) -> None:
    """Make one Swift module in ``folder``; modules made before it, there or named in ``options``, can be
    imported.
    """
    words = [
        SWIFTC,
        "-parse-as-library",
        "-emit-module",
        "-module-name",
        name,
        "-o",
        f"{folder / name}.swiftmodule",
    ]
    made = subprocess.run(
        [*words, "-I", str(folder), *options, *map(str, sources)], capture_output=True, text=True
    )
    assert made.returncode == 0, f"{name}: {made.stderr[-4000:]}"
    assert name != "PhantomAR" or "warning:" not in made.stderr, made.stderr[-4000:]


@needs_swift
def test_the_screen_fits_the_apis_it_uses(tmp_path):
    """Against declarations of Apple's own (``stubs/apple``), where no Apple SDK is; nothing of it runs.

    The library's modules are made without the app's declarations: its code asks which of Apple's modules
    there are.
    """
    core, app = tmp_path / "core", tmp_path / "app"
    core.mkdir()
    app.mkdir()
    for name in SHARED:
        emit(core, name, [*LIBRARY_STUBS.glob(f"{name}.swift"), *STUBS.glob(f"{name}+App.swift")])
    library = app_sources("ios") / "PhantomEdge" / "Sources"
    for name, sources in {
        "PhantomEdgeCore": sorted((library / "PhantomEdgeCore").glob("*.swift")),
        "PhantomEdge": [library / "PhantomEdge" / f"{file}.swift" for file in USED],
        "PhantomARCore": sorted((FOLDERS["swift"] / "Core" / "Sources" / "PhantomARCore").glob("*.swift")),
    }.items():
        emit(core, name, sources, "-swift-version", "6")
    for name in OWN:
        emit(app, name, [STUBS / f"{name}.swift"], "-I", str(core))
    sources = sorted((FOLDERS["swift"] / "App" / "Sources").glob("*.swift"))
    emit(app, "PhantomAR", sources, "-I", str(core), "-enable-testing", "-swift-version", "6")
    tests = [str(path) for path in (FOLDERS["swift"] / "AppTests").glob("*.swift")]
    words = [SWIFTC, "-typecheck", "-swift-version", "6", "-I", str(app), "-I", str(core), *tests]
    checked = subprocess.run(words, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr[-4000:]


@needs_swift
def test_swift_sources_are_formatted():
    result = subprocess.run(
        [SWIFT, "format", "lint", "-r", str(FOLDERS["swift"])], capture_output=True, text=True
    )
    if "unknown subcommand" in result.stderr or "unable to find" in result.stderr:
        pytest.skip("needs a Swift compiler with a formatter")
    assert result.stderr == ""
