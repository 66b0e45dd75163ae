"""The Kotlin library's own tests, compiled here, beside the Python package; its Android part is type-checked.

The conversations run on an exported bundle's real graphs: Kotlin's loop asks, this process computes.
"""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from kotlin import CLASSPATH, JAVA, KOTLIN, needs_kotlin
from native_bench import assert_the_lines_are_those_of_local, bench_server
from native_forms import write_forms
from native_goldens import write_goldens
from native_npu import NpuServer, write_npu
from native_server import LiveServer
from native_vectors import (
    at_small_tile,
    export_small,
    transcript_picture,
    write_chats,
    write_transcripts,
    write_vectors,
)

from phantom_edge.bench.android.app import ACTIVITY, RESULT
from phantom_edge.runtime.session import Session

ROOT = Path(__file__).parents[2]
MODULE = ROOT / "apps" / "android" / "phantomedge"
STUBS = Path(__file__).parent / "stubs" / "android"


@pytest.fixture(scope="module")
def vectors(tmp_path_factory) -> tuple[Path, Session, NpuServer]:
    """A folder with everything that the Kotlin tests compare with, the session behind it, and an NPU."""
    folder = tmp_path_factory.mktemp("kotlin")
    with pytest.MonkeyPatch.context() as patch:
        bundle = export_small("android", folder, patch)
    session = Session.of_bundle(bundle, threads=1)
    write_vectors(folder)
    write_transcripts(folder, session, at_small_tile(bundle, session))
    write_forms(folder, session, transcript_picture(1))
    write_chats(folder, bundle)
    write_goldens(folder)
    return folder, session, write_npu(folder, bundle)


@needs_kotlin
def test_kotlin_tests_pass(vectors):
    folder, session, npu = vectors
    classpath = ":".join(map(str, CLASSPATH))
    # All of it at once, the Android part and the declarations that it needs too: the compiler is slow to
    # start.
    sources = [*map(str, MODULE.glob("src/*/kotlin/**/*.kt")), *map(str, STUBS.glob("*.kt"))]
    options = ["-nowarn", "-no-stdlib", "-no-reflect", "-module-name", "phantomedge"]
    compiled = folder / "phantomedge.jar"
    quick = {**os.environ, "JAVA_OPTS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx1g"}
    made = subprocess.run(
        [KOTLIN, *options, "-cp", classpath, *sources, "-d", str(compiled)],
        capture_output=True,
        text=True,
        env=quick,
        check=False,
    )
    assert made.returncode == 0, made.stderr[-6000:]
    tests = [f"phantom.edge.core.{p.stem}" for p in MODULE.glob("src/test/kotlin/**/*Test.kt")]
    assert len(tests) > 4
    with LiveServer(session, folder) as server, bench_server(session, folder), npu:
        result = subprocess.run(
            [JAVA, "-cp", f"{compiled}:{classpath}", "org.junit.runner.JUnitCore", *tests],
            capture_output=True,
            text=True,
            env={**os.environ, "PHANTOM_EDGE_VECTORS": str(folder)},
            check=False,
        )
    wrong = re.findall(r"^\d+\) .*\n.*", result.stdout, flags=re.MULTILINE)
    assert result.returncode == 0, "\n".join(line[:1000] for line in wrong) or result.stderr[-3000:]
    assert re.search(r"OK \(\d\d tests\)", result.stdout), result.stdout
    assert {kind for kind, _, _ in server.calls} == set("vecd")
    assert set(npu.calls) == {"vision_encoder", "prefill", "decode"}
    assert_the_lines_are_those_of_local(folder, threads=1)


def test_the_library_and_the_files_are_of_one_executorch():
    linked = re.search(r"org\.pytorch:executorch-android:([\d.]+)", (MODULE / "build.gradle.kts").read_text())
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert f"executorch=={linked[1]}" in needed


def test_the_benchmark_names_the_executorch_that_is_linked():
    named = re.search(
        r'EXECUTORCH = "([\d.]+)"', (MODULE / "src/main/kotlin/phantom/edge/AndroidBench.kt").read_text()
    )
    assert f'executorch-android:{named[1]}"' in (MODULE / "build.gradle.kts").read_text()


def test_only_adb_can_start_the_benchmark():
    name = "{http://schemas.android.com/apk/res/android}"
    root = ElementTree.parse(MODULE / "src/main/AndroidManifest.xml").getroot()
    activity, alias = next(root.iter("activity")).attrib, next(root.iter("activity-alias")).attrib
    assert activity[f"{name}exported"] == "false"
    assert alias[f"{name}name"] == "${applicationId}" + ACTIVITY
    assert alias[f"{name}permission"] == "android.permission.DUMP"
    assert alias[f"{name}targetActivity"] == activity[f"{name}name"]
    folder, _, kind = activity[f"{name}name"].rpartition(".")
    source = (MODULE / "src/main/kotlin" / folder.replace(".", "/") / f"{kind}.kt").read_text()
    assert f"class {kind} : Activity()" in source
    assert f'"{RESULT}"' in source


def test_the_core_needs_no_android():
    for path in (MODULE / "src/main/kotlin/phantom/edge/core").rglob("*.kt"):
        imports = re.findall(r"^import (\S+)", path.read_text(), flags=re.MULTILINE)
        assert all(name.startswith(("java.", "kotlin.", "phantom.edge.core.")) for name in imports), path
