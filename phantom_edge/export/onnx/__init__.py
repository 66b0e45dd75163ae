"""ONNX for onnxruntime, onnxruntime-web and onnxruntime-genai: three hand-built graphs, weights as external data.

Inputs and outputs carry the names that transformers.js and onnxruntime-genai use. All arithmetic is fp32; what is
quantised runs in ONNX Runtime's integer operations, whose activation grid :func:`activation_grid` names.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from onnx import TensorProto

from phantom_edge.errors import CheckError
from phantom_edge.export.base import GRAPHS, Exported, ExportOptions, Progress, require_counts
from phantom_edge.export.onnx.checks import count_ops, wanted_counts
from phantom_edge.export.onnx.ops import DecoderInputs, OnnxOps, tables
from phantom_edge.export.onnx.readback import FOLDER, stored_weights
from phantom_edge.export.onnx.writer import GraphWriter
from phantom_edge.model import graphs
from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.rope import static_tables
from phantom_edge.quantize.activations import ActivationGrid
from phantom_edge.quantize.grid import QuantizedTensor

__all__ = ["activation_grid", "export", "reference", "stored_weights"]

BATCH, SEQUENCE = "batch_size", "sequence_length"
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def activation_grid(weight: QuantizedTensor) -> ActivationGrid:
    """The grid on which ONNX Runtime holds the input of the operation that multiplies with ``weight``.

    int4 becomes MatMulNBits with accuracy_level 4, int8 DynamicQuantizeMatMul; see :class:`ActivationGrid`.
    """
    return ActivationGrid.BLOCK_INT8 if weight.bits == 4 else ActivationGrid.TENSOR_UINT8


def reference(model: FoldedModel) -> FoldedModel:
    """The torch model that an artifact of ``model`` must agree with: same integers, activations on the same grids."""
    return model.on_grid(activation_grid)


def export(model: FoldedModel, options: ExportOptions, out: Path, progress: Progress) -> Exported:
    """Write the three graphs of ``model`` under ``out/onnx`` and check what was written.

    Integers are the model's own and every float keeps the type that its recipe gave it, so ``options.float_type`` and
    ``options.chunk`` change nothing here; ``options.context`` bounds the positions.

    Raises:
        CheckError: an attention op or a quantised weight is missing from a file, or a weight went nowhere.
        InputError: a context or an integer type that ONNX cannot express.
    """
    folder = out / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    counts, kinds, read = {}, {}, set()
    for name, build in zip(GRAPHS, (_vision_encoder, _token_embedding, _text_decoder), strict=True):
        progress(f"onnx: {name}")
        with GraphWriter(folder, name) as graph:
            ops = build(graph, model, options)
            graph.save()
        counts[name] = count_ops(graph.path)
        require_counts(name, counts[name], wanted_counts(name, model.spec, ops.kinds))
        kinds |= ops.kinds
        read |= ops.read
    if left := sorted(set(model.weights) - read):
        raise CheckError(f"weights that no graph used: {', '.join(left[:8])}")
    files = {name: Path(FOLDER) / f"{name}.onnx" for name in GRAPHS}
    return Exported(files, counts, _notes(model, set(kinds.values())))


def _vision_encoder(graph: GraphWriter, model: FoldedModel, options: ExportOptions) -> OnnxOps:
    config = model.config
    pixels = graph.input("pixel_values", FLOAT, [BATCH, 3, config.tile_size, config.tile_size])
    ops = OnnxOps(graph, model.spec, model.weights)
    _name_output(graph, graphs.vision_encoder(ops, model.spec, pixels), "image_features")
    graph.output("image_features", FLOAT, [BATCH, config.tokens_per_tile, config.decoder.hidden_size])
    return ops


def _token_embedding(graph: GraphWriter, model: FoldedModel, options: ExportOptions) -> OnnxOps:
    ids = graph.input("input_ids", INT64, [BATCH, SEQUENCE])
    ops = OnnxOps(graph, model.spec, model.weights)
    _name_output(graph, graphs.token_embedding(ops, ids), "inputs_embeds")
    graph.output("inputs_embeds", FLOAT, [BATCH, SEQUENCE, model.config.decoder.hidden_size])
    return ops


def _text_decoder(graph: GraphWriter, model: FoldedModel, options: ExportOptions) -> OnnxOps:
    d, spec = model.config.decoder, model.spec
    embeds = graph.input("inputs_embeds", FLOAT, [BATCH, SEQUENCE, d.hidden_size])
    ops = OnnxOps(graph, spec, model.weights, _decoder_inputs(graph, model, options.context))
    _each_cache(spec, "past_key_values", "past_sequence_length", graph.input)
    _name_output(graph, graphs.text_decoder(ops, spec, embeds), "logits")
    graph.output("logits", FLOAT, [BATCH, 1, d.vocab_size])
    _each_cache(spec, "present", "total_sequence_length", graph.output)
    return ops


def _each_cache(spec, prefix: str, length: str, declare: Callable) -> None:
    for n in range(spec.config.decoder.layers):
        for kind in ("key", "value"):
            declare(f"{prefix}.{n}.{kind}", FLOAT, [BATCH, spec.config.decoder.kv_heads, length, spec.width(n)])


def _decoder_inputs(graph: GraphWriter, model: FoldedModel, context: int) -> DecoderInputs:
    mask = graph.input("attention_mask", INT64, [BATCH, "total_sequence_length"])
    positions = graph.input("position_ids", INT64, [BATCH, SEQUENCE])
    cos, sin = tables(graph, *static_tables(model.config.decoder.rope, model.config.decoder.head_dim, context))
    lengths = graph.node("ReduceSum", [mask, graph.ints(1)], keepdims=0)  # [B]
    last = graph.node("Sub", [lengths, graph.ints(1)])
    seqlens = graph.node("Cast", [last], to=TensorProto.INT32)
    width = graph.node("Gather", [graph.node("Shape", [mask]), graph.ints(1, scalar=True)], axis=0)
    return DecoderInputs(positions, seqlens, graph.node("Cast", [width], to=TensorProto.INT32), cos, sin)


def _name_output(graph: GraphWriter, value: str, name: str) -> None:
    graph.node("Identity", [value], [name])


def _notes(model: FoldedModel, kinds: set[str]) -> tuple[str, ...]:
    notes = ["all arithmetic is fp32: what is stored as fp16 is cast when the file is loaded, which rounds nothing"]
    if "MatMulNBits" in kinds:
        notes.append("MatMulNBits (accuracy_level 4) rounds its input to int8 per row and weight group")
    if "DynamicQuantizeMatMul" in kinds:
        notes.append(
            "DynamicQuantizeMatMul rounds its input to uint8 with one range over all rows of a call, "
            "so prefill in chunks differs slightly from prefill at once"
        )
    return tuple(notes)
