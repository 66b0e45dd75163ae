"""What a saved graph holds, counted in the file itself, and what it should hold."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import onnx

from phantom_edge.export.base import VISION
from phantom_edge.export.onnx_model import parse_model
from phantom_edge.model.spec import FoldedSpec

PHANTOM_SOFTMAXES = 3  # query, key, value: no other softmax stands outside an attention op


def count_ops(path: Path) -> dict[str, int]:
    """Nodes by operation in a saved model; one with integers counts as ``Gather int8``, ``MatMul int8``."""
    graph = parse_model(path).graph
    integers = {t.name for t in graph.initializer if t.data_type == onnx.TensorProto.INT8}
    kinds = ("DequantizeLinear", "Cast")
    products = {n.output[0] for n in graph.node if n.op_type in kinds and n.input[0] in integers}
    return dict(Counter(_label(node, integers, products) for node in graph.node))


def _label(node: onnx.NodeProto, integers: set[str], products: set[str]) -> str:
    """``products`` are int8 weights multiplied out."""
    if node.op_type == "Gather" and node.input[0] in integers:
        return "Gather int8"
    return "MatMul int8" if node.op_type == "MatMul" and node.input[1] in products else node.op_type


def expected_counts(graph: str, spec: FoldedSpec, kinds: dict[str, str]) -> dict[str, int]:
    """One fused attention op per layer, the ``kinds`` of quantised operations by module, no other."""
    d, v = spec.config.decoder, spec.config.vision
    quantised = ("MatMulNBits", "DynamicQuantizeMatMul", "Gather int8", "GatherBlockQuantized")
    by_kind = Counter(kinds.values())
    expected = {op: by_kind[op] for op in quantised}
    if graph.startswith(VISION):
        expected |= {"MultiHeadAttention": v.layers, "Softmax": 0}
    if graph == "text_decoder":
        expected |= {"GroupQueryAttention": d.layers, "RotaryEmbedding": 2 * d.layers}
        expected["Softmax"] = PHANTOM_SOFTMAXES * sum(size > 0 for size in spec.phantom_dims)
    return expected
