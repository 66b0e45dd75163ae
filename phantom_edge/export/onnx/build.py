"""The three graphs on their way to disk, whatever operations they are written in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from onnx import TensorProto

from phantom_edge.errors import CheckError
from phantom_edge.export.base import GRAPHS, VISION, ExportOptions, all_graphs, require_counts
from phantom_edge.export.onnx.checks import count_ops, expected_counts
from phantom_edge.export.onnx.ops import DecoderInputs, OnnxOps, tables
from phantom_edge.export.onnx.writer import INLINE_BYTES, SHARED_BYTES, GraphBuilder, GraphWriter, Place
from phantom_edge.export.onnx_layout import FOLDER, file_name
from phantom_edge.model import graphs
from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.rope import static_tables
from phantom_edge.model.spec import FoldedSpec
from phantom_edge.progress import Step

BATCH, SEQUENCE = "batch_size", "sequence_length"
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
Operations = type[OnnxOps]
TYPES: Final = {32: "fp32", 16: "fp16", 8: "q8", 4: "q4"}


@dataclass(frozen=True)
class Written:
    """Files by graph relative to the output folder, and counts of their operations, also quantised ones."""

    files: dict[str, Path]
    counts: dict[str, dict[str, int]]
    kinds: set[str]


def dtype_of(model: FoldedModel) -> str:
    """What transformers.js calls an artifact whose narrowest weights are those of ``model``."""
    if model.recipe is None:
        return TYPES[32]
    return TYPES[min(assignment.precision.bits for assignment in model.recipe.plan(model.module_shapes()))]


def write_graphs(
    model: FoldedModel, options: ExportOptions, out: Path, dtype: str, operations: Operations, progress: Step
) -> Written:
    """Write the graphs of ``model`` below ``out``, named after ``dtype``, and check what was written.

    ``operations`` writes the vision encoder and the decoder; the embedding is a look-up, and plain for all,
    unless it can share its bytes with the head.

    Raises:
        CheckError: an attention op or a quantised weight is missing from a file, or a weight went nowhere.
        InputError: a context or an integer type that ONNX cannot express.
    """
    folder = out / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    files = paths_of(dtype, model.spec)
    counts, kinds, read = {}, set(), set()
    all_share: dict[bytes, Place] | None = {} if options.share_data else None
    vision_share: dict[bytes, Place] = {}
    for name in all_graphs(model.spec):
        progress(f"onnx: {name}")
        several = bool(model.spec.other_tiles) and name.startswith(VISION)  # which share all that they can
        written = vision_share if several and all_share is None else all_share
        least = INLINE_BYTES if several else SHARED_BYTES
        with GraphWriter(folder, files[name].stem, written, shared_bytes=least) as graph:
            ops = build_graph(name, graph, model, options, operations)
            graph.save()
        counts[name] = count_ops(graph.path)
        require_counts(name, counts[name], expected_counts(name, model.spec, ops.kinds))
        kinds |= set(ops.kinds.values())
        read |= ops.read
    if left := sorted(set(model.weights) - read):
        raise CheckError(f"weights that no graph used: {', '.join(left[:8])}")
    return Written(files, counts, kinds)


def paths_of(dtype: str, spec: FoldedSpec) -> dict[str, Path]:
    """The file of each graph in a bundle."""
    return {name: Path(FOLDER) / file_name(name, dtype) for name in all_graphs(spec)}


def write_files(out: Path, contents: Mapping[str, bytes]) -> None:
    """Write files by their path below ``out``."""
    for name, content in contents.items():
        (out / name).write_bytes(content)


def build_graph(
    name: str, graph: GraphBuilder, model: FoldedModel, options: ExportOptions, operations: Operations
) -> OnnxOps:
    """Write one of a model's graphs into ``graph``: the operations that did it know what they read."""
    builders = dict(zip(GRAPHS, (_vision_encoder, _token_embedding, _text_decoder), strict=True))
    build = builders.get(name, _vision_encoder)
    return build(graph, model.at_tile(all_graphs(model.spec)[name]), options, operations)


def _vision_encoder(
    graph: GraphBuilder, model: FoldedModel, options: ExportOptions, operations: Operations
) -> OnnxOps:
    config = model.config
    pixels = graph.input("pixel_values", FLOAT, [BATCH, 3, config.tile_size, config.tile_size])
    ops = operations(graph, model.spec, model.weights)
    features = ops.leave(graphs.vision_encoder(ops, model.spec, ops.enter(pixels)))
    _name_output(graph, features, "image_features")
    graph.output("image_features", FLOAT, [BATCH, config.tokens_per_tile, config.decoder.hidden_size])
    return ops


def _token_embedding(
    graph: GraphBuilder, model: FoldedModel, options: ExportOptions, operations: Operations
) -> OnnxOps:
    ids = graph.input("input_ids", INT64, [BATCH, SEQUENCE])
    ops = (operations if options.share_data else OnnxOps)(graph, model.spec, model.weights)
    _name_output(graph, graphs.token_embedding(ops, ids), "inputs_embeds")
    graph.output("inputs_embeds", FLOAT, [BATCH, SEQUENCE, model.config.decoder.hidden_size])
    return ops


def _text_decoder(
    graph: GraphBuilder, model: FoldedModel, options: ExportOptions, operations: Operations
) -> OnnxOps:
    d, spec = model.config.decoder, model.spec
    embeds = graph.input("inputs_embeds", FLOAT, [BATCH, SEQUENCE, d.hidden_size])
    ops = operations(graph, spec, model.weights)
    ops.kv = model.kv
    ops.decoder = _decoder_inputs(graph, model, options.context, ops)
    _each_cache(spec, ops.cache_type, "past_key_values", "past_sequence_length", graph.input)
    _name_output(graph, ops.leave(graphs.text_decoder(ops, spec, ops.enter(embeds))), "logits")
    graph.output("logits", FLOAT, [BATCH, 1, d.vocab_size])
    _each_cache(spec, ops.cache_type, "present", "total_sequence_length", graph.output)
    return ops


Declare = Callable[[str, int, list[str | int]], object]


def _each_cache(spec: FoldedSpec, element: int, prefix: str, length: str, declare: Declare) -> None:
    for n in range(spec.config.decoder.layers):
        shape: list[str | int] = [BATCH, spec.config.decoder.kv_heads, length, spec.width(n)]
        for kind in ("key", "value"):
            declare(f"{prefix}.{n}.{kind}", element, shape)


def _decoder_inputs(graph: GraphBuilder, model: FoldedModel, context: int, ops: OnnxOps) -> DecoderInputs:
    mask = graph.input("attention_mask", INT64, [BATCH, "total_sequence_length"])
    positions = graph.input("position_ids", INT64, [BATCH, SEQUENCE])
    rotary = tables(graph, *static_tables(model.config.decoder.rope, model.config.decoder.head_dim, context))
    cos, sin = (ops.enter(table) for table in rotary)
    lengths = graph.node("ReduceSum", [mask, graph.ints(1)], keepdims=0)  # [B]
    last = graph.node("Sub", [lengths, graph.ints(1)])
    seqlens = graph.node("Cast", [last], to=TensorProto.INT32)
    width = graph.node("Gather", [graph.node("Shape", [mask]), graph.ints(1, scalar=True)], axis=0)
    return DecoderInputs(positions, seqlens, graph.node("Cast", [width], to=TensorProto.INT32), cos, sin)


def _name_output(graph: GraphBuilder, value: str, name: str) -> None:
    graph.node("Identity", [value], [name])
