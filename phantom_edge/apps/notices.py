"""What the apps for phones contain of others, with the licences' texts where this installation has them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from phantom_edge.bundle.folder import Bundle

RULE: Final = f"\n\n{'-' * 100}\n\n"


@dataclass(frozen=True)
class Part:
    """Software of others: its licence by SPDX, its repository on GitHub, a Python package with the text."""

    name: str
    licence: str
    repository: str
    package: str = ""
    file: str = "LICENSE"

    @property
    def home(self) -> str:
        return f"https://github.com/{self.repository}"


def _of_torch(name: str, licence: str, repository: str) -> Part:
    return Part(name, licence, repository, "torch", f"third_party/{repository.rpartition('/')[2]}/LICENSE")


APACHE: Final = "Apache-2.0"
# What the Gradle build links: its own dependencies, theirs, and the parts of ExecuTorch's native library.
ANDROID: Final = (
    Part("ExecuTorch for Android", "BSD-3-Clause", "pytorch/executorch", "executorch"),
    _of_torch("XNNPACK", "BSD-3-Clause", "google/XNNPACK"),
    _of_torch("pthreadpool", "BSD-2-Clause", "google/pthreadpool"),
    _of_torch("cpuinfo", "BSD-2-Clause", "pytorch/cpuinfo"),
    _of_torch("FP16", "MIT", "Maratyszcza/FP16"),
    _of_torch("FXdiv", "MIT", "Maratyszcza/FXdiv"),
    _of_torch("FlatBuffers", APACHE, "google/flatbuffers"),
    Part("KleidiAI", f"{APACHE} and BSD-3-Clause", "ARM-software/kleidiai"),
    Part("Abseil", APACHE, "abseil/abseil-cpp"),
    Part("RE2", "BSD-3-Clause", "google/re2"),
    Part("SentencePiece", APACHE, "google/sentencepiece"),
    Part("pytorch/tokenizers", "BSD-3-Clause", "meta-pytorch/tokenizers"),
    Part("JSON for Modern C++", "MIT", "nlohmann/json"),
    Part("fbjni", APACHE, "facebookincubator/fbjni"),
    Part("SoLoader", APACHE, "facebook/SoLoader"),
    Part("Kotlin standard library", APACHE, "JetBrains/kotlin"),
    Part("kotlinx.coroutines", APACHE, "Kotlin/kotlinx.coroutines"),
    Part("AndroidX (Activity, CameraX, Lifecycle and what they need)", APACHE, "androidx/androidx"),
    Part("ARCore SDK for Android", f"{APACHE} and Google's terms", "google-ar/arcore-android-sdk"),
    Part("Guava's ListenableFuture", APACHE, "google/guava"),
)
# What an app with a part for the NPU links besides.
NPU: Final = (
    Part("ONNX Runtime for Android", "MIT", "microsoft/onnxruntime"),
    Part("ONNX Runtime QNN execution provider", "MIT", "onnxruntime/onnxruntime-qnn"),
)
QUALCOMM: Final = """Qualcomm AI Runtime libraries (Qualcomm's own licence)
https://central.sonatype.com/artifact/com.qualcomm.qti/qnn-runtime

Their licence is that of the Maven artifact: https://softwarecenter.qualcomm.com/api/download/software/licenses/\
ai_model_hub/v1/LICENSE.pdf. It is no open licence: read it before the app is published."""
AR_NOTE: Final = (
    "Augmented reality is provided by Google Play Services for AR (ARCore), which is governed by the "
    "Google Privacy\nPolicy: https://policies.google.com/privacy"
)


def ios_notices(bundle: Bundle) -> str:
    """The notices of the iOS app, which links Apple's frameworks and nothing else of others."""
    links = "Beyond Apple's own frameworks, which are part of the system, it links no further software."
    own = _head(bundle, links)
    return RULE.join([own, f"phantom-edge ({APACHE})\n\n{_apache()}"]) + "\n"


def android_notices(bundle: Bundle, *, npu: bool = False) -> str:
    """The notices of the Android app, with those of the NPU's libraries where it links them."""
    own = _head(bundle, "It contains the following software, under the licences below.")
    linked = (*ANDROID, *NPU) if npu else ANDROID
    parts = [f"{p.name} ({p.licence})\n{p.home}\n\n{_licence(p)}".rstrip() for p in linked]
    if npu:
        parts.append(QUALCOMM)
    common = f"{APACHE}: phantom-edge, and every part above that names this licence\n\n{_apache()}"
    return RULE.join([f"{own}\n\n{AR_NOTE}", *parts, common]) + "\n"


def _head(bundle: Bundle, links: str) -> str:
    model = Path(bundle.manifest.source.name).name  # a folder's path is nobody's business
    return (
        f"This app was made with phantom-edge. {links}\n\n"
        f"The model: {model}. Its weights come under the terms of whoever published them."
    )


def _licence(part: Part) -> str:
    elsewhere = f"The text of the {part.licence} licence and its copyright notice are at the address above."
    return _text(part.package, part.file) or elsewhere


def _apache() -> str:
    text = _text("phantom-edge", "LICENSE")
    checkout = Path(__file__).resolve().parents[2] / "LICENSE"
    if not text and checkout.is_file():
        text = checkout.read_text(encoding="utf-8").strip()
    return text or "https://www.apache.org/licenses/LICENSE-2.0.txt"


def _text(package: str, file: str) -> str:
    """A licence file of an installed package; empty where there is none."""
    if not package:
        return ""
    try:
        text = distribution(package).read_text(f"licenses/{file}")
    except PackageNotFoundError:
        return ""
    return (text or "").strip()
