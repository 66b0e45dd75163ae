"""ONNX for WebGPU: the same graphs in operations that its provider has, in fp16 if the recipe says.

WebGPU has no ``DynamicQuantizeMatMul``, so int8 per channel becomes ``MatMulNBits`` of 8 bits, a channel's
scale repeated for each of its blocks. Neither that nor int4 rounds the activations (accuracy_level 0).
Pixels, embeddings, image features and logits stay fp32, which an app can make and read without a
half-precision type; the KV cache, which never leaves the GPU, is in the arithmetic's type.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from onnx import TensorProto

from phantom_edge.errors import InputError
from phantom_edge.export.base import Exported, ExportOptions
from phantom_edge.export.onnx import packages, packing
from phantom_edge.export.onnx.build import Operations, dtype_of, write_files, write_graphs
from phantom_edge.export.onnx.compare import graph_differences
from phantom_edge.export.onnx.ops import OnnxOps
from phantom_edge.export.onnx.readback import artifact_files, graph_files, stored_floats, stored_weights
from phantom_edge.model.folded import FoldedModel
from phantom_edge.numbers.grid import QuantizedTensor
from phantom_edge.progress import Step

__all__ = [
    "artifact_files",
    "derived_files",
    "differences",
    "export",
    "graph_files",
    "reference",
    "stored_floats",
    "stored_weights",
]


class WebGpuOps(OnnxOps):
    """:class:`OnnxOps` without integer activations, in fp32."""

    def _matmul_blocks(self, x: str, name: str, weight: QuantizedTensor) -> str:
        return self._matmul_bits(x, name, weight, packing.pack_blocks(weight), weight.scales)

    def _matmul_channels(self, x: str, name: str, weight: QuantizedTensor, bias: str | None) -> str:
        packed, scales = packing.pack_channels(weight)
        return self._add_bias(self._matmul_bits(x, name, weight, packed, scales), bias)

    def _block_scales(self, scales: torch.Tensor) -> torch.Tensor:
        # fp16 has every scale.
        return scales.half() if self.arithmetic == TensorProto.FLOAT16 else scales


class WebGpuHalfOps(WebGpuOps):
    """The same in fp16."""

    arithmetic = TensorProto.FLOAT16


def reference(model: FoldedModel) -> FoldedModel:
    """The torch model that an artifact must agree with: the same integers, activations not rounded."""
    return model


def export(model: FoldedModel, options: ExportOptions, out: Path, progress: Step) -> Exported:
    """Write the three graphs of ``model`` under ``out/onnx``, check them, and add what transformers.js reads.

    ``options.float_type`` is the type of the arithmetic. Raises as :func:`phantom_edge.export.onnx.export`.
    """
    if model.kv is not None:
        raise InputError("WebGPU has no attention over an int8 KV cache; leave it in float")
    dtype, operations = _type_and_operations(model, options)
    written = write_graphs(model, replace(options, share_data=False), out, dtype, operations, progress)
    write_files(out, derived_files(model, options, out))
    return Exported(written.files, written.counts, _notes(options.float_type == "fp16"))


def derived_files(model: FoldedModel, options: ExportOptions, folder: Path) -> dict[str, bytes]:
    """What transformers.js reads beside the graphs, by path in the bundle."""
    return packages.contents(model, options, _type_and_operations(model, options)[0], device="webgpu")


def differences(folder: Path, model: FoldedModel, options: ExportOptions) -> list[str]:
    """As :func:`phantom_edge.export.onnx.differences`."""
    apart = replace(options, share_data=False)
    return graph_differences(folder, model, apart, *_type_and_operations(model, options))


def _type_and_operations(model: FoldedModel, options: ExportOptions) -> tuple[str, Operations]:
    """transformers.js's type of the artifact, and what writes its graphs."""
    dtype = dtype_of(model)
    if options.float_type != "fp16":
        return dtype, WebGpuOps
    return {"fp32": "fp16", "q4": "q4f16"}.get(dtype, dtype), WebGpuHalfOps


def _notes(half: bool) -> tuple[str, ...]:
    notes = ["int8 per channel is stored as MatMulNBits of 8 bits; activations are not rounded to integers"]
    if half:
        notes.append(
            "vision encoder and decoder compute in fp16; pixels, embeddings, features and logits are fp32"
        )
    return tuple(notes)
