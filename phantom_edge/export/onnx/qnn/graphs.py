"""The graphs of an NPU: fixed shapes, the decoder once for many tokens and once for one."""

from __future__ import annotations

from typing import Final

from onnx import TensorProto

from phantom_edge.errors import CheckError
from phantom_edge.export.base import ExportOptions
from phantom_edge.export.onnx.ops import tables
from phantom_edge.export.onnx.qnn.fixed import CallInputs, FixedOps
from phantom_edge.export.onnx.qnn.rounded import RoundedOnnxOps
from phantom_edge.export.onnx.writer import GraphBuilder
from phantom_edge.model import graphs
from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.rope import static_tables

FOLDER: Final = "npu"
VISION: Final = "vision_encoder"
PREFILL: Final = "prefill"
DECODE: Final = "decode"
FLOAT, HALF, INT32 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT32


def names(model: FoldedModel) -> tuple[str, ...]:
    """The graphs that the NPU runs. Raises :class:`CheckError` where the model says of none."""
    if model.rounding is None:
        raise CheckError("the model does not say what the NPU runs; report it")
    return (VISION, PREFILL, DECODE) if model.rounding.covers("text_decoder") else (VISION,)


def build(name: str, graph: GraphBuilder, model: FoldedModel, options: ExportOptions) -> FixedOps:
    """Write one of the NPU's graphs into ``graph``: the operations that did it know what they read."""
    ranges = model.rounding.ranges if model.rounding is not None else {}
    ops = RoundedOnnxOps(graph, model.spec, model.weights, ranges)
    ops.kv = model.kv
    if name == VISION:
        _vision_encoder(graph, model, ops)
    else:
        _text_decoder(graph, model, ops, options.context, options.chunk if name == PREFILL else 1)
    return ops


def _vision_encoder(graph: GraphBuilder, model: FoldedModel, ops: FixedOps) -> None:
    config = model.config
    pixels = graph.input("pixel_values", FLOAT, [1, 3, config.tile_size, config.tile_size])
    graph.node("Identity", [graphs.vision_encoder(ops, model.spec, pixels)], ["image_features"])
    graph.output("image_features", FLOAT, [1, config.tokens_per_tile, config.decoder.hidden_size])


def _text_decoder(graph: GraphBuilder, model: FoldedModel, ops: FixedOps, context: int, steps: int) -> None:
    d = model.config.decoder
    embeds = graph.input("inputs_embeds", FLOAT, [1, steps, d.hidden_size])
    positions = graph.input("position_ids", INT32, [1, steps])
    mask = graph.input("attention_mask", HALF, [1, 1, steps, context + steps])
    cache = [(f"{n}.{kind}", model.spec.width(n)) for n in range(d.layers) for kind in ("key", "value")]
    for name, width in cache:
        graph.input(f"past_key_values.{name}", ops.cache_type, [1, d.kv_heads, context, width])
    cos, sin = _rotation(graph, model, positions, context, steps)
    wide = graph.node("Cast", [mask], to=FLOAT)
    if (group := d.heads // d.kv_heads) > 1:
        wide = graph.node("Concat", [wide] * group, axis=2)  # [1, 1, G * S, C + S]
    ops.call = CallInputs(cos, sin, wide, context, steps)
    graph.node("Identity", [graphs.text_decoder(ops, model.spec, embeds)], ["logits"])
    graph.output("logits", FLOAT, [1, 1, d.vocab_size])
    for name, width in cache:
        graph.output(f"present.{name}", ops.cache_type, [1, d.kv_heads, steps, width])


def _rotation(
    graph: GraphBuilder, model: FoldedModel, positions: str, context: int, steps: int
) -> tuple[str, str]:
    """RoPE's cos and its sin with the sign of the rotation, [1, S, 1, D] each."""
    d = model.config.decoder
    rows = [
        graph.node("Gather", [table, positions], axis=0)  # [1, S, D / 2]
        for table in tables(graph, *static_tables(d.rope, d.head_dim, context))
    ]
    halves = [(rows[0], rows[0]), (graph.node("Neg", [rows[1]]), rows[1])]
    shape = graph.ints(1, steps, 1, d.head_dim)
    cos, sin = (graph.node("Reshape", [graph.node("Concat", list(pair), axis=-1), shape]) for pair in halves)
    return cos, sin
