"""The Kotlin library on Qualcomm's emulator: ONNX Runtime's Java API, the QNN provider, an exported bundle.

Everything but the phone is real: the app's rules choose the NPU, the graphs are compiled and kept, the golden
file is run from what was kept. It needs ONNX Runtime's package for Java, which Maven and Gradle keep where
they load it: ``com.microsoft.onnxruntime:onnxruntime``, in the release that the app links or a later one.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest
from kotlin import CLASSPATH, JAVA, KOTLIN, needs_kotlin

from phantom_edge.apps import native
from phantom_edge.bundle.folder import Bundle
from phantom_edge.bundle.manifest import MANIFEST
from phantom_edge.bundle.npu import chip_files

HERE = Path(__file__).parent
LIBRARY = HERE.parents[1] / "apps/android/phantomedge/src/main/kotlin/phantom/edge"
PLACES = (
    ".m2/repository/com/microsoft/onnxruntime/onnxruntime/*/onnxruntime-*.jar",
    ".gradle/caches/modules-2/files-2.1/com.microsoft.onnxruntime/onnxruntime/*/*/onnxruntime-*.jar",
)
CHIP = ("57", "75")  # that the emulator stands for: a Snapdragon 8 Gen 3

pytestmark = [pytest.mark.slow, pytest.mark.native]


def java_package() -> Path | None:
    """ONNX Runtime's jar: what ``ONNXRUNTIME_JAR`` names, or the newest that Maven or Gradle has here."""
    if named := os.environ.get("ONNXRUNTIME_JAR"):
        return Path(named)
    jars = [path for place in PLACES for path in Path.home().glob(place) if "sources" not in path.name]
    return max(jars, key=lambda path: path.stat().st_mtime, default=None)


def qnn_libraries() -> Path | None:
    """The folder of the QNN provider's libraries, which the Python package brings."""
    spec = importlib.util.find_spec("onnxruntime_qnn")
    return Path(spec.origin).parent if spec and spec.origin and platform.machine() == "x86_64" else None


@pytest.mark.skipif(
    java_package() is None, reason="needs ONNX Runtime for Java (Maven's jar, ONNXRUNTIME_JAR)"
)
@pytest.mark.skipif(qnn_libraries() is None, reason="needs onnxruntime-qnn on x86-64")
@needs_kotlin
def test_the_emulated_npu_passes_its_golden_file(tmp_path):
    for target, more in (("snapdragon", ["--npu", "all"]), ("android", [])):
        words = ["export", "--target", target, *more, "--no-verify", "--output", str(tmp_path / target)]
        subprocess.run([sys.executable, "-m", "phantom_edge", *words], check=True)
    whole = Bundle.open(tmp_path / "snapdragon")
    for name in (MANIFEST, *chip_files(whole.manifest, "SM8550")):  # what a phone would have of it
        native.copy(whole.folder / name, tmp_path / "part" / name)
    jars = [*map(str, CLASSPATH), str(java_package())]
    sources = [LIBRARY / "QnnRuntime.kt", *LIBRARY.glob("core/**/*.kt"), *HERE.glob("emulator/*.kt")]
    options = ["-nowarn", "-no-stdlib", "-no-reflect", "-module-name", "phantomedge", "-cp", ":".join(jars)]
    made = subprocess.run(
        [KOTLIN, *options, *map(str, sources), "-d", str(tmp_path / "emulated.jar")],
        capture_output=True,
        text=True,
        env={**os.environ, "JAVA_OPTS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx1g"},
        check=False,
    )
    assert made.returncode == 0, made.stderr[-3000:]
    libraries = qnn_libraries()
    words = [
        JAVA,
        f"-Dandroid.libraries={libraries}",
        "-cp",
        ":".join([str(tmp_path / "emulated.jar"), *jars]),
    ]
    folders = [tmp_path / name for name in ("part", "snapdragon", "android", "")]
    places = [str(libraries), str(libraries.with_name("onnxruntime_qnn.libs"))]
    environment = {"LD_LIBRARY_PATH": ":".join(places), "ORT_DISABLE_TELEMETRY": "1"}
    for steps in (["Compiling for the NPU, once"], []):  # the second start finds what the first kept
        done = subprocess.run(
            [*words, "phantom.edge.Emulated", *folders, *CHIP],
            capture_output=True,
            text=True,
            env={**os.environ, **environment},
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert re.findall(r"^step: (.*)$", done.stdout, re.M) == steps
        assert "processor: NPU: SM8550, all on the NPU, compiled on this phone" in done.stdout, done.stdout
        assert re.search(r"^self-test on NPU \(ONNX Runtime [\d.]+, QNN\): passed$", done.stdout, re.M)
        assert re.search(r"^ok +generated_ids\.tie: .* 16 of 16 tokens are the likeliest", done.stdout, re.M)
        assert re.search(r"^answer: .", done.stdout, re.M)
