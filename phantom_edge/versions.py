"""Versions of the libraries that are installed beside this one."""

from __future__ import annotations

from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Final

TESTED: Final = {
    "torch": "2.13.0",
    "torchao": "0.18.0",
    "executorch": "1.5.1",
    "coremltools": "9.0",
    "onnx": "1.23.2",
    "onnxruntime": "1.32.0",
    "optimum": "2.3.0",
    "llguidance": "1.9.1",
    "tokenizers": "0.23.3",
    "sentencepiece": "0.2.3",
    "huggingface_hub": "2.4.0",
    "uvicorn": "0.54.0",
    "pillow": "13.0.0",
}
"""The versions with which this one passed all of its tests; ``phantom-edge doctor`` names them."""

RUNTIMES: Final = {
    "onnxruntime": "onnxruntime",
    "executorch": "executorch",
    "coreml": "coremltools",
    "coreai": "coreai-torch",
    "torch": "torch",
}
"""The distribution behind each runtime, by how a backend's name begins."""


def installed(*names: str) -> dict[str, str]:
    """The version of each distribution that is there; others are left out.

    >>> list(installed("numpy", "no-such-library"))
    ['numpy']
    """
    versions = {}
    for name in names:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def runtime_version(name: str) -> str | None:
    """The version of the library that a backend of that name runs in; None where no one library is it.

    >>> runtime_version("onnxruntime (lifted)") == runtime_version("onnxruntime") != None
    True
    """
    library = next((library for prefix, library in RUNTIMES.items() if name.startswith(prefix)), None)
    return installed(library).get(library) if library else None
