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
    """Software of others: its licence by SPDX, its home, and the file of a Python package with the text."""

    name: str
    licence: str
    home: str
    package: str = ""
    file: str = ""


APACHE: Final = "Apache-2.0"
_TORCH: Final = "third_party/{}/LICENSE"
# What the Gradle build links: its own dependencies, theirs, and the parts of ExecuTorch's native library.
ANDROID: Final = (
    Part(
        "ExecuTorch for Android",
        "BSD-3-Clause",
        "https://github.com/pytorch/executorch",
        "executorch",
        "LICENSE",
    ),
    Part("XNNPACK", "BSD-3-Clause", "https://github.com/google/XNNPACK", "torch", _TORCH.format("XNNPACK")),
    Part(
        "pthreadpool",
        "BSD-2-Clause",
        "https://github.com/google/pthreadpool",
        "torch",
        _TORCH.format("pthreadpool"),
    ),
    Part("cpuinfo", "BSD-2-Clause", "https://github.com/pytorch/cpuinfo", "torch", _TORCH.format("cpuinfo")),
    Part("FP16", "MIT", "https://github.com/Maratyszcza/FP16", "torch", _TORCH.format("FP16")),
    Part("FXdiv", "MIT", "https://github.com/Maratyszcza/FXdiv", "torch", _TORCH.format("FXdiv")),
    Part(
        "FlatBuffers", APACHE, "https://github.com/google/flatbuffers", "torch", _TORCH.format("flatbuffers")
    ),
    Part("KleidiAI", f"{APACHE} and BSD-3-Clause", "https://github.com/ARM-software/kleidiai"),
    Part("Abseil", APACHE, "https://github.com/abseil/abseil-cpp"),
    Part("RE2", "BSD-3-Clause", "https://github.com/google/re2"),
    Part("SentencePiece", APACHE, "https://github.com/google/sentencepiece"),
    Part("pytorch/tokenizers", "BSD-3-Clause", "https://github.com/meta-pytorch/tokenizers"),
    Part("JSON for Modern C++", "MIT", "https://github.com/nlohmann/json"),
    Part("fbjni", APACHE, "https://github.com/facebookincubator/fbjni"),
    Part("SoLoader", APACHE, "https://github.com/facebook/SoLoader"),
    Part("Kotlin standard library", APACHE, "https://github.com/JetBrains/kotlin"),
    Part("kotlinx.coroutines", APACHE, "https://github.com/Kotlin/kotlinx.coroutines"),
    Part(
        "AndroidX (Activity, CameraX, Lifecycle and what they need)",
        APACHE,
        "https://github.com/androidx/androidx",
    ),
    Part(
        "ARCore SDK for Android",
        f"{APACHE} and Google's terms",
        "https://github.com/google-ar/arcore-android-sdk",
    ),
    Part("Guava's ListenableFuture", APACHE, "https://github.com/google/guava"),
)
AR_NOTE: Final = (
    "Augmented reality is provided by Google Play Services for AR (ARCore), which is governed by the "
    "Google Privacy\n"
    "Policy: https://policies.google.com/privacy"
)


def ios_notices(bundle: Bundle) -> str:
    """The notices of the iOS app, which links Apple's frameworks and nothing else of others."""
    own = _head(
        bundle, "Beyond Apple's own frameworks, which are part of the system, it links no further software."
    )
    return RULE.join([own, f"phantom-edge ({APACHE})\n\n{_apache()}"]) + "\n"


def android_notices(bundle: Bundle) -> str:
    """The notices of the Android app."""
    own = _head(bundle, "It contains the following software, under the licences below.")
    parts = [f"{p.name} ({p.licence})\n{p.home}\n\n{_licence(p)}".rstrip() for p in ANDROID]
    common = f"{APACHE}: phantom-edge, and every part above that names this licence\n\n{_apache()}"
    return RULE.join([f"{own}\n\n{AR_NOTE}", *parts, common]) + "\n"


def _head(bundle: Bundle, links: str) -> str:
    model = Path(bundle.manifest.source.name).name  # a folder's path is nobody's business
    return (
        f"This app was made with phantom-edge. {links}\n\n"
        f"The model: {model}. Its weights come under the terms of whoever published them."
    )


def _licence(part: Part) -> str:
    text = _text(part.package, part.file)
    return (
        text or f"The text of the {part.licence} licence and its copyright notice are at the address above."
    )


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
