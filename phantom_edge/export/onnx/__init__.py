"""ONNX for onnxruntime, transformers.js and onnxruntime-genai: three graphs, weights beside them.

Files, inputs and outputs carry the names that those packages look for, and the bundle gets the small files
that they read beside the graphs (:mod:`.packages`, :mod:`.genai`). All arithmetic is fp32; what is quantised
runs in ONNX Runtime's integer operations, whose activation grid :func:`activation_grid` names.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from phantom_edge.export.base import Exported, ExportOptions
from phantom_edge.export.onnx import genai, packages
from phantom_edge.export.onnx.build import TYPES, dtype_of, paths_of, write_files, write_graphs
from phantom_edge.export.onnx.compare import graph_differences
from phantom_edge.export.onnx.native import HEAD, NativeOps, in_blocks
from phantom_edge.export.onnx.ops import OnnxOps
from phantom_edge.export.onnx.readback import (
    artifact_files,
    graph_files,
    stored_cache,
    stored_floats,
    stored_weights,
)
from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.weights import LazyWeights, Maker, shape_of, view
from phantom_edge.numbers.activations import ActivationGrid
from phantom_edge.numbers.grid import QuantizedTensor
from phantom_edge.progress import Step

__all__ = [
    "activation_grid",
    "artifact_files",
    "derived_files",
    "differences",
    "export",
    "graph_files",
    "reference",
    "stored_cache",
    "stored_floats",
    "stored_weights",
]


CACHE_NOTE: Final = (
    "the KV cache is int8, a calibrated scale per channel: what lies beyond the scales' range is cut off. "
    "onnxruntime-genai and transformers.js make float caches, so the files that they read are left out"
)
FAST_WIDTH: Final = 16
"""Of heads: at multiples of it ONNX Runtime's attention is faster over int8 (benchmarks/kernels.py)."""


def activation_grid(weight: QuantizedTensor) -> ActivationGrid:
    """The grid on which ONNX Runtime holds the input of the operation that multiplies with ``weight``.

    What has groups becomes MatMulNBits with accuracy_level 4, int8 per channel DynamicQuantizeMatMul.
    """
    return ActivationGrid.BLOCK_INT8 if weight.group else ActivationGrid.TENSOR_UINT8


def reference(model: FoldedModel) -> FoldedModel:
    """The torch model that an artifact must agree with: same integers, activations on the same grids."""
    name, own = f"{HEAD}.weight", model.weights
    if operations_for(model) is NativeOps and name in own:
        # The same numbers in blocks: on their grid ONNX Runtime holds the head's input.
        head = LazyWeights({name: Maker(shape_of(own, name), lambda: in_blocks(own[name]))}, keep=True)
        makers = view(own, lambda other: other != name) | view(head, lambda _: True)
        model = replace(model, weights=LazyWeights(makers))
    return model.on_grid(activation_grid)


def export(model: FoldedModel, options: ExportOptions, out: Path, progress: Step) -> Exported:
    """Write the three graphs of ``model`` to ``out/onnx``, check them, add what stock packages read.

    Integers are the model's own and every float keeps the type that its recipe gave it, so
    ``options.float_type`` and ``options.chunk`` change nothing here; ``options.context`` bounds the
    positions. With ``options.share_data`` a tied head and the embedding are the same bytes of one file. Where
    the KV cache is int8, other packages' files are left out: they do not know one.

    Raises:
        CheckError: an attention op or a quantised weight is missing from a file, or a weight went nowhere.
        InputError: a context or an integer type that ONNX cannot express.
    """
    written = write_graphs(model, options, out, dtype_of(model), operations_for(model), progress)
    write_files(out, derived_files(model, options, out))
    return Exported(written.files, written.counts, _notes(written.kinds) + _cache_notes(model))


def derived_files(model: FoldedModel, options: ExportOptions, folder: Path) -> dict[str, bytes]:
    """What other packages read beside the graphs below ``folder``, by path in the bundle.

    The small graphs of :mod:`.genai` are made of those that lie there. Raises :class:`InputError` where these
    are missing or damaged.
    """
    if model.kv is not None:
        return {}
    dtype = dtype_of(model)
    small = genai.contents(model, options, folder, paths_of(dtype, model.spec))
    return small | packages.contents(model, options, dtype)


def differences(folder: Path, model: FoldedModel, options: ExportOptions) -> list[str]:
    """What in the graphs is not as :func:`export` writes it, in a few words each; weights' values aside.

    Raises :class:`InputError` for a graph that is missing or damaged.
    """
    return graph_differences(folder, model, options, dtype_of(model), operations_for(model))


def operations_for(model: FoldedModel) -> type[OnnxOps]:
    """What writes the graphs; with int4 layers they are not for WASM, where MatMulNBits is slow."""
    return NativeOps if dtype_of(model) == TYPES[4] else OnnxOps


def _cache_notes(model: FoldedModel) -> tuple[str, ...]:
    if model.kv is None:
        return ()
    widths = {model.spec.width(n) for n in range(model.config.decoder.layers)}
    if slow := sorted(width for width in widths if width % FAST_WIDTH):
        names = ", ".join(map(str, slow))
        return (
            CACHE_NOTE,
            f"heads {names} wide: attention over an int8 cache saves memory there, and time only at "
            f"multiples of {FAST_WIDTH}; --fold rank:R can make them so",
        )
    return (CACHE_NOTE,)


def _notes(kinds: set[str]) -> tuple[str, ...]:
    notes = [
        "all arithmetic is fp32: what is stored as fp16 is cast when the file is loaded, which rounds nothing"
    ]
    if "MatMulNBits" in kinds:
        notes.append("MatMulNBits (accuracy_level 4) rounds its input to int8 per row and weight group")
    if "DynamicQuantizeMatMul" in kinds:
        notes.append(
            "DynamicQuantizeMatMul rounds its input to uint8 with one range over all rows of a call, "
            "so prefill in chunks differs slightly from prefill at once"
        )
    return tuple(notes)
