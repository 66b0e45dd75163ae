"""Snapdragon bundles for tests: where Qualcomm's emulator is, and a small bundle of each kind."""

from __future__ import annotations

import importlib.util
import platform
from pathlib import Path

import pytest

from phantom_edge.pipeline.export import ExportRequest, export
from phantom_edge.pipeline.npu import NpuOptions
from phantom_edge.quantize.options import QuantizeOptions

CONTEXT = 128
emulator = pytest.mark.skipif(
    importlib.util.find_spec("onnxruntime_qnn") is None or platform.machine() != "x86_64",
    reason="needs onnxruntime-qnn and its emulator (Linux x86-64)",
)


def request(
    model: Path,
    output: Path,
    *,
    verify: bool = False,
    quant: str | None = None,
    kv_cache: str = "float",
    fold: str = "exact",
    **npu,
) -> ExportRequest:
    """An export of ``model`` for snapdragon with a short context."""
    return ExportRequest(
        "snapdragon",
        str(model),
        output=output,
        quantize=QuantizeOptions(quant),
        kv_cache=kv_cache,
        fold=fold,
        context=CONTEXT,
        npu=NpuOptions(**npu),
        verify=verify,
    )


def made(model: Path, output: Path, **options) -> Path:
    """The folder of such a bundle."""
    return export(request(model, output, **options)).bundle.folder
